"""Rotated boxes are read where the definition says; the roll repairs what a C4 network permutes."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import invariance_probe as ip
from invariance_probe import controls
from invariance_probe.operators import RotatedRoIAlign, RotationInvariantRoIAlign, rolled_back
from tests.controls.measuring import relative_gap
from tests.operators.turning import turned_boxes
from tests.tolerances import ROUNDED, rounded

BOXES = torch.tensor([[14.0, 20.5, 9.0, 5.0, 0.0], [19.0, 15.0, 6.0, 8.0, 25.0]])
INDEX = torch.tensor([0, 1])
ROLLING = RotationInvariantRoIAlign(5, orientations=4, offset=6)
PLAIN = RotatedRoIAlign(5, offset=6)


def naive(
    maps: Tensor, box: list[float], size: tuple[int, int], ratio: int, stride: float
) -> Tensor:
    """One box, reading by reading."""
    _, height, width = maps.shape
    x0, y0, box_width, box_height, degrees = box
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    pooled = maps.new_zeros(len(maps), *size)
    for row in range(size[0] * ratio):
        for column in range(size[1] * ratio):
            u = ((column + 0.5) / (size[1] * ratio) - 0.5) * box_width
            v = ((row + 0.5) / (size[0] * ratio) - 0.5) * box_height
            # a turn to the left with y down
            x = (x0 + cos * u + sin * v) / stride - 0.5
            y = (y0 - sin * u + cos * v) / stride - 0.5
            if not (-1 <= x <= width and -1 <= y <= height):
                continue
            x, y = min(max(x, 0), width - 1), min(max(y, 0), height - 1)
            left, top = int(x), int(y)
            right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
            a, b = x - left, y - top
            value = (1 - b) * ((1 - a) * maps[:, top, left] + a * maps[:, top, right])
            value = value + b * ((1 - a) * maps[:, bottom, left] + a * maps[:, bottom, right])
            pooled[:, row // ratio, column // ratio] += value / ratio**2
    return pooled


def test_boxes_are_read_reading_by_reading() -> None:
    """Boxes inside, over the border and outside, of two images, equal the definition's loops."""
    maps = torch.rand(2, 3, 7, 9, dtype=torch.float64)
    boxes = torch.tensor(
        [[9, 8, 6, 4, 30], [1, 13, 12, 9, -75], [17, 3, 5, 20, 200], [80, 80, 4, 4, 10]],
        dtype=torch.float64,
    )
    index = torch.tensor([1, 0, 1, 0])
    pool = RotatedRoIAlign((3, 2), stride=2.0, sampling_ratio=3)
    pooled = pool(maps, boxes, index)
    for k, i in enumerate(index.tolist()):
        wanted = naive(maps[i], boxes[k].tolist(), (3, 2), 3, 2.0)
        assert torch.allclose(pooled[k], wanted, atol=rounded(torch.float64))
    assert not pooled[3].any()  # beyond the map there is nothing


def test_a_box_of_each_map_is_read_as_boxes_of_any_order() -> None:
    """A batch read at once, and the same boxes the other way round, read map by map."""
    generator = torch.Generator().manual_seed(0)
    maps = torch.rand(3, 2, 9, 9, generator=generator)
    boxes = torch.rand(3, 5, generator=generator) * torch.tensor([9.0, 9.0, 6.0, 6.0, 180.0])
    pool = RotatedRoIAlign(4)
    order = torch.arange(3)
    turned = pool(maps, boxes.flip(0), order.flip(0)).flip(0)
    torch.testing.assert_close(pool(maps, boxes, order), turned)


def test_without_angle_it_is_torchvisions() -> None:
    """At angle 0 the numbers are those of ``roi_align`` with ``aligned=True``."""
    ops = pytest.importorskip("torchvision.ops")
    maps = torch.rand(2, 3, 9, 11)
    boxes = torch.tensor([[9.0, 8.0, 6.0, 4.0, 0.0], [1.0, 15.0, 9.0, 9.0, 0.0]])
    pooled = RotatedRoIAlign((2, 4), stride=2.0)(maps, boxes, torch.tensor([1, 0]))
    corners = torch.cat([boxes[:, :2] - boxes[:, 2:4] / 2, boxes[:, :2] + boxes[:, 2:4] / 2], dim=1)
    rois = torch.cat([torch.tensor([[1.0], [0.0]]), corners], dim=1)
    wanted = ops.roi_align(maps, rois, (2, 4), 0.5, sampling_ratio=2, aligned=True)
    assert torch.allclose(pooled, wanted, atol=ROUNDED)


