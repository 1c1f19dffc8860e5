"""The part of a page that trainings make."""

import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from invariance_probe.report.blocks import Drawing, Grid, Section
from invariance_probe.training import runs

KIND = "training"
_SHOWN = ("data", "perturbation", "variant", "alignment", "seeds", "diverged")
SETUP = (
    "train_images",
    "network",
    "width",
    "localizer",
    "localizer_width",
    "parametrisation",
    "sampler",
    "padding",
    "optimizer",
    "rate",
    "localizer_rate",
    "batch",
    "precision",
)
"""What runs that are compared have in common, besides data and perturbation; and the number of
steps. Runs that differ in it are never averaged."""


def is_training(folder: Path) -> bool:
    """Tell the run folder of a finished training.

    Args:
        folder: Any folder.

    Returns:
        Whether it holds a training's result.
    """
    return runs.is_finished(folder)


def frame(folders: Sequence[Path]) -> pd.DataFrame:
    """Read trainings.

    Args:
        folders: Run folders; one that cannot be read is refused with an `InvalidInputError`.

    Returns:
        A row for each, as of `runs.read_runs`.
    """
    return pd.concat([runs.read_runs(folder) for folder in folders], ignore_index=True)


def sections(trained: pd.DataFrame) -> list[Section]:
    """Report trainings.

    Args:
        trained: What `frame` returned.

    Returns:
        A part of the page for each setup: runs of other sizes or lengths are not averaged.
    """
    setups = [name for name in (*SETUP, "steps") if name in trained]
    groups = [rows for _, rows in trained.groupby(setups, sort=False, dropna=False)]
    return [_section(rows, number) for number, rows in enumerate(groups, 1)]


def _section(trained: pd.DataFrame, number: int) -> Section:
    """Report trainings of one setup."""
    first = trained.iloc[0]
    table = runs.table(trained)
    table = table.sort_values(["data", "perturbation", "alignment", "variant"], kind="stable")
    measured = [name for name in table if name.startswith(("error", "slope_", "spread_"))]
    shown = table[[*_SHOWN, *measured, "images_per_second"]].rename(columns={"error": "error_mean"})
    return Section(
        id=f"trainings-{number}",
        title=f"Trainings on {', '.join(dict.fromkeys(trained['data']))}: "
        + ", ".join(dict.fromkeys(trained["perturbation"])),
        kind=f"{len(trained)} trainings, {trained['seed'].nunique()} seeds",
        lead=(
            "Errors are fractions of test images, means over seeds with 95 % intervals (Student's "
            "t). A slope of 1 is full compensation of the pose; spread is what is left within the "
            "classes. Runs whose alignment is true are fed the pose instead of predicting it.",
            f"Filters and units scaled by {first['width']:g}, {first['steps']} steps of "
            f"{first['batch']} images.",
        ),
        meaning=tuple(_sentences(table)),
        figures=_drawings(trained, table),
        grids=(Grid.of(shown, "Error and pose by variant"),),
        bears_on=("P2", "P15", "P16"),
    )


def _percent(row: pd.Series) -> str:
    """An error with its interval."""
    text = f"{100 * row['error']:.2f} %"
    if math.isnan(row["error_low"]):
        return text
    return f"{text} [{100 * row['error_low']:.2f}, {100 * row['error_high']:.2f}]"


def _sentences(table: pd.DataFrame) -> list[str]:
    """For each task the best variant, and what no transformer and one of the maps cost."""
    out = []
    predicted = table[(table["alignment"] == "predicted") & table["error"].notna()]
    for (data, perturbation), rows in predicted.groupby(["data", "perturbation"], sort=False):
        if len(rows) < 2:
            continue
        best = rows.loc[rows["error"].idxmin()]
        said = [
            f"On {data} under {perturbation}, {best['variant']} has the lowest error: "
            f"{_percent(best)} over {best['seeds']} seed{'s' if best['seeds'] > 1 else ''}"
        ]
        others = rows[rows["variant"] != best["variant"]]
        said += [f"{row['variant']} {_percent(row)}" for _, row in others.iterrows()]
        out.append("; ".join(said) + _call(best, others))
    return out


def _call(best: pd.Series, others: pd.DataFrame) -> str:
    """Whether the best is told apart from the next by intervals that do not meet."""
    near = others[others["error_low"] <= best["error_high"]]["variant"].tolist()
    if math.isnan(best["error_high"]):
        return ". One seed cannot tell them apart."
    if not near:
        return ". Its interval overlaps no other."
    return f". Its interval overlaps that of {', '.join(near)}: these cannot be told apart."


def _drawings(trained: pd.DataFrame, table: pd.DataFrame) -> tuple[Drawing, ...]:
    """Error by variant, a figure for each data set."""
    from invariance_probe.report import training_figures  # matplotlib is slow to import

    out = []
    for data in dict.fromkeys(trained["data"]):
        rows = trained[(trained["data"] == data) & (trained["alignment"] == "predicted")]
        rows = rows[rows["error"].notna()]
        if rows.empty:
            continue
        some = table[(table["data"] == data) & (table["alignment"] == "predicted")]
        words = "; ".join(
            f"{row['variant']} under {row['perturbation']} {_percent(row)}"
            for _, row in some[some["error"].notna()].iterrows()
        )
        caption = (
            f"{data}: error by variant, {rows['seed'].nunique()} seeds. Each dot is one training; "
            "bars: mean and 95 % t interval over seeds."
        )
        drawn = training_figures.svg(rows, some, data)
        out.append(Drawing(alt=f"{caption} {words}.", caption=caption, svg=drawn))
    return tuple(out)
