"""What of a residual do permuted or mixed channels remove, and do the quarter turns stand out?"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor, nn

import invariance_probe as ip
from analyses.efficientnet import blocks, fvu_rows, normalised, photographs, trained
from analyses.questions import trained_against_random as networks
from invariance_probe import controls
from invariance_probe.network.preprocessing import LITE_MEAN, LITE_STD
from invariance_probe.results import decomposition
from invariance_probe.statistics import by_image, statistic_interval

KINDS = ("permutation", "linear")
WARPS = ("oracle", "unrelated")
"""Pairs of an image and itself turned, and, as a control, of an image and another one turned."""
METHODS = (*WARPS, *(f"{warp}+{kind}" for warp in WARPS for kind in KINDS), "floor")
ON_GRID, OFF_GRID, DRAWN = "trained, 225 px", "trained, 224 px", "drawn anew, 225 px"
CONTROL = "C4 control, 65 px"
NETWORKS = (ON_GRID, OFF_GRID, DRAWN, CONTROL)
"""At 225 pixels each stride keeps the centre: a quarter turn moves cells onto cells. At 224 it does
not, and a quarter turn is interpolated as any other: what stands out at 225 alone is the grid. The
network drawn anew has its batch norms' statistics estimated on the photographs; the control's
channels do change places at quarter turns."""
CONTROL_LAYERS = ("0", "2", "4")
CANVAS, CONTROL_CANVAS = 320, 96
"""Side of the photographs, in pixels: enough for any rotation."""
STEP = 15
"""Between neighbouring angles, in degrees."""
QUARTERS = (90.0, 180.0)
KEPT = ["layer", "parameter", "image", "method", "value"]
MOVES = ["moved", "agreement", "significant", "p_value"]
STYLES: dict[tuple[str, str], tuple[str, Literal["-", ":"], str]] = {
    ("oracle", "permutation"): ("#D55E00", "-", "permuted"),
    ("oracle", "linear"): ("#0072B2", "-", "mixed"),
    ("unrelated", "permutation"): ("#D55E00", ":", "permuted, unrelated images"),
    ("unrelated", "linear"): ("#0072B2", ":", "mixed, unrelated images"),
}


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to measure.

    Attributes:
        layers: Layers of EfficientNet-Lite0, from shallow to deep.
        degrees: Rotations of the input; each quarter turn needs its neighbours `STEP` away.
        networks: Which of `NETWORKS`.
        images: Number of photographs (10 at most).
        seed: Root of all random choices.
    """

    layers: tuple[str, ...] = ("_conv_stem", *blocks(0, 2, 4, 10, 15))
    degrees: tuple[float, ...] = tuple(range(STEP, 180 + STEP + 1, STEP))
    networks: tuple[str, ...] = NETWORKS
    images: int = 10
    seed: int = 0


PRESETS = {
    "quick": Config(),
    "tiny": Config(
        layers=("_blocks.4",), degrees=(75, 90, 105), networks=(ON_GRID, CONTROL), images=4
    ),
}


def measure(config: Config) -> pd.DataFrame:
    """Let channels change places, or mix, after the oracle warp; score on other images.

    Args:
        config: What to measure.

    Returns:
        One row per ``network``, ``layer``, ``parameter`` (degrees), ``image`` and ``method``, with
        ``value``, the fvu; for permutations also, the same for all images, what
        `decomposition.channel_moves` says of them: ``moved``, ``agreement``, ``significant`` and
        ``p_value``.
    """
    frames = []
    for name, network, images, crop, layers, pixel in _networks(config):
        result = ip.probe(
            network,
            images,
            layers=layers,
            transforms=[ip.Rotation(degrees) for degrees in config.degrees],
            methods=METHODS,
            crop=crop,
            mean=pixel[0],
            std=pixel[1],
            seed=config.seed,
        )
        rows = fvu_rows(result, KEPT).astype({"layer": str, "method": str})
        moves = decomposition.channel_moves(result)
        moves = moves.assign(
            method=moves["warp"].astype(str) + "+permutation", layer=moves["layer"].astype(str)
        )
        keys = ["layer", "parameter", "method"]
        frames.append(rows.merge(moves[[*keys, *MOVES]], on=keys, how="left").assign(network=name))
    frame = pd.concat(frames, ignore_index=True)
    return frame.astype(dict.fromkeys(("value", *MOVES), "float32"))