@pytest.mark.parametrize("degrees", [90, 180, -90])
@pytest.mark.parametrize(
    ("build", "upright"),
    [
        # what is left without the roll, and with it
        (controls.four_fold_network, (True, False)),
        (controls.c4_network, (False, True)),
        (controls.random_network, (False, False)),
    ],
)
def test_quarter_turns(
    build: Callable[[], nn.Module], upright: tuple[bool, bool], degrees: int, crops: Tensor
) -> None:
    """Symmetric filters need no roll, a C4 network needs it, a plain one is not helped by it."""
    network, images = build(), crops[:2, :, :33, :33]
    turned = turned_boxes(BOXES, degrees, 33)
    with torch.no_grad():
        before, after = network(images), network(ip.Rotation(degrees)(images))
    border = (33 - before.shape[-1]) / 2
    for exact, kind in zip(upright, (PLAIN, ROLLING), strict=True):
        kind.offset = border
        # the second box is not upright, so that its roll is one between neighbours
        gap = relative_gap(kind(before, BOXES, INDEX), kind(after, turned, INDEX))
        assert (gap <= ROUNDED) if exact else (gap > 0.05)


def test_the_roll_in_the_wrong_sense_is_seen(crops: Tensor) -> None:
    """Rolled forwards, the channels of a C4 network are two orientations off."""
    network, images = controls.c4_network(), crops[:2, :, :33, :33]
    turned = turned_boxes(BOXES, 90, 33)
    with torch.no_grad():
        before = PLAIN(network(images), BOXES, INDEX)
        after = PLAIN(network(ip.Rotation(90)(images)), turned, INDEX)
    assert relative_gap(before, rolled_back(after, torch.full((2,), 90.0), 4)) <= ROUNDED
    assert relative_gap(before, rolled_back(after, torch.full((2,), -90.0), 4)) > 0.05


@pytest.mark.parametrize("orientations", [4, 8])
def test_whole_steps_permute_and_half_steps_halve(orientations: int) -> None:
    """A turn by one step puts channel e + 1 at e; by half a step the mean of the two."""
    features = torch.rand(3, 2 * orientations, 2, 2)
    step = 360 / orientations
    fields = features.unflatten(1, (2, orientations))
    rolled = rolled_back(features, torch.tensor([step, -3 * step, 360 + step / 2]), orientations)
    rolled = rolled.unflatten(1, (2, orientations))
    assert torch.equal(rolled[0], fields[0].roll(-1, 1))
    assert torch.equal(rolled[1], fields[1].roll(3, 1))
    assert torch.allclose(rolled[2], (fields[2] + fields[2].roll(-1, 1)) / 2)


def test_gradients_reach_maps_and_boxes() -> None:
    """A box can be learned: the derivative by its numbers is that of finite differences."""
    maps = torch.rand(1, 2, 6, 6, dtype=torch.float64, requires_grad=True)
    box = torch.tensor([[2.9, 3.1, 2.3, 1.7, 20.0]], dtype=torch.float64, requires_grad=True)
    pool = RotatedRoIAlign(2)
    index = torch.tensor([0])
    assert torch.autograd.gradcheck(lambda m, b: pool(m, b, index), (maps, box))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RotatedRoIAlign(0), "size=0: give at least 1"),
        (lambda: RotatedRoIAlign(2, stride=0), "stride=0: give a positive"),
        (lambda: RotationInvariantRoIAlign(2, orientations=1), "orientations=1: give at least 2"),
        (lambda: rolled_back(torch.rand(1, 6), torch.zeros(1), 4), "6 channels are no fields of 4"),
        (
            lambda: PLAIN(torch.rand(1, 4, 9, 9), BOXES, INDEX),
            r"image_index=\[0, 1\]: a batch of 1",
        ),
        (lambda: PLAIN(torch.rand(2, 4, 9, 9), BOXES, INDEX[:1]), "and 1 indices were given"),
    ],
)
def test_refusals(make: Callable[[], object], message: str) -> None:
    """What cannot be pooled is named, with its value."""
    with pytest.raises(ip.InvalidInputError, match=message):
        make()
