"""Certificates hold: bounds are never undercut, gaps close, and the best warp is the best."""

import inspect
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import invariance_probe as ip
from invariance_probe.alignment.outcomes import Outcome
from invariance_probe.certificates import branch_and_bound, families
from invariance_probe.certificates import minorants as relaxation
from invariance_probe.certificates.branch_and_bound import (
    CertificateOptions,
    certify,
)
from invariance_probe.errors import InvalidInputError
from invariance_probe.plane import regions, sampling

IDENTITY = torch.eye(2, 3, dtype=torch.float64)


def _smooth(channels: int, height: int, width: int, seed: int) -> Tensor:
    """Random maps, smoothed a little, as features are."""
    noise = torch.randn(
        1, channels, height, width, generator=torch.Generator().manual_seed(seed)
    ).double()
    return sampling.blurred(noise, 0.5 * torch.eye(2))[0]


def _warp(angle: float, scale: float, dx: float, dy: float) -> Tensor:
    c, s = scale * math.cos(angle), scale * math.sin(angle)
    return torch.tensor([[c, -s, dx], [s, c, dy]], dtype=torch.float64)


def _left(reference: Tensor, moved: Tensor, region: Tensor, theta: Tensor) -> Tensor:
    read = sampling.warp(moved.expand(len(theta), *moved.shape), theta)
    return ((read - reference).square().sum(1) * region).sum((1, 2))


def _problem(
    family: str, seed: int, size: tuple[int, int]
) -> tuple[families.Family, relaxation.Minorants, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    reference, moved = _smooth(2, *size, seed), _smooth(2, *size, seed + 1)
    region = torch.rand(size, generator=generator) < 0.8
    region[0, 0] = True
    oracle = _warp(
        *(0.3 * torch.randn(4, generator=generator) + torch.tensor([0, 1, 0, 0])).tolist()
    )
    kind = families.Family(family, oracle, region, size, 2.0)
    return kind, relaxation.Minorants(reference[:, region].T, moved, kind), reference, moved, region


@settings(max_examples=25)
@given(
    family=st.sampled_from(["similarity", "affine"]),
    seed=st.integers(0, 10**6),
    size=st.tuples(st.integers(2, 6), st.integers(2, 6)),
)
def test_no_warp_of_a_box_leaves_less_than_the_boxs_bound(
    family: str, seed: int, size: tuple[int, int]
) -> None:
    """Warps drawn from boxes of all sizes, and boxes' best corners, stay above their bounds."""
    kind, minorants, reference, moved, region = _problem(family, seed, size)
    g = torch.Generator().manual_seed(seed)
    boxes, draws = 12, 200
    unit = torch.rand(boxes, kind.count, generator=g, dtype=torch.float64)
    centres = kind.low + (kind.high - kind.low) * unit
    widths = 10 ** (-3 * torch.rand(boxes, 1, generator=g, dtype=torch.float64))
    halves = (kind.high - kind.low) / 2 * widths
    lower = minorants.lower(centres, halves)
    inside = 2 * torch.rand(boxes, draws, kind.count, generator=g, dtype=torch.float64) - 1
    inside[:, ::2] = inside[:, ::2].sign()
    warps = (centres[:, None] + halves[:, None] * inside).flatten(0, 1)
    left = _left(reference, moved, region, kind.theta(warps)).view(boxes, draws)
    assert bool((lower[:, None] <= left).all()), (lower - left.amin(1)).max()
    # the quadratics behind it are below what is left point by point
    quadratic, x = minorants.quadratic(centres, halves), halves[:, None] * inside
    bent = (x @ quadratic.curvature * x).sum(-1)
    value = quadratic.constant[:, None] + (x @ quadratic.slope[:, :, None])[..., 0] + bent
    assert bool((value <= left + minorants.rounding).all()), (value - left).max()


@pytest.mark.parametrize("twist", [0.0, 1.0, 4.0])
def test_a_twisted_cells_quadratic_is_not_too_steep(twist: float) -> None:
    """Where a cell's twist cancels its slope nothing is left, and nothing is promised."""
    slope = 0.2
    side = torch.tensor([[-1.0, 1.0], [-1.0, 1.0]], dtype=torch.float64)
    saddle = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64)
    moved = (slope / 2 * side + twist / 4 * saddle)[None]
    region = torch.tensor([[True, False], [False, False]])
    kind = families.Family("similarity", IDENTITY, region, (2, 2), 2.0)
    minorants = relaxation.Minorants(torch.zeros(1, 1, dtype=torch.float64), moved, kind)
    centre = torch.tensor([[1.0, 0.0, 0.5, 0.5]], dtype=torch.float64)
    halves = torch.tensor([[0.0, 0.0, 0.1, 0.1]], dtype=torch.float64)
    quadratic = minorants.quadratic(centre, halves)
    steps = torch.linspace(-0.1, 0.1, 41, dtype=torch.float64)
    x = torch.zeros(41, 41, 4, dtype=torch.float64)
    x[..., 2], x[..., 3] = steps, steps[:, None]
    x = x.flatten(0, 1)
    bent = (x @ quadratic.curvature[0] * x).sum(-1)
    value = quadratic.constant + x @ quadratic.slope[0] + bent
    left = minorants.at(centre + x).error
    assert bool((value <= left + minorants.rounding).all())
    assert float(left.min()) < 1e-12


