"""Bird's-eye maps follow the vehicle; before or after the encoder is the same only for shifts."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import invariance_probe as ip
from invariance_probe import controls
from invariance_probe.operators import EgoAlignment, EgoWarp
from invariance_probe.plane import sampling
from tests.controls.measuring import relative_gap
from tests.tolerances import ROUNDED


def seen(post: tuple[float, float], motion: ip.Transform) -> Tensor:
    """Where a post on the ground is, as seen from the vehicle after it has moved."""
    return (motion.matrix.inverse() @ torch.tensor([*post, 1.0], dtype=torch.float64))[:2]


@pytest.mark.parametrize(
    "motion",
    [
        ip.Translation(0.0, -2.0),
        ip.Translation(1.5, 0.5) @ ip.Rotation(30),
        ip.Rotation(-70) @ ip.Translation(-2.0, 1.0),
    ],
    ids=["ahead", "shift after turn", "turn after shift"],
)
@pytest.mark.parametrize("vehicle", [(0.0, 0.0), (0.0, 2.5)])
def test_a_post_is_where_the_vehicle_sees_it(
    motion: ip.Transform, vehicle: tuple[float, float]
) -> None:
    """A soft post on the ground lies, in metres from the vehicle, where its motion says."""
    side, metres = 61, 0.25
    at = (torch.arange(side, dtype=torch.float64) - (side - 1) / 2) * metres
    x, y = at - vehicle[0], (at - vehicle[1])[:, None]

    def post(place: Tensor) -> Tensor:
        return torch.exp(-((x - place[0]) ** 2 + (y - place[1]) ** 2) / 2)[None, None]

    before = post(torch.tensor([1.0, -1.5]))
    warp = EgoWarp(metres_per_cell=metres, vehicle=vehicle)
    after = warp(before, motion.matrix[None])
    # bilinear reading: an eighth of the second derivative along both axes, in cells
    floor = 2 * metres**2 / 8
    inner = slice(10, -10)
    wanted = post(seen((1.0, -1.5), motion))
    assert float((after - wanted)[..., inner, inner].abs().max()) < floor
    backwards = warp(before, motion.matrix.inverse()[None])
    assert float((backwards - wanted).abs().max()) > 10 * floor


def test_whole_cells_and_quarter_turns_move_cells(crops: Tensor) -> None:
    """Nothing is interpolated; what the earlier map does not show is 0."""
    maps = crops[:2, :, :21, :21]
    warp = EgoWarp(metres_per_cell=0.5)
    stepped = warp(maps, ip.Translation(0.0, -1.0).matrix.expand(2, 3, 3))
    assert torch.allclose(stepped[:, :, 2:], maps[:, :, :-2], atol=ROUNDED)
    assert not stepped[:, :, :1].any()
    turned = warp(maps, ip.Rotation(90).matrix.expand(2, 3, 3))
    # the vehicle turns left, what it sees to the right
    assert torch.allclose(turned, maps.rot90(-1, (-2, -1)), atol=ROUNDED)


@pytest.mark.parametrize(
    ("build", "turns"),
    [(controls.four_fold_network, True), (controls.random_network, False)],
    ids=["symmetric", "plain"],
)
def test_before_or_after_the_encoder(
    build: Callable[..., nn.Module], turns: bool, crops: Tensor
) -> None:
    """Shifts by whole strides may wait for the map; a turn only if the filters are symmetric."""
    grids, encoder = crops[:2, :, :41, :41], build()
    before = EgoAlignment(encoder, metres_per_cell=0.5, at="input")
    after = EgoAlignment(encoder, metres_per_cell=0.5, at="map")
    for motion, same in ((ip.Translation(1.0, -1.5), True), (ip.Rotation(90), turns)):
        motions = motion.matrix.expand(2, 3, 3)
        with torch.no_grad():
            gap = relative_gap(*(each(grids, motions)[..., 4:-4, 4:-4] for each in (before, after)))
        assert (gap <= ROUNDED) if same else (gap > 0.05)


def test_cells_of_the_map_are_larger(crops: Tensor) -> None:
    """After a stride of 2, a shift by 2 m is half as many cells."""
    encoder = controls.strided_network(depth=1)
    grids = crops[:2, :, :41, :41]
    motions = ip.Translation(2.0, 0.0).matrix.expand(2, 3, 3)
    aligned = EgoAlignment(encoder, metres_per_cell=0.5, at="map", stride=2)
    with torch.no_grad():
        maps = encoder(grids)
        moved = aligned(grids, motions)
        first = EgoAlignment(encoder, metres_per_cell=0.5, at="input")(grids, motions)
    assert torch.allclose(moved[..., :-2], maps[..., 2:], atol=ROUNDED)
    assert torch.allclose(moved[..., :-3], first[..., :-3], atol=ROUNDED)


def test_gradients_reach_the_maps() -> None:
    """The warp passes gradients, and is the sampler's."""
    maps = torch.rand(1, 2, 8, 8, requires_grad=True)
    warp = EgoWarp(metres_per_cell=1.0, padding="border")
    motion = ip.Rotation(math.pi).matrix[None]
    warped = warp(maps, motion)
    assert torch.equal(warped, sampling.resample(maps, warp.pull_backs(motion, 8, 8)))
    warped.sum().backward()
    assert maps.grad is not None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EgoWarp(metres_per_cell=0), "metres_per_cell=0: give the side"),
        (lambda: EgoWarp(metres_per_cell=1, padding="ones"), "padding='ones': choose from"),
        (
            lambda: EgoAlignment(nn.Identity(), metres_per_cell=1, at="output"),
            "at='output': choose from input, map",
        ),
        (
            lambda: EgoAlignment(nn.Identity(), metres_per_cell=1, at="map", stride=0),
            "stride=0: give a positive",
        ),
    ],
)
def test_refusals(make: Callable[[], object], message: str) -> None:
    """What cannot be warped is named, with its value."""
    with pytest.raises(ip.InvalidInputError, match=message):
        make()
