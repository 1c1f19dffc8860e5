"""How fast is the search, side by side with what is used today, and how good is each result?"""

import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

import invariance_probe as ip
from analyses import baselines
from analyses.efficientnet import blocks, photographs, probe, trained
from analyses.efficientnet_pairs import MapPairs, efficientnet_pairs
from invariance_probe.alignment import metrics
from invariance_probe.alignment.search import SearchOptions
from invariance_probe.machine import memory_kept
from invariance_probe.plane import sampling
from invariance_probe.results.methods import (
    DEFAULT_METHODS,
    EXPLAINING_METHODS,
    PARTITION_METHODS,
)

OURS = "invariance_probe.align"
SIX = "six layers"
_OVER = (
    ("probe", "forward passes"),
    ("probe", "forward passes, memory kept"),
    ("probe, explained and saved", "forward passes"),
)
"""What is set against what, of whole probes."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to compare.

    Attributes:
        layers: Layers of EfficientNet-Lite0.
        degrees: Rotations of the input.
        images: Number of photographs.
        batch: Pairs that `align` is given at once.
        few: Pairs of a small call, measured in rows of its own.
        repeats: Timed repetitions of everything; medians are told, as a first one is slow.
        probe_images: Photographs of the whole probe that is set against its forward passes.
        seed: Root of all random choices.
    """

    layers: tuple[str, ...] = ("_blocks.3", "_blocks.5")
    degrees: tuple[float, ...] = (30.0, -30.0, 90.0, 150.0)
    images: int = 8
    batch: int = 32
    few: int = 6
    repeats: int = 3
    probe_images: int = 10
    seed: int = 0


PRESETS = {
    "quick": Config(),
    "tiny": Config(layers=("_blocks.5",), degrees=(30.0,), images=2, repeats=1, probe_images=1),
}