@settings(max_examples=30)
@given(family=st.sampled_from(["similarity", "affine"]), seed=st.integers(0, 10**6))
def test_no_warp_of_the_family_is_left_out(family: str, seed: int) -> None:
    """Boxes that hold a warp of the family are kept; shifts beyond the root box change nothing."""
    kind, minorants, *_ = _problem(family, seed, (4, 5))
    g = torch.Generator().manual_seed(seed)
    angles = 2 * math.pi * torch.rand(2, 50, generator=g, dtype=torch.float64)
    large, small = 2 ** (2 * torch.rand(2, 50, generator=g, dtype=torch.float64) - 1)
    q, r = (large + small) / 2, (large - small) / 2 * (family == "affine")
    q = torch.where(r.abs() > 0, q, large)
    shift = kind.low[2:4] + (kind.high - kind.low)[2:4] * torch.rand(50, 2, generator=g).double()
    every = [q * angles[0].cos(), q * angles[0].sin(), *shift.unbind(1)]
    every += [r * angles[1].cos(), r * angles[1].sin()]
    warps = torch.stack(every[: kind.count], -1)
    assert bool(((kind.low <= warps) & (warps <= kind.high)).all())
    halves = torch.rand(warps.shape, generator=g, dtype=torch.float64)
    away = halves * (2 * torch.rand(warps.shape, generator=g, dtype=torch.float64) - 1)
    assert bool(kind.meets(warps + away, halves).all())
    assert not bool(kind.meets(0 * warps, 0.1 * torch.ones_like(warps)).any())
    far = warps.clone()
    far[:, 2] = torch.where(angles[0] < math.pi, kind.high[2], kind.low[2])
    farther = far.clone()
    farther[:, 2] += torch.where(angles[0] < math.pi, 5.0, -5.0)
    torch.testing.assert_close(minorants.at(far).error, minorants.at(farther).error)


@pytest.mark.parametrize("family", ["similarity", "affine"])
def test_bounds_close_with_the_square_of_the_boxs_size(family: str) -> None:
    """Small boxes' bounds come within 1 % of what is left; ten times narrower, 5 times closer."""
    kind, minorants, *_ = _problem(family, 3, (5, 6))
    g = torch.Generator().manual_seed(0)
    unit = torch.rand(60, kind.count, generator=g, dtype=torch.float64)
    centres = kind.low + (kind.high - kind.low) * unit
    gaps = []
    for width in (1e-2, 1e-3):
        halves = ((kind.high - kind.low) * width / 2).expand_as(centres)
        inside = 2 * torch.rand(60, 300, kind.count, generator=g, dtype=torch.float64) - 1
        warps = (centres[:, None] + halves[:, None] * inside).flatten(0, 1)
        least = minorants.at(warps).error.view(60, 300).amin(1)
        gaps.append(float(((least - minorants.lower(centres, halves)) / least).median()))
    assert gaps[0] < 0.01
    assert gaps[1] < gaps[0] / 5


def test_the_expansion_is_what_warps_leave() -> None:
    """Values are those of reading the maps; slopes are their differences."""
    kind, minorants, reference, moved, region = _problem("affine", 5, (5, 4))
    unit = torch.rand(40, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    warps = kind.low + (kind.high - kind.low) * unit
    here = minorants.at(warps)
    torch.testing.assert_close(here.error, _left(reference, moved, region, kind.theta(warps)))
    torch.testing.assert_close(kind.parameters(kind.theta(warps)), warps)
    for j in range(6):
        step = 1e-6 * torch.eye(6, dtype=torch.float64)[j]
        ahead, behind = (minorants.at(warps + s * step).error for s in (1, -1))
        difference = (ahead - behind) / 2e-6
        torch.testing.assert_close(difference, 2 * here.gradient[:, j], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("seed", [0, 1])
def test_no_similarity_of_a_dense_grid_undercuts_a_certificate(seed: int) -> None:
    """All turns, factors and shifts of a fine grid leave more than the bound, on 5 x 5 maps."""
    reference, moved = _smooth(3, 5, 5, 2 * seed), _smooth(3, 5, 5, 2 * seed + 1)
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
        float(_left(reference, moved, region, some).min()) for some in torch.split(grid, 20_000)
    )
    assert found.lower <= found.error <= least * (1 + 1e-9)


def test_an_affine_certificate_judges_the_search() -> None:
    """On 5 x 5 maps the affine gap closes, and the engine's result lies within it."""
    moved = _smooth(8, 5, 5, 11)
    reference = sampling.warp(moved[None], _warp(0.6, 0.9, 0.1, 0.0)[None])[0]
    reference = reference + 0.5 * _smooth(8, 5, 5, 10)
    found = certify(reference, moved, options=CertificateOptions(family="affine", gap=0.05))
    assert found.complete
    single = ip.align(reference[None].float(), moved[None].float())
    left = _left(reference, moved, torch.ones(5, 5, dtype=torch.bool), single.theta)
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
    theta = _warp(angle, scale, dx, -dx)
    moved = _smooth(6, *size, 20)
    clean = sampling.warp(moved[None], theta[None])[0]
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(2)).double()
    reference = clean + 0.3 * clean.std() * noise
    region = torch.ones(size, dtype=torch.bool)
    found = certify(
        reference, moved, oracle=theta, region=region, options=CertificateOptions(gap=0.05)
    )
    planted = float(_left(reference, moved, region, theta[None])[0])
    assert found.complete
    assert found.error <= planted
    assert found.lower <= planted


