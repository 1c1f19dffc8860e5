"""Does the residual, measured without training a transformer, predict what placing one there costs?

For each trained CNN the engine measures how far the maps after layer X can be re-aligned by a
warp, under motions of the perturbation that the CNN was trained on. Against it stands what the same
architecture loses with a transformer of those maps (CX) over one that shares X layers and moves the
image (SLX), of the same seed: error(CX) - error(SLX). Images are test digits, cluttered as in the
test, on a canvas that is large enough for every motion, so that nothing is made up at the border.

``quick`` is eleven cells of five seeds: rotation at three ranges and two depths, translation, and
scaling between 0.5 and 2, under the papers' network; rotation at three depths of one with eight
layers.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analyses import rank_correlation
from analyses.rank_correlation import Cloud
from analyses.trained_maps import METHODS, residuals
from analyses.training_figures import spoken
from analyses.training_plan import Setup, TrainingPlan, row
from invariance_probe.perturbations.parsing import parse_perturbation
from invariance_probe.progress import Progress
from invariance_probe.results.methods import Method
from invariance_probe.training.configuration import Network, TrainConfig

COSTS = ("over_sl", "over_cnn", "over_c0")
"""Columns of the frame: error(CX) less that of SLX, of the CNN, of C0 with the same seed."""
CELL = ("network", "perturbation", "depth")
"""What points have in common that differ in their seed alone."""
_GROUPS = {
    "all": "all points",
    "cells": "means over seeds",
    "within cells": "seeds, means taken off",
}
_MARKERS = ("o", "^", "s", "D", "v", "P", "X", "*")


@dataclass(frozen=True, kw_only=True)
class Probed:
    """Networks that are probed.

    Attributes:
        perturbations: What is done to the images, in training and in the probe.
        depths: Layers X.
        network: Classifier, as of `TrainConfig.network`.
        steps: Batches to learn from; by default the preset's.
    """

    perturbations: tuple[str, ...]
    depths: tuple[int, ...]
    network: Network = "auto"
    steps: int | None = None

    def setup(self) -> Setup:
        """List the trainings.

        Returns:
            The CNN, CX and SLX of every depth.
        """
        placed = [f"{kind}{depth}" for depth in self.depths for kind in ("c", "sl")]
        return Setup(
            perturbations=self.perturbations,
            variants=("cnn", *placed),
            network=self.network,
            steps=self.steps,
        )


@dataclass(frozen=True, kw_only=True)
class Config(TrainingPlan):
    """What to train and probe, where `TrainingPlan` does not say it.

    Attributes:
        networks: Which networks, at which layers.
        images: Test images that are probed, the first ones.
        motions: Motions of each perturbation, spread evenly over its range.
        seed: Root of all random choices.
    """

    networks: tuple[Probed, ...]
    images: int = 200
    motions: int = 6
    seed: int = 0

    def setups(self) -> tuple[Setup, ...]:
        """List the trainings.

        Returns:
            Those of all networks.
        """
        return tuple(probed.setup() for probed in self.networks)

    @property
    def kept(self) -> None:
        """None: maps are probed, which takes weights."""


_TURNED = ("rotation=30", "rotation", "rotation=180")
_PAPERS = (
    Probed(perturbations=(*_TURNED, "translation", "scaling"), depths=(1, 2)),
    Probed(perturbations=("rotation",), depths=(1, 3, 5), network="mnist-deep"),
)
PRESETS = {
    "tiny": Config(
        preset="tiny",
        data="mnist-5k",
        networks=(Probed(perturbations=("rotation",), depths=(1, 2)),),
        seeds=2,
        images=6,
        motions=2,
        processes=1,
    ),
    "quick": Config(
        preset="quick",
        networks=(
            Probed(perturbations=_TURNED, depths=(1, 2)),
            Probed(perturbations=("translation", "scaling=-1:1"), depths=(1,)),
            Probed(perturbations=("rotation",), depths=(1, 3, 5), network="mnist-deep", steps=940),
        ),
    ),
    "standard": Config(preset="standard", networks=_PAPERS, images=500, motions=12),
    "paper": Config(preset="paper", networks=_PAPERS, seeds=10, images=500, motions=12),
}


def measure(config: Config) -> pd.DataFrame:
    """Train what is missing, and probe every CNN.

    Args:
        config: What to train and probe.

    Returns:
        One row per ``network``, ``perturbation``, ``seed`` (the three name a CNN) and ``depth``:
        the residuals (fvu) `METHODS`, means over images and motions; the costs `COSTS` in fractions
        of the test images, NaN where a run diverged or, for C0, is not there; ``error_cnn``,
        ``error_c``, ``error_sl``; ``data``, ``preset``, ``machine``, ``images``, ``side`` (of the
        map, in cells), ``region_frac``.
    """
    errors, machines = {}, []
    for result in config.results():
        about = row(result, config.preset)
        errors[result.config["network"], about["perturbation"], about["variant"], about["seed"]] = (
            float(about["error"])
        )
        machines.append(about["machine"])
    machine = "; ".join(sorted(set(machines)))
    cases = [
        (probed, perturbation, seed)
        for probed in config.networks
        for perturbation in probed.perturbations
        for seed in range(config.seeds)
    ]
    rows = []
    with Progress(True, doing="probing", units="networks") as bar:
        bar.start(len(cases))
        for probed, perturbation, seed in cases:
            setup = probed.setup()
            alone = config.stored(config.config(setup, perturbation, "c0", seed))
            c0 = float(alone.numbers["error"]) if alone is not None else math.nan
            cnn = errors[probed.network, perturbation, "cnn", seed]
            # a CNN that diverged has no maps worth a look
            found = {} if math.isnan(cnn) else _probe(config, probed, perturbation, seed)
            for depth in probed.depths:
                moved = errors[probed.network, perturbation, f"c{depth}", seed]
                shared = errors[probed.network, perturbation, f"sl{depth}", seed]
                rows.append({
                    "preset": config.preset,
                    "machine": machine,
                    "data": config.source,
                    "network": probed.network,
                    "perturbation": perturbation,
                    "seed": seed,
                    "depth": depth,
                    "images": config.images,
                    **found.get(depth, dict.fromkeys(METHODS, math.nan)),
                    "error_cnn": cnn,
                    "error_c": moved,
                    "error_sl": shared,
                    "over_sl": moved - shared,
                    "over_cnn": moved - cnn,
                    "over_c0": moved - c0,
                })
            bar.advance(1)
    return pd.DataFrame(rows)


def _probe(
    config: Config, probed: Probed, perturbation: str, seed: int
) -> dict[int, dict[str, float]]:
    """Residuals of one CNN by depth."""
    run: TrainConfig = config.config(probed.setup(), perturbation, "cnn", seed)
    return residuals(
        config.trained(run).classifier,
        config.dataset.test.images[: config.images].float() / 255,
        parse_perturbation(perturbation),
        depths=probed.depths,
        count=config.motions,
        background=config.dataset.source.background or 0.0,
        seed=config.seed,
    )


def summary(frame: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Correlate residuals with costs by rank.

    Intervals leave out each seed with everything that was trained from it: networks of one seed
    start from the same weights and see the same batches, whatever is done to the images.

    Args:
        frame: What `measure` returned.
        seed: Root of the random pairings.

    Returns:
        One row per ``cost`` (`COSTS`), ``residual`` (`METHODS`) and ``points``: ``all``; each
        network, perturbation and depth that has several cells; ``cells``, the means over seeds by
        network, perturbation and depth; ``within cells``, what is left when these means are taken
        off. ``rho`` is Spearman's, with ``low`` and ``high`` (95 %) over ``clusters`` seeds; ``n``
        points; for ``cells`` alone ``p_value``, two-sided, of so much by chance if costs and
        residuals of cells were paired at random. The interval says what other seeds would
        change; the p-value says what other perturbations might.
    """
    out = []
    for cost in COSTS:
        for method in METHODS:
            known = frame[np.isfinite(frame[cost]) & np.isfinite(frame[method])]
            for points, part in _parts(known):
                cells = part.groupby(list(CELL), sort=False).ngroup()
                cloud = Cloud(
                    x=part[method].to_numpy(dtype=float),
                    y=part[cost].to_numpy(dtype=float),
                    cell=cells.to_numpy(),
                    points=points,
                )
                p_value = rank_correlation.p_value(cloud, seed) if points == "cells" else math.nan
                seeds = part["seed"].to_numpy()
                low, high = rank_correlation.interval(cloud, seeds)
                out.append({
                    "cost": cost,
                    "residual": method,
                    "points": points,
                    "rho": cloud.rho(),
                    "low": low,
                    "high": high,
                    "n": len(cloud.correlated()[0]),
                    "clusters": len(np.unique(seeds)),
                    "p_value": p_value,
                })
    return pd.DataFrame(out)


