"""Pooling over copies of the input is invariant over the group of the copies, and only there."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import invariance_probe as ip
from invariance_probe import controls
from invariance_probe.operators import TIPooling
from tests.controls.measuring import relative_gap
from tests.tolerances import ROUNDED


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """A plain network to vectors."""
    return nn.Sequential(controls.random_network(), nn.Flatten(2), nn.Softmax(2), nn.Flatten())


def _transforms(group: controls.SquareGroup) -> list[ip.Transform]:
    return [group.transform(element) for element in range(group.order)]


@pytest.mark.parametrize("kind", ["max", "mean"])
@pytest.mark.parametrize("group", [controls.C4, controls.D4], ids=["C4", "D4"])
def test_invariant_over_the_group(
    network: nn.Module, group: controls.SquareGroup, kind: str, crops: Tensor
) -> None:
    """Every element of the group leaves it as it was; a mirror image is none of C4."""
    pooled, images = TIPooling(network, _transforms(group), kind=kind), crops[:2, :, :17, :17]
    with torch.no_grad():
        answer = pooled(images)
        for transform in pooled.transforms:
            again = pooled(transform(images))
            assert relative_gap(answer, again) <= (0 if kind == "max" else ROUNDED)
            if transform != ip.Rotation(0):
                assert relative_gap(network(images), network(transform(images))) > 0.05
        each = torch.stack([network(transform(images)) for transform in pooled.transforms])
        # the mean, and no other symmetric function
        assert relative_gap(answer, each.amax(0) if kind == "max" else each.mean(0)) <= ROUNDED
        mirrored = relative_gap(answer, pooled(ip.Reflection(90)(images)))
        assert (mirrored > 0.01) if group is controls.C4 else (mirrored <= ROUNDED)


def test_what_is_no_group_is_not_invariant(network: nn.Module, crops: Tensor) -> None:
    """Of two quarter turns out of four the pooled answer changes."""
    pooled, images = TIPooling(network, [ip.Rotation(0), ip.Rotation(90)]), crops[:2, :, :17, :17]
    with torch.no_grad():
        assert relative_gap(pooled(images), pooled(ip.Rotation(90)(images))) > 0.01


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TIPooling(nn.Identity(), []), "transforms is empty"),
        (lambda: TIPooling(nn.Identity(), [ip.Rotation(0)], kind="sum"), "choose from max, mean"),
    ],
)
def test_refusals(make: Callable[[], object], message: str) -> None:
    """What cannot be pooled is named."""
    with pytest.raises(ip.InvalidInputError, match=message):
        make()
