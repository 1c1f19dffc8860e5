"""A generator that was planted is found at a few angles, and holds at others."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import invariance_probe as ip
from invariance_probe.controls import C4
from invariance_probe.operators import Steerer, fit_matrix, fit_steerer


def drawn(*shape: int, seed: int = 0) -> Tensor:
    """Normal numbers, float64."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def planted() -> Steerer:
    """Frequencies 0, 0, 1 and 2 in a basis of their own: turns by 360 degrees change nothing."""
    generator = torch.zeros(6, 6, dtype=torch.float64)
    for start, frequency in ((2, 1.0), (4, 2.0)):
        generator[start, start + 1], generator[start + 1, start] = -frequency, frequency
    basis = torch.eye(6, dtype=torch.float64) + 0.2 * drawn(6, 6, seed=1)
    return Steerer(basis @ generator @ basis.inverse())


@pytest.fixture(scope="module")
def upright() -> Tensor:
    """Descriptors."""
    return drawn(40, 6)


def turned(steerer: Steerer, upright: Tensor, *angles: float, noise: float = 0.0) -> dict:
    """What they become, with noise."""
    with torch.no_grad():
        return {
            a: steerer(upright, a) + noise * drawn(*upright.shape, seed=round(a)) for a in angles
        }


@pytest.mark.parametrize("angles", [(20.0,), (15.0, 40.0), (-30.0, 100.0, 170.0)])
def test_what_was_planted_is_recovered(angles: tuple[float, ...], upright: Tensor) -> None:
    """From one angle or several, also large ones, the generator and the turns by others follow."""
    steerer = planted()
    fitted = fit_steerer(upright, turned(steerer, upright, *angles))
    # the least squares are known to the root of rounding
    assert torch.allclose(fitted.generator, steerer.generator, atol=1e-6)
    elsewhere = drawn(20, 6, seed=9)
    for angle, moved in turned(steerer, elsewhere, 65.0, 155.0, 360.0).items():
        assert fitted.left(elsewhere, moved, angle) < 1e-10
        assert fitted.left(elsewhere, moved, -angle) > 0.1 or angle == 360


def test_all_angles_count(upright: Tensor) -> None:
    """With noise, two more angles bring the generator nearer to the truth than the start alone."""
    steerer = planted()
    moved = turned(steerer, upright, 20.0, 60.0, 100.0, noise=0.05)
    errors = [
        (fit_steerer(upright, given).generator - steerer.generator).abs().max().item()
        for given in ({20.0: moved[20.0]}, moved)
    ]
    assert errors[1] < 0.5 * errors[0]


def test_dead_channels_stay_dead(upright: Tensor) -> None:
    """A channel that is 0 throughout has no turn, and leaves the others theirs."""
    steerer = planted()
    moved = turned(steerer, upright, 20.0, 50.0)

    def with_dead(descriptors: Tensor) -> Tensor:
        return torch.cat([descriptors, descriptors.new_zeros(len(descriptors), 1)], dim=1)

    fitted = fit_steerer(with_dead(upright), {a: with_dead(y) for a, y in moved.items()})
    assert torch.allclose(fitted.generator[:6, :6], steerer.generator, atol=1e-6)
    assert float(fitted.generator[6].detach().abs().max()) < 1e-9


def test_unrelated_descriptors_are_not_explained(upright: Tensor) -> None:
    """A generator fitted to what is no turn leaves as much as there is at another angle."""
    moved = {20.0: drawn(40, 6, seed=5), 50.0: drawn(40, 6, seed=6)}
    fitted = fit_steerer(upright, moved)
    assert fitted.left(upright, drawn(40, 6, seed=7), 80.0) > 0.5


def test_no_generator_turns_a_c4_field_by_a_quarter() -> None:
    """A matrix for the one angle is exact; a generator leaves the part that changes its sign."""
    upright = drawn(30, 4)
    permutation = C4.channel_permutation(ip.Rotation(90), 1)
    moved = torch.empty_like(upright)
    moved[:, permutation] = upright
    matrix = fit_matrix(upright, moved)
    assert torch.allclose(matrix, torch.eye(4, dtype=torch.float64)[permutation])
    assert torch.allclose(moved @ matrix.mT, upright)
    assert fit_steerer(upright, {90.0: moved}).left(upright, moved, 90.0) > 0.1


def test_steerers_learn() -> None:
    """The generator is a parameter that gradients reach."""
    steerer = planted()
    steerer(drawn(3, 6), 30.0).square().sum().backward()
    assert steerer.generator.grad is not None
    assert bool(steerer.generator.grad.abs().max() > 0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Steerer(torch.rand(2, 3)), r"generator of shape \(2, 3\): give a square"),
        (lambda: fit_steerer(drawn(9, 2), {0.0: drawn(9, 2)}), r"holds the angles \[0.0\]; give"),
        (lambda: fit_matrix(drawn(3, 4), drawn(3, 4)), "3 and 3 descriptors of 4 channels"),
        (lambda: fit_matrix(drawn(9, 4), drawn(8, 4)), "9 and 8 descriptors of 4 channels"),
    ],
)
def test_refusals(make: Callable[[], object], message: str) -> None:
    """What cannot be fitted is named, with its value."""
    with pytest.raises(ip.InvalidInputError, match=message):
        make()