Pixel = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation that pixel values are normalised with."""


def _networks(
    config: Config,
) -> Iterator[tuple[str, nn.Module, Float[Tensor, "..."], int, tuple[str, ...], Pixel]]:
    """Name, network, images, crop, layers and normalisation of each probe."""
    pixel = LITE_MEAN, LITE_STD
    images, _ = photographs(config.images, CANVAS)
    for name in config.networks:
        if name == CONTROL:
            small, _ = photographs(config.images, CONTROL_CANVAS)
            turning = controls.c4_network(seed=config.seed)
            yield name, turning, small, 65, CONTROL_LAYERS, ((0.0,), (1.0,))
            continue
        network = trained()
        if name == DRAWN:
            seen = normalised(ip.Rotation(0)(images, crop=225))
            network = networks.recalibrated(networks.drawn_anew(network, config.seed), seen)
        yield name, network, images, 224 if name == OFF_GRID else 225, config.layers, pixel


def _removed(values: np.ndarray) -> np.ndarray:
    """Rows (without, with the mixing) an angle to the share that it removes."""
    with np.errstate(invalid="ignore", divide="ignore"):
        share: np.ndarray = 1 - values[1::2] / values[0::2]
    return share


def _standing_out(values: np.ndarray) -> np.ndarray:
    """Shares removed at a quarter turn and at its neighbours, how they differ, and the excess."""
    # the control's rows, those of unrelated images, follow those of the images themselves
    removed = _removed(values)
    there, around = removed[0::3], (removed[1::3] + removed[2::3]) / 2
    difference = there - around
    return np.stack([there[0], around[0], difference[0], difference[0] - difference[1]])


def shares(frame: pd.DataFrame) -> pd.DataFrame:
    """Average over photographs what a mixing removes.

    Args:
        frame: What `measure` returned.

    Returns:
        One row per ``network``, ``layer``, ``parameter``, ``warp`` and ``kind``: ``share`` of the
        fvu that the mixing removes (below 0: it does harm on other images), ``low`` and ``high``
        (95 % intervals over photographs).
    """
    rows = []
    for (network, layer, angle), one in frame.groupby(
        ["network", "layer", "parameter"], sort=False
    ):
        wide = by_image(one, ["method"])
        for warp, kind in STYLES:
            values = wide.loc[[warp, f"{warp}+{kind}"]].to_numpy(float)
            found, low, high = statistic_interval(values, _removed, 0)
            row = {"network": network, "layer": layer, "parameter": angle, "warp": warp}
            ends = {"low": low[0], "high": high[0]}
            rows.append(row | {"kind": kind, "share": found[0]} | ends)
    return pd.DataFrame(rows)


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Compare each quarter turn with the mean of its two neighbours.

    Mixing does better on pairs that nothing was interpolated in, unrelated ones as well: hence the
    excess over the control.

    Args:
        frame: What `measure` returned.

    Returns:
        One row per ``network``, ``layer``, ``degrees`` (90 or 180) and ``kind``: ``residual``, the
        fvu under the oracle warp there; ``share`` of it that the mixing removes, with
        ``share_low`` and ``share_high``; ``share_around`` at the neighbours, their ``difference``
        with ``low`` and ``high`` (95 % intervals over photographs); ``share_unrelated``, what the
        mixing removes for unrelated images; ``excess`` of the difference over theirs, with
        ``excess_low`` and ``excess_high``; ``verdict``, see `verdict`; for permutations the columns
        of `decomposition.channel_moves` at the quarter turn, those of unrelated images with the
        suffix ``_unrelated``.
    """
    rows = []
    for (network, layer), one in frame.groupby(["network", "layer"], sort=False):
        wide = by_image(one, ["parameter", "method"])
        angles = set(wide.index.get_level_values("parameter"))
        for quarter in QUARTERS:
            around = (quarter, quarter - STEP, quarter + STEP)
            if not angles.issuperset(around):
                continue
            for kind in KINDS:
                needed = [(a, m) for w in WARPS for a in around for m in (w, f"{w}+{kind}")]
                values = wide.loc[needed].to_numpy(float)
                found, low, high = statistic_interval(values, _standing_out, 0)
                row: dict[str, object] = {
                    "network": network,
                    "layer": layer,
                    "degrees": quarter,
                    "kind": kind,
                    "residual": values[0].mean(),
                    "share": found[0],
                    "share_low": low[0],
                    "share_high": high[0],
                    "share_around": found[1],
                    "difference": found[2],
                    "low": low[2],
                    "high": high[2],
                    "share_unrelated": _removed(values.mean(1))[3],
                    "excess": found[3],
                    "excess_low": low[3],
                    "excess_high": high[3],
                    "verdict": verdict(low[0], (low[2], low[3]), (high[2], high[3])),
                }
                rows.append(row | _moves(one[one["parameter"] == quarter], kind))
    return pd.DataFrame(rows)


