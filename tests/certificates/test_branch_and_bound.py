"""Certificates hold: bounds are never undercut, gaps close, and the best warp is the best."""

import inspect
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import invariance_probe as ip
from invariance_probe.alignment.outcomes import Outcome
from invariance_probe.certificates import branch_and_bound
from invariance_probe.certificates.branch_and_bound import (
    CertificateOptions,
    certify,
)
from invariance_probe.errors import InvalidInputError
from invariance_probe.plane import regions, sampling
from tests.certificates import problems


@pytest.mark.parametrize("seed", [0, 1])
def test_no_similarity_of_a_dense_grid_undercuts_a_certificate(seed: int) -> None:
    """All turns, factors and shifts of a fine grid leave more than the bound, on 5 x 5 maps."""
    reference, moved = problems.smooth(3, 5, 5, 2 * seed), problems.smooth(3, 5, 5, 2 * seed + 1)
    region = torch.ones(5, 5, dtype=torch.bool)
    found = certify(reference, moved)
    assert found.complete
    assert 0.001 < found.gap <= 0.01 + 1e-9
    axes = (
        torch.linspace(-math.pi, math.pi, 49)[:-1],
        torch.linspace(0.5, 2, 10),
        torch.linspace(-1.5, 1.5, 17),
        torch.linspace(-1.5, 1.5, 17),
    )
    angle, scale, dx, dy = (a.flatten().double() for a in torch.meshgrid(*axes, indexing="ij"))
    rows = [
        torch.stack([scale * angle.cos(), -scale * angle.sin(), dx], -1),
        torch.stack([scale * angle.sin(), scale * angle.cos(), dy], -1),
    ]
    grid = torch.stack(rows, 1)
    least = min(
        float(problems.left_by(reference, moved, region, some).min())
        for some in torch.split(grid, 20_000)
    )
    assert found.lower <= found.error <= least * (1 + 1e-9)


def test_an_affine_certificate_judges_the_search() -> None:
    """On 5 x 5 maps the affine gap closes, and the engine's result lies within it."""
    moved = problems.smooth(8, 5, 5, 11)
    reference = sampling.warp(moved[None], problems.warp(0.6, 0.9, 0.1, 0.0)[None])[0]
    reference = reference + 0.5 * problems.smooth(8, 5, 5, 10)
    found = certify(reference, moved, options=CertificateOptions(family="affine", gap=0.05))
    assert found.complete
    single = ip.align(reference[None].float(), moved[None].float())
    left = problems.left_by(reference, moved, torch.ones(5, 5, dtype=torch.bool), single.theta)
    assert found.lower <= float(left[0])
    assert found.error <= float(left[0]) * (1 + 1e-6)
    similar = certify(reference, moved, options=CertificateOptions(gap=0.05))
    assert found.lower <= similar.error


@settings(max_examples=4)
@given(
    angle=st.floats(-3.1, 3.1),
    scale=st.floats(0.7, 1.4),
    dx=st.floats(-0.2, 0.2),
    size=st.sampled_from([(6, 6), (7, 5)]),
)
def test_planted_warps_are_certified(
    angle: float, scale: float, dx: float, size: tuple[int, int]
) -> None:
    """Of a map moved by any similarity, with noise, the planted warp is the best to within 5 %."""
    theta = problems.warp(angle, scale, dx, -dx)
    moved = problems.smooth(6, *size, 20)
    clean = sampling.warp(moved[None], theta[None])[0]
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(2)).double()
    reference = clean + 0.3 * clean.std() * noise
    region = torch.ones(size, dtype=torch.bool)
    found = certify(
        reference, moved, oracle=theta, region=region, options=CertificateOptions(gap=0.05)
    )
    planted = float(problems.left_by(reference, moved, region, theta[None])[0])
    assert found.complete
    assert found.error <= planted
    assert found.lower <= planted


def test_a_perfect_alignment_is_proven_at_once() -> None:
    """Where nothing is left the floor ends the search: there is nothing to be gained."""
    theta = problems.warp(0.7, 1.1, 0.1, 0.0)
    moved = problems.smooth(4, 8, 8, 30)
    reference = sampling.warp(moved[None], theta[None])[0]
    found = certify(reference, moved, oracle=theta, region=torch.ones(8, 8, dtype=torch.bool))
    assert found.complete
    assert found.fvu < 1e-4
    assert found.boxes < 1000