def _parts(frame: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Groups of points, of which each holds several cells."""
    if frame.empty:
        return
    yield "all", frame
    for name in CELL:
        parts = list(frame.groupby(name, sort=False))
        for value, part in parts:
            cells = part.groupby(list(CELL)).ngroups
            if len(parts) > 1 and cells > 1:
                yield f"{name} {value}", part
    yield "cells", frame
    yield "within cells", frame


def plot(frame: pd.DataFrame) -> Figure:
    """Draw cost against residual, a point a network and depth, and the rank correlations.

    Args:
        frame: What `measure` returned.

    Returns:
        The figure.
    """
    said = summary(frame)
    said = said[said["cost"] == "over_sl"]
    figure = Figure(figsize=(14, 6.2), layout="constrained")
    points, forest = figure.subplots(1, 2, width_ratios=(1.15, 1))
    _draw_points(points, frame)
    overall = said[(said["residual"] == "affine") & (said["points"] == "all")]
    for rho, low, high in overall[["rho", "low", "high"]].to_numpy():
        ends = f" [{low:.2f}, {high:.2f}]" if np.isfinite(low) else ""
        points.set_title(f"all points: Spearman's rho {rho:.2f}{ends}")
    _draw_ranks(forest, said)
    first = frame.iloc[0]
    figure.suptitle(
        "Does the residual of a trained CNN predict what a transformer of its maps costs?\n"
        f"{first['data']}, {first['preset']} preset, {frame['seed'].nunique()} seeds, "
        f"{first['images']} images probed; {first['machine']}; "
        "intervals: 95 % over seeds",
        fontsize=12,
    )
    return figure


def _draw_points(axes: Axes, frame: pd.DataFrame) -> None:
    """Colours tell perturbations, shapes layers; markers of the papers' networks are filled."""
    perturbations = list(dict.fromkeys(frame["perturbation"]))
    colours = dict(zip(perturbations, sns.color_palette("colorblind"), strict=False))
    shapes = dict(zip(sorted(frame["depth"].unique()), _MARKERS, strict=False))
    for (network, perturbation, depth), part in frame.groupby(list(CELL), sort=False):
        colour = colours[perturbation]
        axes.scatter(
            part["affine"],
            100 * part["over_sl"],
            color=colour if network == "auto" else "none",
            edgecolors=colour,
            marker=shapes[depth],
            s=52,
            alpha=0.85,
            linewidths=1.4,
        )
    axes.axhline(0, color="#767676", linewidth=0.8, linestyle=":")
    axes.set_xlabel("residual of the CNN under the best affine warp\n(fraction of variance)")
    axes.set_ylabel("error of CX less error of SLX (percentage points)")
    marks = [_mark("o", colour, spoken(name)) for name, colour in colours.items()]
    marks += [_mark(shape, "#555555", f"layer {depth}") for depth, shape in shapes.items()]
    others = [network for network in dict.fromkeys(frame["network"]) if network != "auto"]
    marks += [_mark("o", "#555555", f"open: network {name!r}", "none") for name in others]
    axes.legend(
        handles=marks,
        frameon=False,
        fontsize=10,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.17),
        ncols=3,
    )