Solver = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""From references, moved maps, oracles and regions to warps."""
BATCHED, KORNIA = "Adam, 300 steps, batched", "kornia ImageRegistrator"


def _ours(reference: Tensor, moved: Tensor, oracle: Tensor, region: Tensor) -> Tensor:
    """Align with the engine."""
    return ip.align(reference, moved, oracle=oracle, region=region).theta


BASELINES: dict[str, Solver] = {
    "Adam, 300 steps": baselines.adam,
    "scipy least_squares": baselines.scipy_least_squares,
    KORNIA: baselines.kornia_similarity,
}


def measure(config: Config) -> pd.DataFrame:
    """Time all methods on the same maps and regions, in turn.

    Args:
        config: What to compare.

    Returns:
        One row for each layer, pair, method and repetition, small calls as layers of their own:
        ``seconds`` a pair, ``fvu`` of the warp under one sampler, and ``in_family``, whether the
        warp keeps the distortion limit, which only `align` knows of; and, with method ``probe`` or
        ``forward passes``, the seconds of a whole probe and of its passes.
    """
    moves = [ip.Rotation(degrees) for degrees in config.degrees]
    rows: list[dict[str, object]] = []
    for pairs in efficientnet_pairs(config.layers, moves, config.images):
        few = _spread(pairs, config.few)
        for some, names in ((pairs, tuple(BASELINES)), (few, (KORNIA,))):
            solvers = {
                OURS: (_ours, config.batch),
                BATCHED: (baselines.adam, len(some)),
                **{name: (BASELINES[name], 1) for name in names},
            }
            rows += _compared(some, solvers, config.repeats)
    # in a process of its own, as what was computed before decides how the C library hands out
    # memory, and with that how long forward passes take
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
        rows += fresh.submit(_whole_probe, config.probe_images, config.repeats).result()
    return pd.DataFrame(rows)


def _spread(pairs: MapPairs, count: int) -> MapPairs:
    """Take at most so many pairs, spread over all, as a layer of their own."""
    rows = list(range(0, len(pairs), -(-len(pairs) // count)))
    return MapPairs(
        layer=f"{pairs.layer}, {len(rows)} pairs a call",
        reference=pairs.reference[rows],
        moved=pairs.moved[rows],
        oracle=pairs.oracle[rows],
        region=pairs.region[rows],
        transform=[pairs.transform[i] for i in rows],
        parameter=[pairs.parameter[i] for i in rows],
        image=[pairs.image[i] for i in rows],
    )


def _compared(
    pairs: MapPairs, solvers: dict[str, tuple[Solver, int]], repeats: int
) -> list[dict[str, object]]:
    """Time solvers on the same pairs, each so many pairs at a time."""
    channel_mean = metrics.region_mean(pairs.reference, pairs.region)
    target = metrics.Target(pairs.reference, pairs.region, channel_mean)
    rows: list[dict[str, object]] = []
    _ours(pairs.reference[:2], pairs.moved[:2], pairs.oracle[:2], pairs.region[:2])  # warm up
    for repeat in range(repeats):
        for method, (solve, batch) in solvers.items():
            seconds, theta = _timed(solve, pairs, batch)
            fvu = target.score(sampling.warp(pairs.moved, theta)).fvu.tolist()
            allowed = _in_family(theta, pairs.oracle)
            rows += [
                {
                    "layer": pairs.layer,
                    "degrees": pairs.parameter[i],
                    "image": pairs.image[i],
                    "method": method,
                    "repeat": repeat,
                    "seconds": seconds[i],
                    "fvu": fvu[i],
                    "in_family": allowed[i],
                }
                for i in range(len(pairs))
            ]
    return rows


def _in_family(theta: Tensor, oracle: Tensor) -> list[bool]:
    """Whether warps of square maps keep the distortion limit, up to rounding."""
    values = torch.linalg.svdvals(theta[:, :, :2] @ torch.linalg.inv(oracle[:, :, :2]))
    bound = SearchOptions().max_distortion * 1.001
    return [bool(inside) for inside in ((values <= bound) & (values >= 1 / bound)).all(1)]


def _timed(solve: Solver, pairs: MapPairs, batch: int) -> tuple[list[float], Tensor]:
    """Solve so many pairs at a time: seconds a pair, and warps."""
    seconds: list[float] = []
    warps = []
    for start in range(0, len(pairs), batch):
        rows = slice(start, start + batch)
        given = (pairs.reference[rows], pairs.moved[rows], pairs.oracle[rows], pairs.region[rows])
        # what is over at once is done again, so that what the call before has left behind (threads
        # that look for work, cold caches) weighs on none more than on others; the median counts
        calls: list[float] = []
        while sum(calls) < _LEAST:
            began = time.perf_counter()
            found = solve(*given)
            calls.append(time.perf_counter() - began)
        warps.append(found)
        seconds += [float(np.median(calls)) / len(found)] * len(found)
    return seconds, torch.cat(warps)


_LEAST = 0.06
"""Seconds that each call is timed for."""


def _whole_probe(images: int, repeats: int) -> list[dict[str, object]]:
    """Time probes of six layers, and the forward passes of as many images alone."""
    network = trained()
    some, _ = photographs(images, 320)
    moves = [*ip.sweep("rotation", -90, 90, 30), *ip.sweep("scaling", 0.5, 2, 0.25)]
    passes = len(some) * (len(moves) + 1)
    batch = torch.rand(16, 3, 224, 224)

    @torch.no_grad()
    def forward() -> None:
        for start in range(0, passes, len(batch)):
            network(batch[: min(len(batch), passes - start)])

    def probed(**options: Any) -> None:
        layers = blocks(0, 2, 4, 7, 10, 15)
        probe(some, network=network, layers=layers, transforms=moves, crop=224, **options)

    everything = list(dict.fromkeys((*DEFAULT_METHODS, *EXPLAINING_METHODS, *PARTITION_METHODS)))

    def explained() -> None:
        with TemporaryDirectory() as folder:
            probed(methods=everything, out=f"{folder}/run")

    network(batch)
    rows = _seconds_of("forward passes", forward, repeats)
    rows += _seconds_of("probe", probed, repeats)
    # a probe keeps freed memory, by which passes are up to twice as fast: theirs, in the same way
    with memory_kept():
        rows += _seconds_of("forward passes, memory kept", forward, repeats)
    return rows + _seconds_of("probe, explained and saved", explained, 1)


def _seconds_of(method: str, run: Callable[[], None], repeats: int) -> list[dict[str, object]]:
    """Rows of what takes so long on all six layers."""
    rows: list[dict[str, object]] = []
    for repeat in range(repeats):
        began = time.perf_counter()
        run()
        seconds = time.perf_counter() - began
        rows.append({"layer": SIX, "method": method, "repeat": repeat, "seconds": seconds})
    return rows


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Condense to what is asked of the search.

    Args:
        frame: What `measure` returned.

    Returns:
        By layer and method: median milliseconds a pair, how many times slower than `align` (ratio
        of the means of one repetition, then the median over repetitions), mean fvu, share of warps
        within the family and, for `align`, the share of pairs where it leaves no more than the
        best warp of the family that any other found, plus 0.5 %. Of whole probes the ratios of the
        median times.
    """
    pairs = frame[frame["fvu"].notna()]
    rows = []
    for layer, part in pairs.groupby("layer"):
        wide = part.pivot_table(index=["degrees", "image"], columns="method", values="fvu")
        allowed = part[part["in_family"].astype(bool) & (part["method"] != OURS)]
        bar = 1.005 * allowed.groupby(["degrees", "image"])["fvu"].min().reindex(wide.index)
        medians = part.groupby(["method", "repeat"])["seconds"].mean().unstack("repeat")
        for method, seconds in medians.iterrows():
            rows.append({
                "layer": layer,
                "method": method,
                "ms_a_pair": 1e3 * seconds.median(),
                "times_slower": (seconds / medians.loc[OURS]).median(),
                "mean_fvu": wide[method].mean(),
                "no_worse_than_best": (
                    float((wide[OURS] <= bar).mean()) if method == OURS else np.nan
                ),
                "in_family": part[part["method"] == method]["in_family"].mean(),
            })
    whole = frame[frame["layer"] == SIX].groupby("method")["seconds"].median()
    for probed, passes in _OVER:
        if {probed, passes} <= set(whole.index):
            rows.append({
                "layer": SIX,
                "method": f"{probed} / {passes}",
                "times_slower": whole[probed] / whole[passes],
            })
    return pd.DataFrame(rows)


