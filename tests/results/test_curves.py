"""Curves show the summary's means."""

import numpy as np
import pytest

from invariance_probe.errors import InvalidInputError
from invariance_probe.plane.transforms import Affine, Rotation, Scaling, Translation
from invariance_probe.results.curves import plot_depth, plot_parameter
from invariance_probe.results.methods import Method
from invariance_probe.results.style import AXIS_LABELS, RESIDUAL
from tests.results.planted import planted

LEFT = {
    Method.ORACLE: [0.6, 0.8],
    Method.ORACLE_LINEAR: [0.4, 0.4],
    Method.AFFINE: [0.2, 0.4],
    Method.FLOOR: [0.1, 0.1],
}
SHOWN = (Method.ORACLE, Method.AFFINE, Method.FLOOR)
MOVES = [Rotation(-30), Rotation(30), Scaling(0.5), Scaling(2)]


def test_the_residual_is_drawn_against_the_parameter() -> None:
    """A panel each layer; oracle and best affine warp and the floor as lines, in their colours."""
    figure = plot_parameter(planted(LEFT, moves=MOVES), "rotation")
    panels = figure.axes
    assert [axes.get_title() for axes in panels] == ["shallow", "deep"]
    assert figure.get_supylabel() == RESIDUAL
    assert panels[-1].get_xlabel() == AXIS_LABELS["rotation"]
    for axes, part in zip(panels, (1, 2), strict=True):
        for line, method, mean in zip(axes.lines, SHOWN, (0.7, 0.3, 0.1), strict=True):
            assert line.get_xdata().tolist() == [-30, 30]
            assert line.get_color() == method.colour
            np.testing.assert_allclose(line.get_ydata(), [mean / part] * 2)
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert named == [method.label for method in SHOWN]


def test_factors_lie_on_a_logarithmic_axis() -> None:
    """Half and double are as far from 1 as each other."""
    axes = plot_parameter(planted(LEFT, moves=MOVES), "scaling").axes[0]
    assert axes.get_xscale() == "log"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.5", "0.7", "1", "1.4", "2"]


def test_transforms_without_a_number_are_drawn_in_their_order() -> None:
    """Affine maps, or shifts of which one is oblique, have no one parameter; they are numbered."""
    oblique = [Affine([[1, 0.1], [0, 1.1]]), Affine([[0.9, 0.1], [0.2, 1]])]
    for moves in (oblique, [Translation(5), Translation(3, 4)]):
        axes = plot_parameter(planted(LEFT, moves=moves), moves[0].kind).axes[0]
        assert axes.get_xlabel() == "transform (number)"
        assert axes.lines[0].get_xdata().tolist() == [0, 1]


def test_without_oracle_and_affine_the_first_method_is_drawn() -> None:
    """A run of one other method has lines of that method."""
    figure = plot_parameter(planted({Method.IDENTITY: [0.5, 0.7]}), "rotation")
    assert [line.get_label() for line in figure.axes[0].lines] == [Method.IDENTITY.label]


def test_the_residual_is_drawn_by_depth() -> None:
    """Warps and mixings apart, a panel a family, named at their ends, in their colour and style."""
    figure = plot_depth(planted(LEFT, moves=MOVES))
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles[:2] == ["rotation: warps", "scaling: warps"]
    assert len(titles) == 4
    lines = {line.get_label(): line for axes in figure.axes for line in axes.lines}
    assert set(lines) == {method.label for method in LEFT}
    assert {t.get_text() for axes in figure.axes for t in axes.texts} == set(lines)
    for method, fvu in LEFT.items():
        line = lines[method.label]
        np.testing.assert_allclose(line.get_ydata(), [np.mean(fvu), np.mean(fvu) / 2])
        assert line.get_color() == method.colour
        assert line.get_linestyle() == method.line


def test_a_run_in_which_nothing_moves_has_no_curve_by_depth() -> None:
    """Where every transform is the identity, the refusal says so."""
    with pytest.raises(InvalidInputError, match="every transform of this run is the identity"):
        plot_depth(planted(LEFT, moves=[Rotation(0)]))
