"""Where a comparison is fair."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from invariance_probe.plane import coordinates, regions
from invariance_probe.plane.transforms import Rotation, Scaling, Transform, Translation


def _oracle(move: Transform, side: int, stride: int = 1) -> Tensor:
    """Where content lies after a motion: its matrix, from centred pixels to normalised cells."""
    normalised = coordinates.normalised_from_centred(stride * side, stride * side)
    return (normalised @ move.matrix @ normalised.inverse())[None, :2]


def test_identity_sees_all_but_the_margin() -> None:
    """Without a transform, the region is the map less a ring of the margin."""
    oracle = torch.eye(2, 3, dtype=torch.float64)[None]
    region = regions.visible(oracle, 7, 9)
    assert region.sum() == 5 * 7
    assert bool(region[0, 1:-1, 1:-1].all())
    assert bool(regions.visible(oracle, 7, 9, margin=0.5).all())


def test_enlarging_leaves_the_middle() -> None:
    """Under a scaling by 2 only the middle half of the reference is in sight."""
    oracle = _oracle(Scaling(2), 16)
    region = regions.visible(oracle, 16, 16, margin=0.0)[0]
    assert bool(region[4:12, 4:12].all())
    assert region.sum() == 64


@given(degrees=st.floats(-180, 180))
def test_rotation_keeps_the_inner_disc(degrees: float) -> None:
    """Whatever the angle, positions well inside the inscribed disc are compared."""
    oracle = _oracle(Rotation(degrees), 15, stride=2)
    region = regions.visible(oracle, 15, 15)[0]
    rows, columns = torch.meshgrid(torch.arange(15) - 7, torch.arange(15) - 7, indexing="ij")
    assert bool(region[torch.hypot(rows.double(), columns.double()) < 6.4].all())


def test_shift_out_of_sight_gives_an_empty_region() -> None:
    """Content that has left the map is compared nowhere."""
    oracle = _oracle(Translation(20), 8)
    assert not regions.visible(oracle, 8, 8).any()