_PANELS_A_LINE = 2


def plot(frame: pd.DataFrame) -> Figure:
    """Draw the time of each method, with what it leaves beside it, a panel a layer.

    Args:
        frame: What `measure` returned.

    Returns:
        The figure.
    """
    table = summary(frame)
    table = table[table["ms_a_pair"].notna()]
    layers = list(dict.fromkeys(table["layer"]))
    order = list(table.groupby("method")["ms_a_pair"].mean().sort_values().index)
    lines = -(-len(layers) // _PANELS_A_LINE)
    figure = Figure(figsize=(11.6, 3.6 * lines), layout="constrained")
    grid = figure.subplots(lines, _PANELS_A_LINE, sharey=True, squeeze=False)
    for axes in grid.flat[len(layers) :]:
        axes.remove()
    for axes, layer in zip(grid.flat, layers, strict=False):
        for row in table[table["layer"] == layer].itertuples():
            place = order.index(row.method)
            colour = "#0072B2" if row.method.startswith("invariance_probe") else "#767676"
            axes.plot([row.ms_a_pair], [place], "o", markersize=9, color=colour)
            digits = ".3g" if row.ms_a_pair < 1000 else ",.0f"
            axes.annotate(
                f"{row.ms_a_pair:{digits}} ms, leaves {row.mean_fvu:.2f}",
                (row.ms_a_pair, place),
                xytext=(0, 9),
                textcoords="offset points",
                ha="center",
                fontsize=9,
            )
        axes.set_xscale("log")
        axes.set_xlim(0.02, 10000)
        axes.set_ylim(len(order) - 0.6, -0.7)
        axes.set_xlabel("milliseconds a pair (median)")
        axes.set_title(layer, fontsize=11)
        axes.set_yticks(range(len(order)), order)
    figure.suptitle("Time to align a pair of maps; leaves: mean fraction of variance unexplained")
    return figure
