"""Where does it help to look at the image again, and undo what is left?

C0, DLX and SLX with one, two and three steps; each step has a localizer of its own and sees the
original image resampled once by the product of all matrices so far. Variants whose names end in
``s`` have one localizer for all steps.

``quick`` is rotated MNIST with one and two steps. Three steps, deeper localization networks and the
papers' translated and scaled sets belong to ``standard``.

``two-cores`` decides finding 3 as ``analyses/results/PLAN.md`` says, written before its runs.
Primary is, for each perturbation, the error of C0 less that of C0 with two steps. SL1 is
description.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analyses import training_figures, training_plan
from analyses.training_plan import Setup, TrainingPlan


@dataclass(frozen=True, kw_only=True)
class Config(TrainingPlan):
    """What to train, where `TrainingPlan` does not say it.

    Attributes:
        perturbations: What is done to the images.
        variants: Networks that look once.
        steps: How often each of them looks.
    """

    perturbations: tuple[str, ...] = ("rotation",)
    variants: tuple[str, ...] = ("c0", "dl1", "sl1")
    steps: tuple[int, ...] = (1, 2, 3)

    def setups(self) -> tuple[Setup, ...]:
        """List the trainings.

        Returns:
            Every variant with every number of steps.
        """
        variants = tuple(
            variant if steps == 1 else f"{variant}x{steps}"
            for variant in self.variants
            for steps in self.steps
        )
        return (Setup(perturbations=self.perturbations, variants=variants),)


_PAPERS = ("rotation", "translation", "scaling")
PRESETS = {
    "tiny": Config(
        preset="tiny", data="mnist-5k", variants=("c0",), steps=(1, 2), seeds=2, processes=1
    ),
    "quick": Config(preset="quick", steps=(1, 2)),
    "two-cores": Config(
        preset="two-cores", data="mnist", variants=("c0", "sl1"), steps=(1, 2), seeds=10
    ),
    "standard": Config(
        preset="standard", variants=("c0", "dl1", "dl2", "sl1", "sl2"), perturbations=_PAPERS
    ),
    "paper": Config(
        preset="paper",
        variants=("c0", "dl1", "dl2", "sl1", "sl2"),
        perturbations=_PAPERS,
        seeds=10,
    ),
}


def measure(config: Config) -> pd.DataFrame:
    """Train what is missing, and read errors and poses.

    Args:
        config: What to train.

    Returns:
        One row a run, as of `training_plan.row`.
    """
    return pd.DataFrame([training_plan.row(result, config.preset) for result in config.results()])


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Average over seeds, and compare with a single step, seed by seed.

    Args:
        frame: What `measure` returned.

    Returns:
        As of `training_plan.table`, with ``steps``: ``difference`` is the error less that of the
        same network with one step and the same seed.
    """
    numbers = [name for name in frame if str(name).startswith(("slope_", "spread_"))]
    tables = []
    for once, group in frame.groupby(_once(frame), sort=False):
        found = training_plan.table(group, str(once), tuple(numbers))
        steps = group.groupby("variant")["steps"].first()
        tables.append(found.assign(steps=found["variant"].map(steps)))
    out = pd.concat(tables, ignore_index=True)
    return out.dropna(axis="columns", how="all")


def _once(frame: pd.DataFrame) -> pd.Series:
    """The variant that looks once."""
    return frame["variant"].str.partition("x")[0]


def plot(frame: pd.DataFrame) -> Figure:
    """Draw errors and slopes against the number of steps, a line a kind of network.

    Args:
        frame: What `measure` returned.

    Returns:
        The figure: a row a perturbation and depth.
    """
    depths = [depth for depth in sorted(frame["depth"].unique()) if depth > 0] or [0]
    rows = [
        (str(perturbation), depth)
        for perturbation in dict.fromkeys(frame["perturbation"])
        for depth in depths
    ]
    figure = Figure(figsize=(12, 4.2 * len(rows) + 1.4), layout="constrained")
    panels = figure.subplots(len(rows), 2, squeeze=False)
    for (errors, poses), (perturbation, depth) in zip(panels, rows, strict=True):
        # C0 has no layer, and stands beside all
        here = frame[(frame["perturbation"] == perturbation) & frame["depth"].isin([0, depth])]
        slopes = [name for name in here if str(name).startswith("slope_")]
        slope = next(name for name in slopes if np.isfinite(here[name]).any())
        training_figures.draw_errors(errors, here, along="steps")
        training_figures.draw_lines(poses, here, along="steps", value=slope)
        errors.set_title(
            training_figures.spoken(perturbation) + (f", X = {depth}" if depth else "")
        )
        poses.axhline(1, color="#767676", linewidth=0.8, linestyle=":")
        poses.set_ylabel(
            f"slope of undone against applied\n{slope.removeprefix('slope_')} (1: all undone)"
        )
        for axes in (errors, poses):
            axes.set_xlabel("steps")
    return training_figures.finish(
        figure, panels[0, 0], "Looking once, or again at what is left", frame
    )
