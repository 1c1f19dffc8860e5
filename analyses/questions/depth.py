"""What becomes of CX, DLX and SLX as the layer X goes deeper?

Test error against X, how many runs diverged, how much of the pose the transformers undo, and the
norm of the localizers' gradients: the mean over looks from one evaluation to the next, then the
median over the training. DLX's norm counts the layers that it has for itself, the others' the
localizer alone.

``quick`` is rotated MNIST under a network of eight small convolutions, as the papers' for MNIST has
but two layers. Street digits and their network take hours on two cores and belong to ``standard``,
as do SVHN and PlanktonSet with `Config.data` and `Config.data_root` where their files are present.

``two-cores`` decides finding 2 as ``analyses/results/PLAN.md`` says, written before its runs.
Primary is, for each perturbation, the share of seeds that failed (diverged, or whose localizer did
not take off) with DL5 less that with SL5, by Fisher's exact test. Other depths, and the errors, are
description. ``two-cores-harder`` turns digits by up to 180 degrees.
"""

from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from analyses import training_figures, training_plan
from analyses.training_plan import TAKEN_OFF, Setup, TrainingPlan
from invariance_probe.training.configuration import Network

REFERENCE = "cnn"
"""What the errors are compared with."""


@dataclass(frozen=True, kw_only=True)
class Config(TrainingPlan):
    """What to train, where `TrainingPlan` does not say it.

    Attributes:
        perturbations: What is done to the images.
        network: Classifier, as of `TrainConfig.network`.
        steps: Batches to learn from; by default the preset's.
        kinds: Kinds of transformer.
        depths: Layers X.
        references: Further variants.
    """

    perturbations: tuple[str, ...] = ("rotation",)
    network: Network = "auto"
    steps: int | None = None
    kinds: tuple[str, ...] = ("c", "dl", "sl")
    depths: tuple[int, ...] = (1, 2)
    references: tuple[str, ...] = ("cnn", "c0")

    def setups(self) -> tuple[Setup, ...]:
        """List the trainings.

        Returns:
            The references, and every kind at every depth.
        """
        placed = [f"{kind}{depth}" for depth in self.depths for kind in self.kinds]
        return (
            Setup(
                perturbations=self.perturbations,
                variants=(*self.references, *placed),
                network=self.network,
                steps=self.steps,
            ),
        )


PRESETS = {
    "tiny": Config(preset="tiny", data="mnist-5k", kinds=("c", "sl"), seeds=2, processes=1),
    "quick": Config(preset="quick", network="mnist-deep", steps=940, depths=(1, 3, 5)),
    "two-cores": Config(
        preset="two-cores", data="mnist", network="mnist-deep", depths=(1, 3, 5), seeds=10
    ),
    "two-cores-harder": Config(
        preset="two-cores",
        data="mnist",
        network="mnist-deep",
        perturbations=("rotation=180",),
        kinds=("dl", "sl"),
        depths=(1, 5),
        references=(),
        seeds=10,
    ),
    "standard": Config(
        preset="standard", data="street-digits", perturbations=("none",), depths=(1, 2, 3, 4, 6, 8)
    ),
    "paper": Config(
        preset="paper",
        data="street-digits",
        perturbations=("none",),
        depths=(1, 2, 3, 4, 5, 6, 7, 8),
        seeds=10,
    ),
}


def measure(config: Config) -> pd.DataFrame:
    """Train what is missing, and read errors and gradients.

    Args:
        config: What to train.

    Returns:
        One row a run, as of `training_plan.row`, and ``gradient``, the median over the training of
        the norm of the localizers' gradient; NaN for the CNN.
    """
    rows = []
    for result in config.results():
        norms = result.curve.get("localizer_gradient", pd.Series(dtype=float)).dropna()
        gradient = float(norms.median()) if len(norms) else float("nan")
        rows.append({**training_plan.row(result, config.preset), "gradient": gradient})
    return pd.DataFrame(rows)


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Average over seeds, and compare with the CNN, seed by seed.

    Args:
        frame: What `measure` returned.

    Returns:
        As of `training_plan.table`: ``seeds``, ``diverged``, errors, ``difference`` to `REFERENCE`,
        ``gradient`` and ``slope_``, each with its interval.
    """
    slopes = [name for name in frame if str(name).startswith("slope_")]
    found = training_plan.table(frame, REFERENCE, ("gradient", *slopes))
    return found.dropna(axis="columns", how="all")


def plot(frame: pd.DataFrame) -> Figure:
    """Draw errors, slopes and gradients against depth, a line a kind of network.

    Args:
        frame: What `measure` returned.

    Returns:
        The figure: a row a perturbation; counts of diverged runs stand in the titles.
    """
    perturbations = list(dict.fromkeys(frame["perturbation"]))
    figure = Figure(figsize=(15, 4.2 * len(perturbations) + 1.6), layout="constrained")
    panels = figure.subplots(len(perturbations), 3, squeeze=False)
    slopes = [name for name in frame if str(name).startswith("slope_")]
    undone = frame.assign(slope=frame[slopes].astype(float).mean(axis=1))
    for line, perturbation in enumerate(perturbations):
        here = undone[undone["perturbation"] == perturbation]
        errors, poses, norms = panels[line]
        training_figures.draw_errors(errors, here, along="depth")
        training_figures.draw_lines(norms, here, along="depth", value="gradient")
        lost = here.loc[here["outcome"] != "finished", "variant"].value_counts()
        said = ", ".join(f"{count} of {name.upper()}" for name, count in lost.items())
        name = training_figures.spoken(perturbation)
        errors.set_title(f"{name}; diverged: {said or 'none'}")
        training_figures.draw_lines(poses, here, along="depth", value="slope")
        poses.axhline(TAKEN_OFF, color="#767676", linewidth=0.8, linestyle=":")
        poses.set_ylabel("slope of undone against applied pose\n(1: all undone; dotted: taken off)")
        norms.set_yscale("log")
        norms.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        norms.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        norms.yaxis.set_minor_formatter(NullFormatter())
        norms.set_ylabel("norm of the localizers' gradient")
        for axes in (errors, poses, norms):
            axes.set_xlabel("layer X that the localizer sees (0: the image)")
    return training_figures.finish(
        figure, panels[0, 0], "The same transformer, deeper in the network", frame
    )