def _mark(shape: str, colour: object, label: str, inside: str | None = None) -> Line2D:
    return Line2D(
        [],
        [],
        linestyle="none",
        marker=shape,
        color=colour,  # type: ignore[arg-type]  # any colour of matplotlib's
        markerfacecolor=inside or colour,  # type: ignore[arg-type]  # as above
        label=label,
    )


def _draw_ranks(axes: Axes, said: pd.DataFrame) -> None:
    """A line a group of points, a colour a residual."""
    groups = list(dict.fromkeys(said["points"]))
    methods = [m for m in METHODS if m in set(said["residual"])]
    for number, method in enumerate(methods):
        part = said[said["residual"] == method].set_index("points").reindex(groups)
        height = np.arange(len(groups)) + 0.14 * (number - (len(methods) - 1) / 2)
        axes.hlines(height, part["low"], part["high"], color=Method(method).colour, linewidth=1.6)
        axes.scatter(
            part["rho"],
            height,
            color=Method(method).colour,
            s=28,
            label=Method(method).label,
            zorder=3,
        )
    counts = said[said["residual"] == methods[0]].set_index("points")["n"] if methods else {}
    axes.set_yticks(
        range(len(groups)),
        [f"{_named(group)} (n = {counts[group]})" for group in groups],
    )
    axes.invert_yaxis()
    axes.axvline(0, color="#767676", linewidth=0.8, linestyle=":")
    axes.set_xlim(-1.05, 1.05)
    axes.set_xlabel("Spearman's rank correlation of residual and cost")
    axes.set_title("by group of points and kind of residual")
    axes.legend(
        frameon=False, fontsize=10, loc="upper center", bbox_to_anchor=(0.4, -0.13), ncols=2
    )


def _named(group: str) -> str:
    column, _, value = group.partition(" ")
    if column == "depth":
        return f"layer {value}"
    if column == "network":
        return "the papers' network" if value == "auto" else f"network {value!r}"
    if column == "perturbation":
        return spoken(value)
    return _GROUPS[group]
