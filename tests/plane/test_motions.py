"""What motions and pull-backs do is read as it was planted."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from invariance_probe.errors import InvalidInputError
from invariance_probe.plane import coordinates, motions
from invariance_probe.plane.transforms import Rotation, Scaling, Shear, Translation


def test_conventions_are_the_engines() -> None:
    """Degrees and factors read from the engine's transforms are those they were built with."""
    matrices = torch.stack([Rotation(25).matrix, Scaling(1.5).matrix, Translation(3, -2).matrix])
    read = motions.poses_of(matrices, ["degrees", "log2_factor", "x", "y"])
    torch.testing.assert_close(read[0, 0], torch.tensor(25.0).double())
    torch.testing.assert_close(read[1, 1], torch.tensor(math.log2(1.5)).double())
    torch.testing.assert_close(read[2, 2:], torch.tensor([3.0, -2.0]).double())
    # a shear is read before what turns and stretches
    stretched = Rotation(40).matrix @ torch.diag(torch.tensor([2.0, 3.0, 1.0])).double()
    sheared = torch.stack([
        Shear(0.3).matrix,
        Rotation(40).matrix @ Scaling(2).matrix @ Shear(0.3).matrix,
    ])
    assert motions.poses_of(sheared, ["shear"])[:, 0].tolist() == pytest.approx([0.3, 0.3])
    assert motions.poses_of(stretched[None], ["shear"])[0].tolist() == pytest.approx([0], abs=1e-12)


@given(st.floats(-60, 60), st.floats(-60, 60), st.floats(-0.5, 0.5), st.floats(-0.5, 0.5))
def test_angles_and_sizes_add_up_for_any_affine_prediction(
    applied: float, turned: float, shear: float, octaves: float
) -> None:
    """What any affine prediction leaves of an applied rotation is the sum of both angles."""
    a = Rotation(applied).matrix
    p = Rotation(turned).matrix @ Shear(shear).matrix @ Scaling(2**octaves).matrix
    names = ["degrees", "log2_factor"]
    one, two, both = (motions.poses_of(m[None], names)[0] for m in (a, p, p @ a))
    gap = (one + two - both + 180) % 360 - 180
    assert float(gap.abs().max()) < 1e-6


def grid_share(pull_back: Tensor, height: int, width: int) -> float:
    """Count positions one by one."""
    outside = 0
    index = coordinates.index_matrix_from_theta(pull_back[:2], height, width)
    for row in range(height):
        for column in range(width):
            x, y, _ = (index @ torch.tensor([column, row, 1.0]).double()).tolist()
            inside = -0.5 - 1e-4 <= x <= width - 0.5 + 1e-4 and (
                -0.5 - 1e-4 <= y <= height - 0.5 + 1e-4
            )
            outside += not inside
    return outside / (height * width)


def test_out_of_frame_is_what_counting_finds() -> None:
    """The share is that of positions whose reading place lies past the outer edges."""
    torch.manual_seed(2)
    theta = torch.eye(2, 3).double() + 0.5 * torch.randn(5, 2, 3).double()
    pull_backs = coordinates.homogeneous(theta)
    found = motions.out_of_frame(pull_backs, 7, 10)
    assert found.tolist() == pytest.approx([grid_share(m, 7, 10) for m in pull_backs])
    half = torch.tensor([[[1.0, 0, 1.0], [0, 1, 0], [0, 0, 1]]])
    assert motions.out_of_frame(half, 8, 8).tolist() == [0.5]
    assert motions.out_of_frame(torch.eye(3)[None], 8, 8).tolist() == [0.0]
    assert math.isnan(motions.out_of_frame(half * math.nan, 8, 8).item())


def test_unknown_poses_are_refused() -> None:
    """A number that no motion has is named."""
    with pytest.raises(InvalidInputError, match="pose 'z' is unknown"):
        motions.poses_of(torch.eye(3)[None], ["z"])
