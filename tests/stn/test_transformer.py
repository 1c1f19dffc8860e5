"""`SpatialTransformer`: the identity at first, exact geometry, and of use in anybody's network."""

import math

import pytest
import torch
from torch import Tensor, nn

from invariance_probe import Rotation
from invariance_probe.errors import InvalidInputError
from invariance_probe.plane import coordinates
from invariance_probe.stn.transformer import (
    PARAMETRISATIONS,
    SpatialTransformer,
)


@pytest.mark.parametrize("name", PARAMETRISATIONS)
def test_it_begins_as_the_identity(name: str) -> None:
    """With its first weights, whatever the localizer says, nothing moves."""
    localizer = nn.Sequential(nn.Flatten(), nn.Linear(2 * 9 * 12, 4))
    transformer = SpatialTransformer(localizer, 4, parametrisation=name)
    maps = torch.rand(3, 2, 9, 12)
    assert torch.equal(transformer.predict(maps), torch.eye(3).expand(3, 3, 3))
    torch.testing.assert_close(transformer(maps), maps, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "numbers", "content"),
    [
        ("rotation", [math.radians(30)], Rotation(30).matrix),
        ("scale", [math.log(0.5)], torch.diag(torch.tensor([2.0, 2, 1]).double())),
        ("translation", [0.5, -0.25], torch.tensor([[1, 0, -3], [0, 1, 1], [0, 0, 1.0]])),
        ("similarity", [0.0, math.radians(30), 0, 0], Rotation(30).matrix),
    ],
)
def test_families_move_content_as_they_say(
    name: str, numbers: list[float], content: Tensor
) -> None:
    """Angles, factors and shifts are the content's in pixels, on maps that are not square."""
    family = PARAMETRISATIONS[name]
    pull_back = family.matrices(torch.tensor([numbers], dtype=torch.float64), height=8, width=12)
    to_normalised = coordinates.normalised_from_centred(8, 12)
    moved = to_normalised.inverse() @ pull_back[0].inverse() @ to_normalised
    torch.testing.assert_close(moved, content.double(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("side", [2, 3, 10])
def test_the_smallest_maps_leave_the_identity_too(side: int) -> None:
    """A loss of the warped maps reaches the first, still motionless, prediction."""
    torch.manual_seed(0)
    transformer = SpatialTransformer(nn.Flatten(), 2 * side * side)
    maps = torch.rand(4, 2, side, side)
    (transformer(maps) * torch.rand(4, 2, side, side)).sum().backward()
    gradient = transformer.regression.bias.grad
    assert gradient is not None
    assert float(gradient.abs().min()) > 1e-3


def test_affine_numbers_are_the_entries_less_the_identitys() -> None:
    """The six numbers of the papers' family are the entries of the matrix."""
    numbers = torch.arange(6.0)[None] / 10
    matrix = PARAMETRISATIONS["affine"].matrices(numbers, height=5, width=9)
    wanted = torch.tensor([[1.0, 0.1, 0.2], [0.3, 1.4, 0.5], [0, 0, 1]])
    torch.testing.assert_close(matrix[0], wanted)


def test_a_users_network_learns_a_shift() -> None:
    """In a network of one's own it learns to centre a blob, which nothing else in it could."""
    torch.manual_seed(0)
    localizer = nn.Sequential(nn.Flatten(), nn.Linear(256, 32), nn.ReLU())
    transformer = SpatialTransformer(localizer, 32, parametrisation="translation")
    optimizer = torch.optim.Adam(transformer.parameters(), lr=3e-3)
    grid = torch.arange(16.0)

    def blobs(shift: Tensor) -> Tensor:
        x = torch.exp(-((grid - 7.5 - shift[:, :1]) ** 2) / 12)[:, None, None, :]
        y = torch.exp(-((grid - 7.5 - shift[:, 1:]) ** 2) / 12)[:, None, :, None]
        return x * y

    for _ in range(250):
        shift = torch.rand(32, 2) * 6 - 3
        loss = (transformer(blobs(shift)) - blobs(0 * shift)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    shift = torch.rand(64, 2) * 6 - 3
    untouched = (blobs(shift) - blobs(0 * shift)).square().mean()
    left = (transformer(blobs(shift)) - blobs(0 * shift)).square().mean()
    assert left.item() < 0.1 * untouched.item()


@pytest.mark.parametrize(
    "wrong", [{"parametrisation": "spin"}, {"mode": "nearest"}, {"padding": "wrap"}]
)
def test_unknown_names_are_refused(wrong: dict[str, str]) -> None:
    """A name that is none of the choices is named, with the choices."""
    (name, value), *_ = wrong.items()
    with pytest.raises(InvalidInputError, match=f"{name}='{value}': choose from"):
        SpatialTransformer(nn.Flatten(), 4, **wrong)  # type: ignore[arg-type]  # the point


def test_the_gradient_is_scaled_where_it_enters_the_localizer() -> None:
    """A tenth of the gradient reaches the localizer, all of it what comes after the warp."""
    torch.manual_seed(0)
    maps, gradients = torch.rand(2, 1, 8, 8), {}
    for scale in (1.0, 0.1):
        torch.manual_seed(1)
        localizer = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
        module = SpatialTransformer(localizer, 4, gradient_scale=scale)
        after = nn.Conv2d(1, 1, 3)
        after(module(maps)).square().sum().backward()
        gradients[scale] = [module.regression.bias.grad, after.weight.grad]
    torch.testing.assert_close(gradients[0.1][0], 0.1 * gradients[1.0][0])
    assert torch.equal(gradients[0.1][1], gradients[1.0][1])


def test_another_size_is_asked_for_by_a_share() -> None:
    """Half of an odd side is rounded down, and never to nothing; more than all is refused."""
    module = SpatialTransformer(nn.Sequential(nn.Flatten(), nn.Linear(45, 2)), 2, output_share=0.5)
    assert module(torch.rand(3, 1, 5, 9)).shape == (3, 1, 2, 4)
    assert module.resample(torch.rand(1, 1, 1, 1), torch.eye(3)[None]).shape == (1, 1, 1, 1)
    for wrong in (0.0, 1.5):
        with pytest.raises(InvalidInputError, match=f"output_share={wrong:g}: give a share"):
            SpatialTransformer(nn.Identity(), 2, output_share=wrong)
