"""The iterating transformer composes what it predicts, and reads the original once."""

import pytest
import torch
from torch import Tensor, nn

import invariance_probe as ip
from invariance_probe.operators import InverseCompositionalTransformer
from invariance_probe.plane import sampling
from tests.tolerances import ROUNDED


class Centroid(nn.Module):
    """Where the content lies, in normalised coordinates: what a perfect localizer would see."""

    def forward(self, maps: Tensor) -> Tensor:
        """Weigh positions by values."""
        side = maps.shape[-1]
        at = (2 * torch.arange(side, dtype=maps.dtype) + 1) / side - 1
        weight = maps[:, 0] / maps[:, 0].sum((1, 2), keepdim=True)
        return torch.stack([(weight.sum(1) * at).sum(1), (weight.sum(2) * at).sum(1)], dim=1)


def halving(steps: int) -> InverseCompositionalTransformer:
    """A transformer that undoes half of the shift that it sees."""
    transformer = InverseCompositionalTransformer(
        Centroid(), 2, steps=steps, parametrisation="translation"
    )
    nn.init.constant_(transformer.regression.weight, 0.0)
    with torch.no_grad():
        transformer.regression.weight.copy_(0.5 * torch.eye(2))
    return transformer.double()


@pytest.fixture(scope="module")
def images() -> Tensor:
    """Two patches off the centre."""
    images = torch.zeros(2, 1, 65, 65, dtype=torch.float64)
    images[0, :, 46:51, 22:27] = 1.0
    images[1, :, 20:25, 28:31] = 1.0
    return images


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_steps_halve_what_is_left(steps: int, images: Tensor) -> None:
    """A localizer that undoes half leaves one part in 2^n after n steps."""
    transformer, before = halving(steps), Centroid()(images)
    with torch.no_grad():
        undone = transformer.predict(images)[:, :2, 2]
        left = Centroid()(transformer(images))
    # a centroid moves with bilinear reading exactly, as long as the patch stays inside
    assert torch.allclose(undone, before * (1 - 0.5**steps), atol=1e-12)
    assert torch.allclose(left, before * 0.5**steps, atol=1e-12)


def test_composition_is_of_the_last_step_last() -> None:
    """With turns and shifts that do not commute, the product is that of reading twice."""
    localizer = nn.Sequential(nn.Flatten(), nn.Linear(25, 6), nn.Tanh())
    transformer = InverseCompositionalTransformer(localizer, 6, steps=2).double()
    nn.init.normal_(transformer.regression.weight, std=0.2)
    image = torch.rand(1, 1, 5, 5, dtype=torch.float64)
    with torch.no_grad():
        single = InverseCompositionalTransformer(localizer, 6, steps=1)
        single.regression = transformer.regression
        first = single.predict(image)
        second = single.predict(sampling.resample(image, first))
        assert torch.allclose(transformer.predict(image), first @ second)
        assert not torch.allclose(first @ second, second @ first, atol=1e-3)


def test_the_original_is_read_once(images: Tensor) -> None:
    """What is returned is one reading through the product; reading step by step blurs it."""
    transformer = halving(4)
    with torch.no_grad():
        total = transformer.predict(images)
        once = transformer(images)
        assert torch.equal(once, sampling.resample(images, total))
        again = images
        for _ in range(4):
            again = halving(1)(again)
    # its second and later halves are no whole pixels
    assert float(again[1].square().sum()) < 0.9 * float(once[1].square().sum())


def test_one_step_is_a_spatial_transformer(images: Tensor) -> None:
    """With one step it is `SpatialTransformer`."""
    plain = ip.SpatialTransformer(Centroid(), 2, parametrisation="translation").double()
    plain.regression.weight.data.copy_(0.5 * torch.eye(2))
    assert torch.allclose(plain(images), halving(1)(images), atol=ROUNDED)


def test_no_steps_are_refused() -> None:
    """At least one look is needed."""
    with pytest.raises(ip.InvalidInputError, match="steps=0: give at least 1"):
        InverseCompositionalTransformer(Centroid(), 2, steps=0)