def test_a_perfect_alignment_is_proven_at_once() -> None:
    """Where nothing is left the floor ends the search: there is nothing to be gained."""
    theta = _warp(0.7, 1.1, 0.1, 0.0)
    moved = _smooth(4, 8, 8, 30)
    reference = sampling.warp(moved[None], theta[None])[0]
    found = certify(reference, moved, oracle=theta, region=torch.ones(8, 8, dtype=torch.bool))
    assert found.complete
    assert found.fvu < 1e-4
    assert found.boxes < 1000


def test_a_budget_that_ends_leaves_a_bound_and_repeats_itself() -> None:
    """With few boxes the gap reached is reported, bit for bit the same; more boxes narrow it."""
    reference, moved = _smooth(3, 9, 9, 40), _smooth(3, 9, 9, 41)
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
    moved = _smooth(4, 9, 9, 50)
    reference = sampling.warp(moved[None], _warp(0, 1 / 3, 0, 0)[None])[0]
    found = certify(reference, moved, oracle=_warp(0, 1 / 3, 0, 0))
    assert found.fvu < 1e-4
    given = regions.visible(_warp(0, 1 / 3, 0, 0)[None], 9, 9)[0]
    assert bool(given.any())


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 6), (6, 1), (2, 2)])
def test_maps_of_a_few_cells_are_certified(height: int, width: int) -> None:
    """One row, one column and one cell are read as the sampler reads them: clamped."""
    reference, moved = _smooth(3, height, width, 60), _smooth(3, height, width, 61)
    region = torch.ones(height, width, dtype=torch.bool)
    channel_mean = torch.zeros(3, dtype=torch.float64)
    found = certify(reference, moved, region=region, channel_mean=channel_mean)
    if found.outcome is Outcome.CONSTANT:
        assert height * width == 1
        return
    assert found.complete
    theta = torch.stack([
        _warp(a, s, d, -d) for a in (0.0, 1.0) for s in (0.5, 2.0) for d in (0.0, 0.3)
    ])
    assert found.lower <= float(_left(reference, moved, region, theta).min())


def test_reasons_are_given() -> None:
    """NaN, constant maps and empty regions end with NaN and the reason."""
    reference, moved = _smooth(3, 5, 5, 70), _smooth(3, 5, 5, 71)
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
        ({"family": "rigid"}, "family='rigid' is not known"),
        ({"gap": 0.0}, "gap=0.0 must lie between"),
        ({"floor": -1.0}, "floor=-1.0 must not be negative"),
        ({"max_boxes": 0}, "max_boxes=0 must be at least 1"),
        ({"max_distortion": 0.5}, "max_distortion=0.5 must be at least 1"),
    ],
)
def test_impossible_requests_are_refused(options: dict[str, object], message: str) -> None:
    """Options that cannot work are named."""
    maps = _smooth(2, 4, 4, 80)
    with pytest.raises(InvalidInputError, match=message):
        certify(maps, maps, options=CertificateOptions(**options))  # type: ignore[arg-type]  # wrong on purpose


def test_shapes_that_do_not_fit_are_refused() -> None:
    """Maps of two shapes, and a region of a third, are refused with both named."""
    plain = inspect.unwrap(branch_and_bound.certify)  # without the tests' own check of shapes
    maps = _smooth(2, 4, 4, 80)
    with pytest.raises(InvalidInputError, match="give maps of one shape"):
        plain(maps, maps[:, :3])
    with pytest.raises(InvalidInputError, match="does not fit maps of"):
        plain(maps, maps, region=torch.ones(3, 3, dtype=torch.bool))
    large = torch.zeros(1, 112, 112)
    with pytest.raises(InvalidInputError, match="too large for a certificate"):
        certify(large, large)
