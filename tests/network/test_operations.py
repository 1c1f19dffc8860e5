"""From the arguments of an operation follows where it reads."""

from typing import Any

import pytest
import torch
from torch import Tensor

from invariance_probe.network.operations import OPERATIONS
from invariance_probe.plane import sampling

MAPS = torch.zeros(1, 4, 6, 8)
CELLS = sampling.affine_grid(torch.eye(2, 3).double()[None], 6, 8)
BOX = torch.tensor([[0.0, 0.0, 0.0, 8.0, 6.0]])


def positions(name: str, *args: Any, out: Tensor = MAPS) -> Tensor:
    """Where the operation of that name reads."""
    _, read = OPERATIONS[name]
    assert read is not None
    return read((MAPS, *args), out)


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("aten::upsample_bilinear2d", ()),
        ("aten::grid_sampler_2d", (CELLS, 0, 0, False)),
        # coordinates of pixels' centres are whole numbers there: half a pixel is taken off the box
        ("torchvision::roi_align", (BOX, 1.0, 6, 8, 2, True)),
        ("torchvision::ps_roi_align", (BOX, 1.0, 6, 8, 2)),
        ("torchvision::roi_align", (BOX / 2, 2.0, 6, 8, 2, True)),
        # 3 x 3 taps, offsets of 0
        (
            "torchvision::deform_conv2d",
            (torch.zeros(4, 4, 3, 3), torch.zeros(1, 18, 6, 8), None, None, 1, 1, 1, 1, 1, 1),
        ),
    ],
)
def test_what_moves_nothing_reads_the_centres_of_cells(name: str, args: tuple[Any, ...]) -> None:
    """A whole map at its own size, boxes of the whole map, taps without offsets."""
    torch.testing.assert_close(positions(name, *args), CELLS, atol=1e-6, rtol=0)


def test_aligned_corners_are_read_in_the_same_convention() -> None:
    """-1 and 1 are then the centres of the outermost cells, 5 / 6 and 7 / 8 of the way out."""
    corners = torch.tensor([[[[-1.0, -1.0], [1.0, 1.0]]]]).double()
    found = positions("aten::grid_sampler_2d", corners, 0, 0, True)
    outermost = torch.stack([CELLS[0, 0, 0], CELLS[0, -1, -1]])
    torch.testing.assert_close(found[0, 0], outermost)


def test_boxes_are_read_at_the_centres_of_their_bins() -> None:
    """Two bins across the left half of a map lie at an eighth and three eighths of it."""
    left = torch.tensor([[0.0, 0.0, 0.0, 4.0, 6.0]])
    found = positions("torchvision::roi_align", left, 1.0, 1, 2, 2, True, out=MAPS[..., :1, :2])
    torch.testing.assert_close(found[0, 0, :, 0], torch.tensor([-0.75, -0.25]).double())
    shifted = positions("torchvision::roi_pool", left, 1.0, 1, 2, out=MAPS[..., :1, :2])
    torch.testing.assert_close(
        shifted - found, torch.full((1, 1, 2, 2), 0.5) / CELLS.new_tensor([4, 3])
    )


def test_offsets_move_what_is_read_by_as_many_pixels() -> None:
    """One pixel to the right and two down, for every tap alike."""
    offset = torch.tensor([2.0, 1.0]).repeat(9)[None, :, None, None].expand(1, 18, 6, 8)
    found = positions(
        "torchvision::deform_conv2d",
        *(torch.zeros(4, 4, 3, 3), offset, None, None, 1, 1, 1, 1, 1, 1),
    )
    moved = found - CELLS
    torch.testing.assert_close(moved[..., 0], torch.full_like(moved[..., 0], 2 / 8))
    torch.testing.assert_close(moved[..., 1], torch.full_like(moved[..., 1], 2 * 2 / 6))
