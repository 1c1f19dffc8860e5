"""Local scalings are undone at the input whatever the filters, and at a map only by luck."""

import pytest
import torch
from torch import Tensor, nn

import invariance_probe as ip
from invariance_probe import controls
from invariance_probe.operators import LatentCanonicalizer
from invariance_probe.operators.latent_canonicalization import _knots, _piecewise, _stretched
from tests.tolerances import ROUNDED, rounded

LOGITS = torch.tensor([[[1.0, -1.0, 0.0, 0.5], [-0.7, 0.4, 0.6, -0.6]]])


class Features(nn.Module):
    """Mean of each channel."""

    def forward(self, maps: Tensor) -> Tensor:
        """Take it."""
        return maps.mean((2, 3))


def told(stage: nn.Module, *, undo: bool = False) -> LatentCanonicalizer:
    """A canonicalizer that always predicts the scaling of `LOGITS`."""
    channels = next(stage.parameters()).shape[1]
    latent = LatentCanonicalizer(stage, Features(), channels, intervals=4, undo=undo)
    with torch.no_grad():
        latent.regression.bias.copy_(LOGITS.flatten())
    return latent.eval()


@pytest.fixture(scope="module")
def images() -> Tensor:
    """Smooth pictures: bumps of six cells."""
    x = torch.arange(64.0)
    places = ((0, 20.0, 24.0), (0, 40.0, 45.0), (1, 33.0, 21.0), (2, 25.0, 38.0))
    pictures = torch.zeros(1, 3, 64, 64)
    for channel, u, v in places:
        pictures[0, channel] += torch.exp(-((x - u) ** 2 + (x[:, None] - v) ** 2) / 72)
    return pictures


def scaled(images: Tensor) -> Tensor:
    """Images after the local scaling that `told` undoes."""
    return _stretched(images, _knots(LOGITS), back=True)


def test_there_and_back_is_the_identity() -> None:
    """Maps of an axis increase, keep their ends, and are inverted by exchanging their knots."""
    logits = 2 * torch.randn(5, 7, dtype=torch.float64)
    knots, even = _knots(logits), torch.linspace(-1, 1, 8, dtype=torch.float64).expand(5, 8)
    assert bool((knots.diff() > 0).all())
    assert knots[:, 0].tolist() == [-1.0] * 5
    assert knots[:, -1].tolist() == [1.0] * 5
    at = torch.linspace(-1, 1, 41, dtype=torch.float64)
    for row in range(5):
        one = slice(row, row + 1)
        there = _piecewise(at, even[one], knots[one])
        back = _piecewise(there[0], knots[one], even[one])
        assert torch.allclose(back[0], at, atol=rounded(torch.float64))


def test_it_reads_where_the_map_says() -> None:
    """A ramp is read as the piecewise linear map itself, and back as its inverse."""
    side = 32
    ramp = ((2 * torch.arange(side, dtype=torch.float64) + 1) / side - 1).expand(1, 1, side, side)
    knots = _knots(LOGITS.double())
    even = torch.linspace(-1, 1, 5, dtype=torch.float64).expand(1, 5)
    for maps, axis in ((ramp, 0), (ramp.mT, 1)):
        for back in (False, True):
            read = _stretched(maps, knots, back=back)[0, 0]
            read = read[0] if axis == 0 else read[:, 0]
            ends = (knots[:, axis], even) if back else (even, knots[:, axis])
            wanted = _piecewise(ramp[0, 0, 0], *ends)[0]
            # the outermost half cells read the border
            limit = 1 - 1 / side
            assert torch.allclose(read, wanted.clamp(-limit, limit), atol=rounded(torch.float64))


@pytest.mark.parametrize("undo", [False, True])
def test_before_training_it_is_the_stage(undo: bool, images: Tensor) -> None:
    """With logits of 0 nothing is moved, also where the stage changes the size."""
    stage = nn.Conv2d(3, 4, 3, stride=2, padding=1)
    latent = LatentCanonicalizer(stage, Features(), 3, steps=2, undo=undo)
    assert torch.allclose(latent(images), stage(images), atol=10 * ROUNDED)


def test_the_input_is_undone_and_maps_are_not(images: Tensor) -> None:
    """At the input the answer returns whatever the filters; after a convolution it does not."""
    first, second = (
        controls.random_network(channels=3, width=3, depth=1, seed=seed) for seed in (0, 1)
    )
    pointwise = controls.pointwise_network(channels=3, width=3, depth=1)
    with torch.no_grad():

        def left(network: nn.Module, upright: nn.Module) -> float:
            """Share of the variance that is left, away from the borders."""
            gap, wanted = network(scaled(images)) - upright(images), upright(images)
            inner = slice(8, -8)
            variance = (wanted - wanted.mean((2, 3), keepdim=True))[..., inner, inner].square()
            return float(gap[..., inner, inner].square().sum() / variance.sum())

        at_input = left(told(first), first)
        at_map = left(nn.Sequential(first, told(second)), nn.Sequential(first, second))
        plain = nn.Sequential(pointwise, second)
        after_pixels = left(nn.Sequential(pointwise, told(second)), plain)
    # the floor of reading bilinearly twice; unrelated maps come near 2
    assert max(at_input, after_pixels) < 0.05
    assert at_map > 0.5


def test_dense_answers_are_stretched_back(images: Tensor) -> None:
    """A pointwise stage commutes with every scaling, so that nothing is left of the detour."""
    stage = controls.pointwise_network(channels=3, width=3, depth=1)
    with torch.no_grad():
        gap = (told(stage, undo=True)(images) - stage(images)).abs().max()
        detour = (told(stage, undo=False)(images) - stage(images)).abs().max()
    assert float(gap) < 0.1 * float(detour)


def test_steps_look_at_what_was_moved(images: Tensor) -> None:
    """The second look adds to the logits of the first, and sees the maps without them."""
    latent = told(nn.Conv2d(3, 3, 1))
    nn.init.normal_(latent.regression.weight)
    with torch.no_grad():
        once = latent.regression(Features()(images)).view(1, 2, 4)
        more = latent.regression(Features()(_stretched(images, _knots(once)))).view(1, 2, 4)
        latent.steps = 2
        assert torch.allclose(latent.knots(images), _knots(once + more), atol=ROUNDED)


def test_gradients_reach_the_localizer(images: Tensor) -> None:
    """What is predicted can be learned, also through the way back."""
    latent = told(nn.Conv2d(3, 3, 1), undo=True)
    latent(images).square().sum().backward()
    assert latent.regression.weight.grad is not None
    assert bool(latent.regression.weight.grad.abs().max() > 0)


def test_refusals() -> None:
    """Stages that return no maps, and axes without pieces, are named."""
    with pytest.raises(ip.InvalidInputError, match="intervals=0: give at least 1"):
        LatentCanonicalizer(nn.Identity(), Features(), 3, intervals=0)
    latent = LatentCanonicalizer(nn.Flatten(), Features(), 3)
    with pytest.raises(ip.InvalidInputError, match=r"returns a tensor of shape \(1, 48\)"):
        latent(torch.rand(1, 3, 4, 4))
