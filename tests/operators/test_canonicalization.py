"""Canonicalized networks are invariant at quarter turns, whatever the energy and the network."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import invariance_probe as ip
from invariance_probe import controls
from invariance_probe.operators import (
    ContinuousCanonicalizer,
    DiscreteCanonicalizer,
    pose_network,
)
from tests.controls.measuring import QUARTER_TURNS, relative_gap
from tests.tolerances import ROUNDED, rounded


@pytest.fixture
def network() -> nn.Module:
    """A plain network whose answer shows every pose."""
    return controls.random_network(depth=1)


class Centroid(nn.Module):
    """The direction in which the content lies, which turns with the image."""

    def forward(self, images: Tensor) -> Tensor:
        """Weigh positions by values, y upwards."""
        side = images.shape[-1]
        at = torch.arange(side, dtype=images.dtype) - (side - 1) / 2
        return torch.stack(
            [(images[:, 0].sum(1) * at).sum(1), -(images[:, 0].sum(2) * at).sum(1)], 1
        )


@pytest.mark.parametrize("size", [26, 33])
@pytest.mark.parametrize("orientations", [4, 8])
def test_the_same_copy_is_chosen(
    orientations: int, size: int, network: nn.Module, crops: Tensor
) -> None:
    """Of an image and its quarter turns C4 and C8 choose the same pixels."""
    images = crops[:3, :, :size, :size]
    canonicalizer = DiscreteCanonicalizer(network, pose_network(3), orientations=orientations)
    with torch.no_grad():
        answer, degrees = canonicalizer(images), canonicalizer.degrees(images)
        for turn in QUARTER_TURNS:
            turned = turn(images)
            assert torch.equal(canonicalizer(turned), answer)
            more = (canonicalizer.degrees(turned) - degrees) % 360
            assert more.tolist() == [turn.degrees % 360] * 3
            assert relative_gap(network(turned), network(images)) > 0.05


def test_a_mirror_image_is_none_of_the_poses(network: nn.Module, crops: Tensor) -> None:
    """Invariance ends where the group ends."""
    images = crops[:3, :, :33, :33]
    canonicalizer = DiscreteCanonicalizer(network, pose_network(3))
    with torch.no_grad():
        gap = relative_gap(canonicalizer(ip.Reflection(90)(images)), canonicalizer(images))
    assert gap > 0.05


def test_the_least_energy_is_chosen() -> None:
    """The canonical pose is that of least energy, and the turn that led away from it is told."""

    class LightOnTop(nn.Module):
        """Low where the upper half is bright."""

        def forward(self, images: Tensor) -> Tensor:
            """Compare the halves."""
            return (images[:, 0, 6:] - images[:, 0, :6]).sum((1, 2))

    # all of it in the upper half, which part of it leaves in every other pose
    image = torch.zeros(1, 1, 12, 12)
    image[..., 2:4, 2:10] = 1.0
    image[..., 4:6, 4:8] = 1.0
    for orientations in (4, 8):
        canonicalizer = DiscreteCanonicalizer(
            nn.Identity(), LightOnTop(), orientations=orientations
        )
        assert torch.equal(canonicalizer(ip.Rotation(-90)(image)), image)
        assert canonicalizer.degrees(ip.Rotation(-90)(image)).tolist() == [270.0]
    between = ip.Rotation(45)(image)
    assert canonicalizer.degrees(between).tolist() == [45.0]
    # interpolated twice, it is the image up to its edges
    assert float((canonicalizer(between) - image).square().mean()) < 0.02


def test_the_energy_learns_through_the_hard_choice(crops: Tensor) -> None:
    """What is chosen is the same with and without gradients, which reach the energy."""
    images = crops[:3, :, :26, :26]
    canonicalizer = DiscreteCanonicalizer(nn.Identity(), pose_network(3))
    chosen = canonicalizer(images)
    with torch.no_grad():
        assert torch.equal(canonicalizer(images), chosen)
    (chosen * torch.rand_like(chosen)).sum().backward()
    gradient = canonicalizer.energy[0].weight.grad
    assert isinstance(gradient, Tensor)
    assert bool(gradient.abs().max() > 0)


def test_the_gradient_is_that_of_a_soft_choice(crops: Tensor) -> None:
    """Energies learn as if the copies had been mixed by the softmax of their negatives."""
    images, gradient = crops[:2, :, :9, :9], torch.rand(2, 3, 9, 9)

    class Given(nn.Module):
        """The same energies for every image."""

        def __init__(self) -> None:
            super().__init__()
            self.energies = nn.Parameter(torch.tensor([0.3, -0.4, 0.1, 0.8]))

        def forward(self, copies: Tensor) -> Tensor:
            """Hand them out."""
            return self.energies.repeat(len(copies) // 4)

    canonicalizer = DiscreteCanonicalizer(nn.Identity(), Given())
    (canonicalizer(images) * gradient).sum().backward()
    energies = torch.tensor([0.3, -0.4, 0.1, 0.8], requires_grad=True)
    copies = torch.stack([images.rot90(-k, (2, 3)) for k in range(4)])
    mixed = ((-energies).softmax(0)[:, None, None, None, None] * copies).sum(0)
    (mixed * gradient).sum().backward()
    assert energies.grad is not None
    assert torch.allclose(canonicalizer.energy.energies.grad, energies.grad, atol=ROUNDED)


def test_the_prior_makes_upright_canonical(crops: Tensor) -> None:
    """After a few steps on the prior alone, images are taken as upright as they are."""
    images = crops[:4, :, :20, :20]
    for kind, outputs in ((DiscreteCanonicalizer, 1), (ContinuousCanonicalizer, 2)):
        canonicalizer = kind(nn.Identity(), pose_network(3, outputs=outputs))
        optimiser = torch.optim.Adam(canonicalizer.parameters(), lr=0.01)
        before = canonicalizer.prior_loss(images).item()
        for _ in range(20):
            optimiser.zero_grad()
            loss = canonicalizer.prior_loss(images)
            loss.backward()
            optimiser.step()
        assert canonicalizer.prior_loss(images).item() < 0.8 * before


@pytest.mark.parametrize("size", [26, 33])
def test_any_predictor_is_exact_at_quarter_turns(
    size: int, network: nn.Module, crops: Tensor
) -> None:
    """Averaged over the quarter turns, the direction of a random predictor turns with the image."""
    images = crops[:3, :, :size, :size].double()
    canonicalizer = ContinuousCanonicalizer(network, pose_network(3, outputs=2)).double()
    with torch.no_grad():
        answer, radians = canonicalizer(images), canonicalizer.radians(images)
        for turn in QUARTER_TURNS:
            turned = turn(images)
            more = (canonicalizer.radians(turned) - radians).rad2deg() - turn.degrees
            assert bool(((more + 180) % 360 - 180).abs().max() < 1e-6)
            # positions are known to the angle's rounding, and so is what is read there
            assert relative_gap(canonicalizer(turned), answer) <= 100 * rounded(torch.float64)


@pytest.mark.parametrize("degrees", [20.0, 145.0])
def test_an_equivariant_predictor_undoes_any_angle(degrees: float) -> None:
    """A direction that turns with the content brings smooth images to the same pose."""
    at = torch.arange(41.0) - 20
    bumps = [
        torch.exp(-((at - x) ** 2 + (at[:, None] - y) ** 2) / 18)
        for x, y in ((7.0, -3.0), (2.0, 5.0), (5.0, 1.0))
    ]
    image = (bumps[0] + 0.7 * bumps[1] + 0.5 * bumps[2])[None, None]
    canonicalizer = ContinuousCanonicalizer(nn.Identity(), Centroid())
    upright, again = canonicalizer(image), canonicalizer(ip.Rotation(degrees)(image))
    # bilinear reading of bumps three pixels wide: an eighth of the second derivative, 1/9, twice
    assert float((upright - again).abs().max()) < 2 / 8 * 2 / 9
    assert float((ip.Rotation(degrees)(image) - image).abs().max()) > 0.3
    turned_on = ip.Rotation(degrees)(image)
    more = (canonicalizer.radians(turned_on) - canonicalizer.radians(image)).rad2deg()
    assert abs((float(more) - degrees + 180) % 360 - 180) < 0.1


def test_without_a_direction_nothing_turns() -> None:
    """Where predictions cancel the image stays, and gradients are numbers."""
    image = torch.ones(1, 1, 9, 9, requires_grad=True)
    canonicalizer = ContinuousCanonicalizer(nn.Identity(), Centroid())
    canonicalizer(image).square().sum().backward()
    assert image.grad is not None
    assert bool(image.grad.isfinite().all())
    assert canonicalizer.radians(image).tolist() == [0.0]
    assert torch.allclose(canonicalizer(image), image, atol=ROUNDED)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: DiscreteCanonicalizer(nn.Identity(), nn.Identity(), orientations=6),
            "orientations=6: give a multiple of 4",
        ),
        (lambda: pose_network(0), "channels=0: give at least 1"),
    ],
)
def test_refusals(make: Callable[[], object], message: str) -> None:
    """What cannot be chosen from is named."""
    with pytest.raises(ip.InvalidInputError, match=message):
        make()


@pytest.mark.parametrize("kind", [DiscreteCanonicalizer, ContinuousCanonicalizer])
def test_oblong_images_are_refused(kind: type[DiscreteCanonicalizer]) -> None:
    """A quarter turn of an oblong image has another shape."""
    with pytest.raises(ip.InvalidInputError, match="images of 20 x 24 pixels cannot be turned"):
        kind(nn.Identity(), pose_network(3))(torch.rand(1, 3, 20, 24))
