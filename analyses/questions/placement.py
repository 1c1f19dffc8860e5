"""Where must a transformer sit: at the image or at a feature map?

The papers' first table: test error and poses of CNN, C0, CX, DLX and SLX on perturbed digits. A
pose that is fully undone gives a slope of predicted against applied pose of 1.

``quick`` learns from 20 000 digits: rotation by up to 90 degrees, translation by up to 16 pixels,
scaling between 0.5 and 2; the last two lie on canvases of four times the area and more, where the
networks have half the width. The papers' scaled set (up to 4, 112 x 112 pixels) belongs to
``standard``.

``two-cores`` decides findings 1 and 4 as ``analyses/results/PLAN.md`` says, written before its
runs. Primary are, for each perturbation: error of C1 less that of C0 under rotation and under
scaling (finding 1), what C0 saves of C1's error under rotation less what it saves under translation
(finding 1), slope of C0 less that of C1 under rotation and under scaling (finding 4). The CNN, DL1,
SL1 and the ladder of true poses (what perfect localization would reach at the image and at either
map) are description. ``two-cores-narrow`` is rotation at half of its width, a check that width does
not decide.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analyses import training_figures, training_plan
from analyses.training_plan import Setup, TrainingPlan
from invariance_probe.perturbations.parsing import parse_perturbation
from invariance_probe.statistics import t_interval

REFERENCE = "c1"
"""What the errors of other variants are compared with: the transformer of a feature map."""
_BINS = 40


@dataclass(frozen=True, kw_only=True)
class Config(TrainingPlan):
    """What to train, where `TrainingPlan` does not say it.

    Attributes:
        perturbations: What is done to the images.
        variants: Networks.
        further: Further trainings.
        poses: Test images of each run whose poses are kept for the figure, the first ones.
    """

    perturbations: tuple[str, ...] = ("rotation", "translation", "scaling=-1:1")
    variants: tuple[str, ...] = ("cnn", "c0", "c1", "dl1", "sl1")
    further: tuple[Setup, ...] = ()
    poses: int = 1000

    def setups(self) -> tuple[Setup, ...]:
        """List the trainings.

        Returns:
            Every variant on every perturbation, and what there is further.
        """
        return (Setup(perturbations=self.perturbations, variants=self.variants), *self.further)


_PAPERS = ("rotation", "translation", "scaling")
_ON_CANVAS = Setup(
    perturbations=("translation", "scaling=-1:1"), variants=("cnn", "c0", "c1", "sl1"), seeds=8
)
_LADDER = Setup(perturbations=("rotation",), variants=("c0", "c1", "c2"), alignment="true")
PRESETS = {
    "tiny": Config(
        preset="tiny",
        data="mnist-5k",
        perturbations=("rotation",),
        variants=("cnn", "c0", "c1", "sl1"),
        seeds=2,
        poses=50,
        processes=1,
    ),
    "quick": Config(preset="quick"),
    "two-cores": Config(
        preset="two-cores",
        data="mnist",
        perturbations=("rotation",),
        seeds=10,
        further=(_ON_CANVAS, _LADDER),
    ),
    "two-cores-narrow": Config(
        preset="two-cores", data="mnist", width=0.25, perturbations=("rotation",), seeds=10
    ),
    "standard": Config(preset="standard", perturbations=_PAPERS),
    "paper": Config(preset="paper", perturbations=_PAPERS, seeds=10),
}


def measure(config: Config) -> pd.DataFrame:
    """Train what is missing, and read errors and poses.

    Args:
        config: What to train.

    Returns:
        One row a run (``level`` is ``run``), as of `training_plan.row`; and, of runs that predict
        their poses, one for each of the first test images and each number of the pose (``level`` is
        ``pose``): ``image``, ``pose``, ``applied`` and ``predicted`` (its negative, where all is
        undone; in the pose's unit), with ``perturbation``, ``variant`` and ``seed``.
    """
    runs, poses = [], []
    for result in config.results():
        about = training_plan.row(result, config.preset)
        runs.append(about)
        predicted = about["kind"] != "cnn" and about["alignment"] == "predicted"
        moved = predicted and len(result.images) > 0
        names = parse_perturbation(about["perturbation"]).pose_names if moved else ()
        kept = result.images.head(config.poses)
        for name in names:
            poses.append(
                pd.DataFrame({
                    "level": "pose",
                    "perturbation": about["perturbation"],
                    "variant": about["variant"],
                    "seed": about["seed"],
                    "image": kept["image"].to_numpy(),
                    "pose": name,
                    "applied": kept[f"applied_{name}"].to_numpy(dtype=np.float32),
                    "predicted": kept[f"predicted_{name}"].to_numpy(dtype=np.float32),
                })
            )
    return pd.concat([pd.DataFrame(runs).assign(level="run"), *poses], ignore_index=True)


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Average over seeds, and compare with the transformer of a feature map, seed by seed.

    Args:
        frame: What `measure` returned.

    Returns:
        As of `training_plan.table`: errors, ``difference`` to `REFERENCE` (below 0: fewer errors
        than it), and for every number of the pose its ``slope_`` and the ``spread_`` left within a
        class (in the pose's unit), each with its interval.
    """
    runs = frame[frame["level"] == "run"]
    numbers = [name for name in runs if str(name).startswith(("slope_", "spread_"))]
    found = training_plan.table(runs, REFERENCE, (*numbers, "out_of_frame"))
    return found.dropna(axis="columns", how="all")


def plot(frame: pd.DataFrame) -> Figure:
    """Draw errors by variant, and where predicted poses lie against applied ones.

    Args:
        frame: What `measure` returned.

    Returns:
        The figure: a row a perturbation.
    """
    everything = frame[frame["level"] == "run"]
    runs = everything[everything["alignment"] == "predicted"]
    perturbations = list(dict.fromkeys(runs["perturbation"]))
    poses = frame[frame["level"] == "pose"]
    variants = list(dict.fromkeys(runs["variant"]))
    moved = [variant for variant in variants if variant in set(poses["variant"])]
    figure = Figure(
        figsize=(4.6 + 2.7 * len(moved), 3.7 * len(perturbations) + 1), layout="constrained"
    )
    panels = figure.subplots(
        len(perturbations),
        1 + len(moved),
        squeeze=False,
        width_ratios=[1.6, *([1] * len(moved))],
    )
    for line, perturbation in enumerate(perturbations):
        here = runs[runs["perturbation"] == perturbation]
        _draw_errors(panels[line, 0], here, variants)
        _draw_true(panels[line, 0], everything, perturbation, variants)
        panels[line, 0].set_title(training_figures.spoken(perturbation))
        shown = poses[poses["perturbation"] == perturbation]
        shown = shown[shown["pose"] == shown["pose"].iloc[0]] if len(shown) else shown
        for column, variant in enumerate(moved, start=1):
            _draw_poses(panels[line, column], shown, here[here["variant"] == variant])
            if column > 1:
                panels[line, column].set_yticklabels([])
                panels[line, column].set_ylabel("")
    figure.suptitle(
        "Test error by placement, and the pose that is undone against the pose applied\n"
        + training_figures.caption(runs),
        fontsize=12,
    )
    return figure


def _draw_errors(axes: Axes, runs: pd.DataFrame, variants: list[str]) -> None:
    for number, variant in enumerate(variants):
        errors = runs.loc[runs["variant"] == variant, "error"].to_numpy(dtype=float)
        training_figures.draw_seeds(
            axes,
            [number],
            [100 * errors],
            kind=training_figures.kind_of(variant),
            joined=False,
            aside=0.18,
        )
    axes.set_xticks(range(len(variants)), [variant.upper() for variant in variants])
    axes.set_xlim(-0.6, len(variants) - 0.4)
    training_figures.from_zero(axes)
    axes.set_ylabel("test error (%)")


def _draw_true(
    axes: Axes, everything: pd.DataFrame, perturbation: str, variants: list[str]
) -> None:
    """Mean errors with true poses, as open marks beside those of the same variant."""
    here = everything[everything["perturbation"] == perturbation]
    true = here[here["alignment"] == "true"].groupby("variant")["error"].mean()
    shown = [variant for variant in variants if variant in true]
    if not shown:
        return
    axes.plot(
        [variants.index(variant) - 0.25 for variant in shown],
        [100 * true[variant] for variant in shown],
        "o",
        color="#222222",
        markerfacecolor="none",
        label="poses given",
    )
    axes.legend(frameon=False, fontsize=10)


def _draw_poses(axes: Axes, poses: pd.DataFrame, runs: pd.DataFrame) -> None:
    """Density of one variant's poses, all seeds together, in the window of all variants."""
    if runs.empty or poses.empty:
        axes.set_axis_off()
        return
    variant = runs["variant"].iloc[0]
    part = poses[poses["variant"] == variant]
    across, up = bins(poses)
    share = density(part, across, up)
    axes.pcolormesh(
        across,
        up,
        np.ma.masked_equal(np.sqrt(share.T), 0),
        cmap="viridis_r",
        vmin=0,
        rasterized=True,
    )
    axes.plot(across[[0, -1]], across[[0, -1]], color="black", linewidth=1, linestyle=":")
    name = poses["pose"].iloc[0]
    slopes = runs[f"slope_{name}"].to_numpy(dtype=float)
    mean, low, high = t_interval(slopes)
    ends = f"\n[{low:.2f}, {high:.2f}]" if np.isfinite(low) else ""
    axes.set_title(f"{variant.upper()}: slope {mean:.2f}{ends}", fontsize=12)
    perturbation = parse_perturbation(poses["perturbation"].iloc[0])
    unit = perturbation.pose_units[perturbation.pose_names.index(name)]
    axes.set_xlabel(f"applied ({unit})")
    axes.set_ylabel(f"undone ({unit})")
    axes.set_aspect("equal")


def bins(
    poses: pd.DataFrame,
) -> tuple[Float[np.ndarray, " applied_edge"], Float[np.ndarray, " undone_edge"]]:
    """Choose bins for applied and for undone poses, of the same width.

    Args:
        poses: Columns ``applied`` and ``predicted`` of one number of the pose.

    Returns:
        Edges along the applied pose, which span all of it, a bin for each value where there are
        few; and along the undone one, which span the same and what more holds all but the outermost
        hundredth on either side: the pose that a network turns to is its own choice.
    """
    applied = poses["applied"].to_numpy(dtype=float)
    values = np.unique(applied)
    if len(values) <= _BINS:
        step = float(np.diff(values).min()) if len(values) > 1 else 1.0
        across = np.arange(values[0] - step / 2, values[-1] + step, step)
    else:
        across = np.linspace(values[0], values[-1], _BINS + 1)
    step = across[1] - across[0]
    low, high = np.quantile(-poses["predicted"].to_numpy(dtype=float), (0.01, 0.99))
    below = max(0, int(np.ceil((across[0] - low) / step)))
    above = max(0, int(np.ceil((high - across[-1]) / step)))
    count = below + len(across) - 1 + above
    return across, across[0] + step * (np.arange(count + 1) - below)


def density(
    poses: pd.DataFrame,
    across: Float[np.ndarray, " applied_edge"],
    up: Float[np.ndarray, " undone_edge"],
) -> Float[np.ndarray, "applied undone"]:
    """Say where undone poses lie, for each pose applied.

    Args:
        poses: Columns ``applied`` and ``predicted`` of one number of the pose.
        across: Edges of bins of the applied pose.
        up: Edges of bins of the undone pose, which is the negative of the predicted one; what lies
            beyond is gathered in the outermost.

    Returns:
        Shares by bin; all of one applied pose sum to 1.
    """
    undone = np.clip(-poses["predicted"].to_numpy(dtype=float), up[0], up[-1])
    counts, _, _ = np.histogram2d(poses["applied"].to_numpy(dtype=float), undone, bins=(across, up))
    share: np.ndarray = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    return share
