"""Single panels go onto axes of a reader's own figure."""

import pytest
from matplotlib.figure import Figure

from invariance_probe.errors import InvalidInputError
from invariance_probe.plane.transforms import Rotation, Scaling
from tests.results.planted import EXPLAINED, LAYERS, planted


def test_panels_are_drawn_where_they_are_told() -> None:
    """Curves by angle and by depth lie on the given axes and hold the summary's means."""
    result = planted(EXPLAINED, moves=[Rotation(30), Rotation(90)])
    figure = Figure()
    left, right = figure.subplots(1, 2)
    assert result.plot("rotation", ax=left) is figure
    assert result.plot("depth", ax=right) is figure
    assert figure.axes == [left, right]
    by_layer = {str(line.get_label()): line.get_ydata() for line in left.lines}
    assert {name: list(ys) for name, ys in by_layer.items()} == {
        name: pytest.approx([0.9 / 2**depth] * 2) for depth, name in enumerate(LAYERS)
    }
    by_method = {str(line.get_label()): list(line.get_ydata()) for line in right.lines}
    assert by_method["oracle warp"] == pytest.approx([1.0, 0.5])
    assert len(by_method) == len(EXPLAINED)


def test_what_takes_more_than_a_panel_is_refused() -> None:
    """Stacks, maps, and two families by depth need a figure of their own, and are told so."""
    result = planted(EXPLAINED, moves=[Rotation(90), Scaling(0.5)])
    axes = Figure().subplots()
    for kind in ("parts", "depth"):
        with pytest.raises(InvalidInputError, match=r"more than the panel ax.*rotation, scaling\)"):
            result.plot(kind, ax=axes)
