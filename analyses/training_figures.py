"""One style for figures of trainings: a colour a kind of network, intervals over seeds."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analyses.legends import shared_legend
from invariance_probe.perturbations.parsing import parse_perturbation
from invariance_probe.statistics import t_interval
from invariance_probe.stn.variants import parse_variant

KIND_COLOURS = {
    "cnn": "#767676",
    "c0": "#E69F00",
    "c": "#0072B2",
    "dl": "#CC79A7",
    "sl": "#009E73",
}
"""One colour a kind of network in every figure: Okabe and Ito's palette."""
KIND_LABELS = {
    "cnn": "CNN, no transformer",
    "c0": "C0, transforms and sees the image",
    "c": "CX, transforms a feature map",
    "dl": "DLX, transforms the image, layers of its own",
    "sl": "SLX, transforms the image, shared layers",
}
_KIND_MARKERS = {"cnn": "s", "c0": "D", "c": "o", "dl": "v", "sl": "^"}


def kind_of(variant: str) -> str:
    """Name the kind of a variant.

    Args:
        variant: As on the command line.

    Returns:
        One of `KIND_COLOURS`; of several transformers that of the first.
    """
    placements = parse_variant(variant).placements
    if not placements:
        return "cnn"
    return "c0" if placements[0].kind == "c" and placements[0].depth == 0 else placements[0].kind


def spoken(perturbation: str) -> str:
    """Name a perturbation in a figure.

    Args:
        perturbation: As on the command line.

    Returns:
        A rotation with its largest angle, a scaling with its factors, a translation with its reach
        on images of 28 x 28 pixels.
    """
    return parse_perturbation(perturbation).label


def caption(frame: pd.DataFrame) -> str:
    """Say what a figure of trainings rests on.

    Args:
        frame: With ``data``, ``network``, ``preset``, ``images_seen``, ``seed`` and ``machine``.

    Returns:
        Data, the network where it is another than the papers', preset, images that a run learns
        from, number of seeds, machine, what the intervals are.
    """
    seeds = frame["seed"].nunique()
    machines = "; ".join(dict.fromkeys(frame["machine"]))
    data = ", ".join(dict.fromkeys(frame["data"]))
    others = [name for name in dict.fromkeys(frame["network"]) if name != "auto"]
    data += f", network {', '.join(others)}" if others else ""
    return (
        f"{data}, {frame['preset'].iloc[0]} preset, {seeds} seed{'s' * (seeds != 1)}, "
        f"{seen(frame)}; {machines}\n"
        "small marks: seeds; large marks: means; bars: 95 % t interval over seeds"
    )


def seen(frame: pd.DataFrame) -> str:
    """Say how many images a run learns from.

    Args:
        frame: With ``images_seen``.

    Returns:
        Such as ``20 000 images a run``; the least and the most where they differ.
    """
    counts = dict.fromkeys((int(frame["images_seen"].min()), int(frame["images_seen"].max())))
    return " to ".join(f"{count:,}".replace(",", " ") for count in counts) + " images a run"


def finish(figure: Figure, axes: Axes, headline: str, frame: pd.DataFrame) -> Figure:
    """Put one legend below all panels, and a headline with what the figure rests on above.

    Args:
        figure: Of the panels.
        axes: The panel whose labels count.
        headline: What it shows.
        frame: As `caption` takes it.

    Returns:
        The figure.
    """
    shared_legend(figure, axes, ncols=2)
    figure.suptitle(f"{headline}\n{caption(frame)}", fontsize=12)
    return figure


def from_zero(axes: Axes) -> None:
    """Let an axis begin at 0 and end above all that is drawn.

    Args:
        axes: With something on it.
    """
    top = axes.dataLim.y1
    axes.set_ylim(0, 1.06 * top if np.isfinite(top) and top > 0 else 1)


def draw_seeds(
    axes: Axes,
    positions: Sequence[float],
    values: Sequence[np.ndarray],
    *,
    kind: str,
    joined: bool,
    label: str | None = None,
    aside: float = 0.0,
) -> None:
    """Draw seeds, their mean and its interval.

    Args:
        axes: Where.
        positions: Along x.
        values: At each position one number a seed, NaN left out.
        kind: One of `KIND_COLOURS`.
        joined: Whether a line joins the means.
        label: For the legend.
        aside: How far to the right of the means the seeds stand.
    """
    colour = KIND_COLOURS[kind]
    means = [float(np.nanmean(one)) if np.isfinite(one).any() else np.nan for one in values]
    for position, one in zip(positions, values, strict=True):
        axes.plot([position + aside] * len(one), one, ".", color=colour, alpha=0.5, markersize=6)
    ends = np.array([t_interval(one)[1:] for one in values]).reshape(-1, 2)
    axes.vlines(positions, ends[:, 0], ends[:, 1], color=colour, linewidth=2)
    axes.plot(
        positions,
        means,
        _KIND_MARKERS[kind],
        linestyle="-" if joined else "none",
        color=colour,
        markersize=9,
        label=label,
    )


def draw_lines(
    axes: Axes,
    frame: pd.DataFrame,
    *,
    along: str,
    value: str,
) -> None:
    """Draw a number against depth or steps, a line a kind of network; a reference is one point.

    Args:
        axes: Where.
        frame: Rows of `training_plan.row`.
        along: Column of whole numbers along x.
        value: Column along y.
    """
    kinds = [kind for kind in KIND_COLOURS if kind in set(frame["variant"].map(kind_of))]
    places = sorted(frame[along].unique())
    for number, kind in enumerate(kinds):
        part = frame[frame["variant"].map(kind_of) == kind]
        if not np.isfinite(part[value]).any():
            continue
        found = {int(at): one for at, one in part.groupby(along)}
        shift = 0.06 * (number - (len(kinds) - 1) / 2)
        draw_seeds(
            axes,
            [at + shift for at in found],
            [one[value].to_numpy(dtype=float) for one in found.values()],
            kind=kind,
            joined=True,
            aside=0.025,
            label=KIND_LABELS[kind],
        )
    axes.set_xticks(places)
    axes.set_xlim(min(places) - 0.4, max(places) + 0.4)


def draw_errors(axes: Axes, frame: pd.DataFrame, *, along: str) -> None:
    """Draw test errors in percent, from 0, as `draw_lines` draws.

    Args:
        axes: Where.
        frame: Rows of `training_plan.row`.
        along: Column of whole numbers along x.
    """
    draw_lines(axes, frame.assign(error=100 * frame["error"]), along=along, value="error")
    from_zero(axes)
    axes.set_ylabel("test error (%)")
