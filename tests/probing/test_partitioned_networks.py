"""Networks whose answer is known are partitioned as they must be, from images to shares."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import invariance_probe as ip
from invariance_probe import controls
from invariance_probe.results.methods import PARTITION_METHODS

SIDE = 21
SLOPES = torch.tensor([[0.0, 0.0, 0.0], [-1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])


@pytest.fixture(scope="module")
def noise() -> Tensor:
    """Eight images of white noise, so that no two places of an image know of each other."""
    return torch.rand(8, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


class _Still(nn.Module):
    """Pixels summed over all quarter turns of the image: what a turn leaves as it is, in place."""

    def forward(self, images: Tensor) -> Tensor:
        return sum(torch.rot90(images - 0.5, turns, (2, 3)) for turns in range(4)) / 2


class _Moving(nn.Module):
    """The pixels: what turns with the image, channel by channel."""

    def forward(self, images: Tensor) -> Tensor:
        return images - 0.5


class _Slopes(nn.Module):
    """Slopes towards four sides: a quarter turn puts each into another channel."""

    def forward(self, images: Tensor) -> Tensor:
        filters = torch.stack([torch.rot90(SLOPES, turns) for turns in range(4)])
        return nn.functional.conv2d(images[:, :1], filters[:, None].to(images), padding=1)


class _Noise(nn.Module):
    """Pixels times a sign of their place, drawn once: turned, they say nothing of those upright."""

    def forward(self, images: Tensor) -> Tensor:
        drawn = torch.rand(3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
        return (images - 0.5) * (drawn - 0.5).sign().to(images)


KINDS = {"unchanged": _Still(), "warp": _Moving(), "mixing": _Slopes(), "lost": _Noise()}


class _Beside(nn.Module):
    """Channels of all kinds beside each other; each kind is a layer, too."""

    def __init__(self) -> None:
        super().__init__()
        self.kinds = nn.ModuleDict(KINDS)

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([kind(images) for kind in self.kinds.values()], dim=1)


# maps of constants, slopes and random signs have no centre that a bump would show; what is assumed
# of them, a cell a pixel, is right
pytestmark = pytest.mark.filterwarnings("ignore::invariance_probe.errors.UnmeasuredLayerWarning")


def _shares(
    network: nn.Module, images: Tensor, angle: float, layers: Sequence[str], *more: str
) -> dict[tuple[str, str], float]:
    result = ip.probe(
        network,
        images,
        layers=layers,
        transforms=ip.Rotation(angle),
        methods=[*PARTITION_METHODS, *more],
    )
    return result.partition().set_index(["layer", "part"])["share"].to_dict()


@pytest.fixture(scope="module")
def beside(noise: Tensor) -> dict[tuple[str, str], float]:
    """Shares of each kind, and of all of them, at a quarter turn."""
    return _shares(_Beside(), noise, 90, ["(model)", *(f"kinds.{kind}" for kind in KINDS)])


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_itself(kind: str, beside: dict[tuple[str, str], float]) -> None:
    """What stays is unchanged, what turns is a warp's, what changes channel a mixing's, noise lost.

    A gain, or a matrix of 4 x 4, that is fitted to 2 000 places on which there is nothing to find
    takes some 1 / 2 000 for a finding; the least penalty of a mixing costs at most 0.01.
    """
    assert beside[f"kinds.{kind}", kind] == pytest.approx(1, abs=0.015)


def test_a_mixture_is_parted_in_the_proportion_that_was_planted(
    noise: Tensor, beside: dict[tuple[str, str], float]
) -> None:
    """Channels of all kinds beside each other: each kind's share is that of its variance."""
    inside = slice(1, SIDE - 1)  # the margin
    maps = _Beside()(noise)[:, :, inside, inside].double()
    apart = (maps - maps.mean((0, 2, 3), keepdim=True)).square().sum((2, 3))
    edges = np.cumsum([0, *(each(noise).shape[1] for each in KINDS.values())])
    for kind, (first, last) in zip(KINDS, pairwise(edges), strict=True):
        planted = float((apart[:, first:last].sum(1) / apart.sum(1)).mean())
        assert planted > 0.1
        assert beside["(model)", kind] == pytest.approx(planted, abs=0.015)
    assert beside["(model)", "grid"] == 0


def test_group_networks_lose_nothing_at_quarter_turns(noise: Tensor) -> None:
    """Pooled over the orbit, C4 needs the warp alone; unpooled also the permutation; none is lost.

    What both keep without is what maps of noise turned by 90 degrees have in common: nothing.
    """
    network = controls.c4_pooled_network(depth=1)
    shares = _shares(network, noise, 90, ["(model)", "0"], "oracle+permutation")
    assert shares["(model)", "warp"] == pytest.approx(1, abs=0.03)
    assert shares["(model)", "warp"] + shares["(model)", "unchanged"] == pytest.approx(1, abs=1e-6)
    assert shares["0", "mixing"] > 0.5
    assert shares["0", "lost"] == pytest.approx(0, abs=1e-6)


def test_a_perfect_layer_loses_what_the_grid_costs_and_no_more(noise: Tensor) -> None:
    """Maps that move with smooth images by 30 degrees are interpolated; a filter loses more."""
    smooth = nn.functional.interpolate(noise[:5, :, :9, :9], size=(31, 31), mode="bicubic")
    network = nn.Sequential(controls.pointwise_network(depth=1), nn.Conv2d(16, 8, 7))
    shares = _shares(network, smooth, 30, ["0", "1"])
    assert shares["0", "lost"] < 0.01
    assert shares["0", "warp"] > 0.9
    assert shares["0", "grid"] > 0
    assert shares["1", "lost"] > 0.1
