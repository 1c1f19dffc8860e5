"""Which figures a run can be drawn as, and drawing one of them."""

import difflib

from invariance_probe.errors import InvalidInputError
from invariance_probe.results.curves import plot_depth, plot_parameter
from invariance_probe.results.maps import plot_maps
from invariance_probe.results.methods import Method
from invariance_probe.results.partition import FEWEST_IMAGES
from invariance_probe.results.recovery_figures import plot_predictions, plot_recovery
from invariance_probe.results.shares import plot_channels, plot_partition, plot_parts
from invariance_probe.results.style import Figure, figure_style
from invariance_probe.results.tables import ProbeTables

_DRAWN = {
    "depth": plot_depth,
    "maps": plot_maps,
    "parts": plot_parts,
    "partition": plot_partition,
    "channels": plot_channels,
    "recovery": plot_recovery,
    "predictions": plot_predictions,
}


def kinds(tables: ProbeTables) -> list[str]:
    """List the figures that a run can be drawn as.

    Args:
        tables: A run's tables.

    Returns:
        Families of transforms and, where the run has what they show, ``"depth"``, ``"maps"``,
        ``"parts"`` (of the residual), ``"partition"`` (of the variance) and ``"channels"`` (which
        took whose place); of a run of `recover` ``"recovery"`` and ``"predictions"``.
    """
    if "fvu" not in tables.metrics:
        # the others draw residuals
        warped = Method.ORACLE in tables.methods and len(tables.predictions) > 0
        there = {"recovery": bool(tables.moves), "predictions": warped}
        return [kind for kind in there if there[kind]]
    families = tables.rows.categories("transform")
    more = {
        "depth": bool(tables.moves),
        "maps": bool(tables.strips),
        "parts": tables.explained and len(tables.config["images"]) > 1,
        "partition": tables.partitioned and len(tables.config["images"]) >= FEWEST_IMAGES,
        "channels": len(tables.channels) > 0,
    }
    return [*families, *(kind for kind, there in more.items() if there)]


def plot(tables: ProbeTables, kind: str) -> Figure:
    """Draw one figure.

    Args:
        tables: A run's tables.
        kind: One of `kinds`.

    Returns:
        The figure, to be saved or shown.

    Raises:
        InvalidInputError: If the run cannot be drawn like this.
    """
    known = kinds(tables)
    if kind not in known:
        close = difflib.get_close_matches(kind, known, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise InvalidInputError(f"unknown figure {kind!r}; {hint}this run has {', '.join(known)}")
    with figure_style():
        return _DRAWN[kind](tables) if kind in _DRAWN else plot_parameter(tables, kind)
