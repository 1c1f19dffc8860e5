"""Where a comparison is fair."""

import torch
from hypothesis import given
from hypothesis import strategies as st

import invariance_probe as ip
from invariance_probe.network import features
from invariance_probe.plane import regions


def _layer(side: int, stride: float, offset: float) -> features.Layer:
    return features.Layer(
        name="x",
        module="x",
        type="X",
        call=1,
        path="",
        channels=1,
        height=side,
        width=side,
        stride_y=stride,
        stride_x=stride,
        offset_y=offset,
        offset_x=offset,
    )


def test_identity_sees_all_but_the_margin() -> None:
    """Without a transform, the region is the map less a ring of the margin."""
    oracle = torch.eye(2, 3, dtype=torch.float64)[None]
    region = regions.visible(oracle, 7, 9)
    assert region.sum() == 5 * 7
    assert bool(region[0, 1:-1, 1:-1].all())
    assert bool(regions.visible(oracle, 7, 9, margin=0.5).all())


def test_enlarging_leaves_the_middle() -> None:
    """Under a scaling by 2 only the middle half of the reference is in sight."""
    oracle = _layer(16, 1, 0).oracle(ip.Scaling(2).matrix, 16, 16)[None]
    region = regions.visible(oracle, 16, 16, margin=0.0)[0]
    assert bool(region[4:12, 4:12].all())
    assert region.sum() == 64


@given(degrees=st.floats(-180, 180))
def test_rotation_keeps_the_inner_disc(degrees: float) -> None:
    """Whatever the angle, positions well inside the inscribed disc are compared."""
    oracle = _layer(15, 2, 0).oracle(ip.Rotation(degrees).matrix, 29, 29)[None]
    region = regions.visible(oracle, 15, 15)[0]
    rows, columns = torch.meshgrid(torch.arange(15) - 7, torch.arange(15) - 7, indexing="ij")
    assert bool(region[torch.hypot(rows.double(), columns.double()) < 6.4].all())


def test_shift_out_of_sight_gives_an_empty_region() -> None:
    """Content that has left the map is compared nowhere."""
    oracle = _layer(8, 1, 0).oracle(ip.Translation(20).matrix, 8, 8)[None]
    assert not regions.visible(oracle, 8, 8).any()


def test_oracle_is_corrected_for_stride_and_offset() -> None:
    """A cell's content is found where its pixel goes, whatever the map's stride and offset."""
    layer = _layer(7, 4, 3)
    move = ip.Rotation(30) @ ip.Translation(2, 1)
    theta = layer.oracle(move.matrix, 28, 28)
    cell = torch.tensor([2.0, 5.0], dtype=torch.float64)
    pixel = 3 + 4 * cell - 13.5
    moved_pixel = (move.matrix @ torch.cat([pixel, torch.ones(1).double()]))[:2] + 13.5
    normalised = (2 * cell + 1) / 7 - 1
    read = theta @ torch.cat([normalised, torch.ones(1).double()])
    torch.testing.assert_close((read + 1) * 7 / 2 - 0.5, (moved_pixel - 3) / 4)
