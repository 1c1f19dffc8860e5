"""Figures from frames: curves, the maps themselves, the parts of a residual, channels moved."""

import difflib

import matplotlib as mpl
import seaborn as sns
from matplotlib.figure import Figure

from invariance_probe.errors import InvalidInputError
from invariance_probe.results.curves import plot_depth, plot_parameter
from invariance_probe.results.maps import plot_maps
from invariance_probe.results.methods import EXPLAINING_METHODS
from invariance_probe.results.result import ProbeResult
from invariance_probe.results.shares import plot_channels, plot_parts
from invariance_probe.results.style import METHOD_COLOURS, METHOD_LABELS, RESIDUAL, save

__all__ = ["METHOD_COLOURS", "METHOD_LABELS", "RESIDUAL", "kinds", "plot", "save"]


def kinds(result: ProbeResult) -> list[str]:
    """List the figures that a result can be drawn as.

    Args:
        result: A probe's result.

    Returns:
        Families of transforms, ``"depth"`` and, where the run has what they show, ``"maps"``,
        ``"parts"`` (of the residual) and ``"channels"`` (which took whose place).
    """
    families = [str(kind) for kind in result.table["transform"].cat.categories]
    more = {
        "maps": bool(result.strips),
        "parts": set(EXPLAINING_METHODS) <= set(result.config["methods"])
        and len(result.config["images"]) > 1,
        "channels": len(result.channels) > 0,
    }
    return [*families, "depth", *(kind for kind, there in more.items() if there)]


def plot(result: ProbeResult, kind: str) -> Figure:
    """Draw one figure.

    Args:
        result: A probe's result.
        kind: One of `kinds`.

    Returns:
        The figure, to be saved or shown.

    Raises:
        InvalidInputError: If the result cannot be drawn like this.
    """
    known = kinds(result)
    if kind not in known:
        close = difflib.get_close_matches(kind, known, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise InvalidInputError(f"unknown figure {kind!r}; {hint}this run has {', '.join(known)}")
    with mpl.rc_context(), sns.axes_style("ticks"), sns.plotting_context("notebook"):
        if kind == "depth":
            return plot_depth(result)
        if kind == "maps":
            return plot_maps(result)
        if kind == "parts":
            return plot_parts(result)
        if kind == "channels":
            return plot_channels(result)
        return plot_parameter(result, kind)
