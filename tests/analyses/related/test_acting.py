"""Poses move, undo and say where boxes are, all in the same sense."""

import pytest
import torch
import torch.nn.functional as F

from analyses.related.acting import BOX, CANVAS, STILL, Pose, plain, trunk
from analyses.related.learning import SCALED, SHIFTED, TURNED
from analyses.related.methods import PARTS, Motions
from tests.analyses.related.planted import EXACT, digits
from tests.tolerances import ROUNDED


def test_motions_are_what_they_are_called() -> None:
    """A quarter turn is counter-clockwise, a shift to the right and down, in the image's middle."""
    upright = F.pad(digits(), ((CANVAS - 28) // 2,) * 4)
    assert torch.equal(STILL.move(digits()), upright)
    turned = Pose(motion=TURNED, numbers=(90.0,)).move(digits())
    assert torch.allclose(turned, upright.rot90(1, (2, 3)), atol=ROUNDED)
    shifted = Pose(motion=SHIFTED, numbers=(4.0, -3.0)).move(digits())
    assert torch.equal(shifted, upright.roll((-3, 4), (2, 3)))


@pytest.mark.parametrize("motions", Motions)
def test_what_is_done_is_undone(motions: Motions) -> None:
    """Moving back what was moved gives the image, up to what interpolation blurs."""
    upright = STILL.move(digits())
    for pose in motions.poses:
        for moved in (pose.move(digits()), pose.done(upright)):
            gap = float((pose.undone(moved) - upright).square().sum())
            changed = float((moved - upright).square().sum())
            assert changed > 1
            assert gap < changed * (EXACT if pose.on_cells else 0.25)


def test_boxes_move_with_the_content() -> None:
    """Centre, sides and angle are those of the motion."""
    for motion, numbers, box in (
        (TURNED, (30.0,), [20, 20, BOX, BOX, 30]),
        (SCALED, (0.5,), [20, 20, BOX * 2**0.5, BOX * 2**0.5, 0]),
        (SHIFTED, (4.0, -3.0), [24, 17, BOX, BOX, 0]),
    ):
        found = Pose(motion=motion, numbers=numbers).boxes(2, BOX)
        assert torch.allclose(found, torch.tensor([box, box]).float(), atol=100 * ROUNDED)


def test_parts_of_a_cell_are_as_likely_along_both_axes() -> None:
    """Each of four shifts, once along x and once along y; none keeps cells on cells."""
    assert not any(part.on_cells for part in PARTS)
    for axis in range(2):
        assert sorted(part.numbers[axis] for part in PARTS) == [0, 1, 2, 3]


def test_black_goes_on_beyond_the_border() -> None:
    """Maps of an empty canvas are the same at every place, whatever the biases."""
    with torch.no_grad():
        maps = trunk(plain, 0.5)(STILL.move(torch.zeros_like(digits())))
    assert torch.allclose(maps, maps[..., :1, :1].expand_as(maps), atol=ROUNDED)
    assert maps.shape[-2:] == (10, 10)