def test_a_budget_that_ends_leaves_a_bound_and_repeats_itself() -> None:
    """With few boxes the gap reached is reported, bit for bit the same; more boxes narrow it."""
    reference, moved = problems.smooth(3, 9, 9, 40), problems.smooth(3, 9, 9, 41)
    few, again, more = (
        certify(reference, moved, options=CertificateOptions(max_boxes=n, gap=1e-4))
        for n in (200, 200, 2000)
    )
    assert torch.equal(few.theta, again.theta)
    assert (few.lower, few.error, few.boxes) == (again.lower, again.error, again.boxes)
    assert few.outcome is Outcome.BOX_LIMIT
    assert 200 <= few.boxes <= 201
    assert few.lower < more.lower <= more.error <= few.error
    assert few.gap == pytest.approx(1 - few.lower / few.error)
    hurried = certify(reference, moved, options=CertificateOptions(time_limit_s=0, gap=1e-4))
    assert hurried.outcome is Outcome.TIME_LIMIT
    assert hurried.lower == 0


def test_the_oracle_sets_family_and_region() -> None:
    """By default the comparison runs where the oracle sees both maps, relative to it."""
    moved = problems.smooth(4, 9, 9, 50)
    reference = sampling.warp(moved[None], problems.warp(0, 1 / 3, 0, 0)[None])[0]
    found = certify(reference, moved, oracle=problems.warp(0, 1 / 3, 0, 0))
    assert found.fvu < 1e-4
    given = regions.visible(problems.warp(0, 1 / 3, 0, 0)[None], 9, 9)[0]
    assert bool(given.any())


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 6), (6, 1), (2, 2)])
def test_maps_of_a_few_cells_are_certified(height: int, width: int) -> None:
    """One row, one column and one cell are read as the sampler reads them: clamped."""
    reference, moved = problems.smooth(3, height, width, 60), problems.smooth(3, height, width, 61)
    region = torch.ones(height, width, dtype=torch.bool)
    channel_mean = torch.zeros(3, dtype=torch.float64)
    found = certify(reference, moved, region=region, channel_mean=channel_mean)
    if found.outcome is Outcome.CONSTANT:
        assert height * width == 1
        return
    assert found.complete
    theta = torch.stack([
        problems.warp(a, s, d, -d) for a in (0.0, 1.0) for s in (0.5, 2.0) for d in (0.0, 0.3)
    ])
    assert found.lower <= float(problems.left_by(reference, moved, region, theta).min())


def test_reasons_are_given() -> None:
    """NaN, constant maps and empty regions end with NaN and the reason."""
    reference, moved = problems.smooth(3, 5, 5, 70), problems.smooth(3, 5, 5, 71)
    spoilt = reference.clone()
    spoilt[0, 2, 2] = math.nan
    assert certify(spoilt, moved).outcome is Outcome.NON_FINITE
    hidden = torch.ones(5, 5, dtype=torch.bool)
    hidden[2, 2] = False
    assert certify(spoilt, moved, region=hidden, options=CertificateOptions(gap=0.2)).complete
    constant = certify(torch.ones_like(moved), moved)
    assert constant.outcome is Outcome.CONSTANT
    assert math.isnan(constant.error)
    nowhere = certify(reference, moved, region=torch.zeros(5, 5, dtype=torch.bool))
    assert nowhere.outcome is Outcome.EMPTY_REGION


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"family": "rigid"}, "family='rigid': choose from"),
        ({"gap": 0.0}, "gap=0.0 must lie between"),
        ({"floor": -1.0}, "floor=-1.0 must not be negative"),
        ({"max_boxes": 0}, "max_boxes=0: give at least 1"),
        ({"max_distortion": 0.5}, "max_distortion=0.5 must be at least 1"),
    ],
)
def test_impossible_requests_are_refused(options: dict[str, object], message: str) -> None:
    """Options that cannot work are named."""
    maps = problems.smooth(2, 4, 4, 80)
    with pytest.raises(InvalidInputError, match=message):
        certify(maps, maps, options=CertificateOptions(**options))  # type: ignore[arg-type]  # wrong on purpose


def test_shapes_that_do_not_fit_are_refused() -> None:
    """Maps of two shapes, and a region of a third, are refused with both named."""
    plain = inspect.unwrap(branch_and_bound.certify)  # without the tests' own check of shapes
    maps = problems.smooth(2, 4, 4, 80)
    with pytest.raises(InvalidInputError, match="give maps of one shape"):
        plain(maps, maps[:, :3])
    with pytest.raises(InvalidInputError, match="does not fit maps of"):
        plain(maps, maps, region=torch.ones(3, 3, dtype=torch.bool))
    large = torch.zeros(1, 112, 112)
    with pytest.raises(InvalidInputError, match="too large for a certificate"):
        certify(large, large)