def _moves(rows: pd.DataFrame, kind: str) -> dict[str, float]:
    """What is known of which channels took whose place, at one angle."""
    out: dict[str, float] = {}
    for warp, suffix in zip(WARPS, ("", "_unrelated"), strict=True):
        here = rows.loc[rows["method"] == f"{warp}+{kind}", MOVES].iloc[0]
        out |= {f"{column}{suffix}": float(here[column]) for column in MOVES}
    return out


def verdict(share: float, lows: tuple[float, float], highs: tuple[float, float]) -> str:
    """Say whether a quarter turn stands out.

    Args:
        share: Lower end of the interval of the share that is removed there.
        lows: Lower ends of the intervals of the difference to the neighbours, and of its excess
            over the control.
        highs: Upper ends.

    Returns:
        ``removes nothing`` if the share's interval reaches 0; ``stands out`` if both others lie
        above 0, ``falls behind`` if both lie below; else ``undecided``.
    """
    if share <= 0:
        return "removes nothing"
    if min(lows) > 0:
        return "stands out"
    return "falls behind" if max(highs) < 0 else "undecided"


def plot(frame: pd.DataFrame) -> Figure:
    """Draw the share removed against the angle, a column a layer, a row a network.

    Args:
        frame: What `measure` returned.

    Returns:
        The figure.
    """
    table = shares(frame)
    names = list(dict.fromkeys(frame["network"]))
    layers = {name: list(dict.fromkeys(frame[frame["network"] == name]["layer"])) for name in names}
    columns = max(map(len, layers.values()))
    size = (max(2.5 * columns + 0.8, 7.5), 2.6 * len(names) + 1.6)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(names), columns, sharey=True, squeeze=False)
    for row, name in enumerate(names):
        for column in range(columns):
            axes = panels[row, column]
            if column >= len(layers[name]):
                axes.set_axis_off()
                continue
            layer = layers[name][column]
            _draw(axes, table[(table["network"] == name) & (table["layer"] == layer)])
            title = f"layer {layer}" if name == CONTROL else layer
            axes.set_title(title, fontsize=11)
        panels[row, 0].set_ylabel(f"{name}\nshare removed", fontsize=11)
    panels[-1, 0].set_xlabel("rotation of the input (degrees)", fontsize=11)
    handles = [
        Line2D([], [], color=colour, linestyle=line, marker="o", markersize=4, label=label)
        for colour, line, label in STYLES.values()
    ]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=min(4, columns + 1), frameon=False
    )
    figure.suptitle(
        "Share of the oracle-warped residual that reassigned or mixed channels remove on other "
        f"images;\n{frame['image'].nunique()} photographs, ribbons: 95 % intervals over them; "
        "grey: quarter turns; axis cut at -0.35",
        fontsize=12,
    )
    return figure


def _draw(axes: Axes, table: pd.DataFrame) -> None:
    """One panel: shares by angle, on other images."""
    for quarter in QUARTERS:
        axes.axvline(quarter, color="0.85", linewidth=5, zorder=0)
    axes.axhline(0, color="#767676", linewidth=0.8)
    for (warp, kind), (colour, line, _) in STYLES.items():
        one = table[(table["warp"] == warp) & (table["kind"] == kind)].sort_values("parameter")
        axes.fill_between(
            one["parameter"], one["low"], one["high"], color=colour, alpha=0.15, linewidth=0
        )
        axes.plot(
            one["parameter"], one["share"], color=colour, linestyle=line, marker="o", markersize=3
        )
    axes.set_xticks([0, 45, 90, 135, 180])
    axes.tick_params(labelsize=10)
    axes.set_ylim(-0.35, 1.05)
