"""Which figures a run has follows from what it holds."""

import pytest

from invariance_probe.errors import InvalidInputError
from invariance_probe.plane.transforms import Rotation, Scaling
from invariance_probe.results.figures import kinds, plot
from invariance_probe.results.methods import Method
from tests.results.planted import EXPLAINED, permuted, planted, strip


def test_a_run_can_be_drawn_as_what_it_holds() -> None:
    """Families and depth always; maps, parts and channels where the run has them."""
    moves = [Rotation(90), Scaling(0.5)]
    assert kinds(planted({Method.ORACLE: [0.5]}, moves=moves)) == ["rotation", "scaling", "depth"]
    full = planted(EXPLAINED, strips=[strip("deep")], permutations=permuted([1, 0]))
    assert kinds(full) == ["rotation", "depth", "maps", "parts", "channels"]
    for kind in kinds(full):
        assert plot(full, kind).axes or plot(full, kind).subfigs


def test_one_image_has_no_parts() -> None:
    """A single image leaves nothing to score a mixing on, so that there is no stack to draw."""
    assert "parts" not in kinds(planted({method: [0.5] for method in EXPLAINED}))


def test_a_run_in_which_nothing_moves_has_neither_depth_nor_parts() -> None:
    """What averages over the transforms that change something needs one that does."""
    still = planted(EXPLAINED, moves=[Rotation(0)])
    assert kinds(still) == ["rotation"]
    assert plot(still, "rotation").axes


def test_unknown_figures_are_refused() -> None:
    """An unknown figure is named, with the likely one and those there are."""
    with pytest.raises(
        InvalidInputError, match="unknown figure 'rotatoin'; did you mean 'rotation'"
    ):
        plot(planted(EXPLAINED), "rotatoin")
    with pytest.raises(InvalidInputError, match=r"this run has rotation, depth, parts$"):
        plot(planted(EXPLAINED), "maps")
