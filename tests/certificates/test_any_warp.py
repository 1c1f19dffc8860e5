"""The any-warp bound is a bound, is exact, and says so when it is not."""

import inspect
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from invariance_probe.alignment import metrics
from invariance_probe.certificates import any_warp, attacks
from invariance_probe.errors import InvalidInputError
from tests.certificates import exact_hulls

WARPS = 24


def _case(seed: int, channels: int, size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    made = attacks.case(seed, channels, size, size, "noise")
    return made.reference, made.moved, made.region


def _brute_force(reference: Tensor, moved: Tensor) -> np.ndarray:
    """Squared distances to the nearest hull by the reference implementation, clamped borders."""
    channels, height, width = reference.shape
    corners = exact_hulls.cells(np.pad(moved.double().numpy(), ((0, 0), (1, 1), (1, 1)), "edge"))
    wanted = reference.double().numpy().reshape(channels, -1).T
    nearest = exact_hulls.distances_to_hulls(wanted, corners).min(axis=1)
    return nearest.reshape(height, width) ** 2


@settings(max_examples=80)
@given(case=attacks.cases)
def test_distances_are_those_of_the_reference_implementation(
    case: attacks.Case,
) -> None:
    """In float64 each position has the distance that all faces of all cells give it, unpruned."""
    reference, moved, region = case.reference.double(), case.moved.double(), case.region
    found = any_warp.any_warp_bound(reference, moved, region)
    expected = np.where(region[0].numpy(), _brute_force(reference[0], moved[0]), 0)
    scale = float(reference.square().sum(1).max() + moved.square().sum(1).max())
    np.testing.assert_allclose(found.distance[0].numpy(), expected, rtol=1e-6, atol=1e-9 * scale)
    assert found.kind is any_warp.BoundKind.ALL_POSITIONS
    torch.testing.assert_close(found.error, found.distance.sum((1, 2)))


def test_no_warp_of_any_kind_leaves_less() -> None:
    """Drawn and optimised warps, read in float32, leave at least the bound: 0 violations."""
    tried = dict.fromkeys(attacks.KINDS, 0)
    violations: list[str] = []

    @settings(max_examples=150)
    @given(case=attacks.cases, seed=st.integers(0, 10**6))
    def attack(case: attacks.Case, seed: int) -> None:
        reference, moved, region = case.reference, case.moved, case.region
        bound = float(any_warp.any_warp_bound(reference, moved, region).error)
        generator = torch.Generator().manual_seed(seed)
        for kind in attacks.KINDS:
            if kind == "adversarial":
                grid = torch.cat(attacks.adversarial(reference[0], moved[0]))
            else:
                grid = attacks.draw(kind, WARPS, tuple(reference.shape[-2:]), generator)
            left = attacks.left_by(reference[0], moved[0], region[0], grid)
            tried[kind] += len(left)
            violations.extend(f"{kind}: {v} < {bound}" for v in left.tolist() if v < bound)

    attack()
    assert not violations, violations[:5]
    assert min(tried.values()) >= 500, tried


@settings(max_examples=30)
@given(case=attacks.cases)
def test_scores_of_warps_stay_above_the_bounds_scores(case: attacks.Case) -> None:
    """Under one `Target` no warp's fvu or rel_l2 is below the bound's, float32 throughout."""
    reference, moved, region = case.reference, case.moved, case.region
    target = metrics.Target(reference, region, metrics.region_mean(reference, region))
    bound = target.bound(any_warp.any_warp_bound(reference, moved, region).error)
    for grid in attacks.adversarial(reference[0], moved[0], rounds=4):
        scores = target.score(attacks.read(moved[0], grid))
        assert math.isnan(float(scores.fvu)) == math.isnan(float(bound.fvu))
        assert not float(scores.fvu) < float(bound.fvu)
        assert not float(scores.rel_l2) < float(bound.rel_l2)
        assert math.isnan(float(bound.cosine))


def test_the_nearest_vector_is_no_bound() -> None:
    """Distances to the nearest vector are beaten by mixtures: an attack finds what is too high."""
    reference, moved, region = _case(3, 2, (5, 5))
    between = torch.cdist(reference[0].flatten(1).T, moved[0].flatten(1).T).amin(1).square()
    mutated = float((between.view(5, 5) * region[0]).sum())
    grid = attacks.adversarial(reference[0], moved[0])[-1]
    left = float(attacks.left_by(reference[0], moved[0], region[0], grid))
    assert float(any_warp.any_warp_bound(reference, moved, region).error) <= left < 0.9 * mutated


def test_a_reading_that_pads_with_zeros_is_not_bounded() -> None:
    """Beyond the border it reads 0, which no cell of the moved map holds."""
    reference, moved = torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4)
    region = torch.ones(1, 4, 4, dtype=torch.bool)
    assert float(any_warp.any_warp_bound(reference, moved, region).error) > 15.9
    far = torch.full((1, 4, 4, 2), 3.0)
    read = torch.nn.functional.grid_sample(moved, far, padding_mode="zeros", align_corners=False)
    assert torch.equal(read, reference)


def test_fine_reading_approaches_the_bound_where_reading_fills_the_hulls() -> None:
    """On maps of one row the hulls are segments that reading fills: attacks come down to them."""
    generator = torch.Generator().manual_seed(0)
    moved = torch.randn(1, 3, 1, 9, generator=generator, dtype=torch.float64)
    reference = torch.randn(1, 3, 1, 9, generator=generator, dtype=torch.float64)
    region = torch.ones(1, 1, 9, dtype=torch.bool)
    bound = float(any_warp.any_warp_bound(reference, moved, region).error)
    left = [
        float(attacks.left_by(reference[0], moved[0], region[0], warp))
        for warp in attacks.adversarial(reference[0], moved[0], rounds=40)
    ]
    assert left == sorted(left, reverse=True)
    assert bound <= left[-1] < bound * (1 + 1e-9)


@pytest.mark.parametrize("scale", [1e-25, 1.0, 1e18])
def test_the_bound_scales_with_the_maps(scale: float) -> None:
    """Squares that would leave the range of float32 do not disturb the bound."""
    reference, moved, region = _case(5, 4, (6, 6))
    plain = any_warp.any_warp_bound(reference.double(), moved.double(), region)
    scaled = any_warp.any_warp_bound(reference * scale, moved * scale, region)
    torch.testing.assert_close(scaled.error / scale**2, plain.error, rtol=1e-4, atol=0)


def test_rounding_is_subtracted_and_little() -> None:
    """float32 maps get a bound below, and within 1e-4 of, that of the same maps in float64."""
    reference, moved, region = _case(6, 8, (6, 6))
    single = any_warp.any_warp_bound(reference, moved, region)
    double = any_warp.any_warp_bound(reference.double(), moved.double(), region)
    assert float(single.error) < float(double.error) <= float(single.nearest)
    assert float(single.error) > (1 - 1e-4) * float(double.error)
    aligned = any_warp.any_warp_bound(moved, moved, region)
    assert float(aligned.error) == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_maps_are_left_as_they_are(dtype: torch.dtype) -> None:
    """Nothing is written into what is given, NaN outside the region included."""
    reference, moved, region = _case(9, 3, (6, 6))
    reference, moved = reference.to(dtype), moved.to(dtype)
    reference[0, 0, 0, 0], region[0, 0, 0] = torch.nan, False
    given = [each.clone() for each in (reference, moved, region)]
    any_warp.any_warp_bound(reference, moved, region, exact_up_to=10 * 25)
    for before, after in zip(given, (reference, moved, region), strict=True):
        torch.testing.assert_close(after, before, rtol=0, atol=0, equal_nan=True)


def test_pairs_do_not_see_each_other() -> None:
    """A batch gives what its pairs give alone; an unreadable pair leaves the others alone."""
    cases = [_case(seed, 4, (5, 6)) for seed in range(5)]
    reference, moved, region = (torch.cat(parts) for parts in zip(*cases, strict=True))
    reference[1, 2, 3, 3] = torch.nan
    region[1, 3, 3] = True
    reference[2, 0, 0, 0] = torch.nan  # where nobody looks
    region[2, 0, 0] = False
    moved[3, 0, 0, 0] = torch.inf
    region[4] = False
    together = any_warp.any_warp_bound(reference, moved, region)
    assert torch.isnan(together.error).tolist() == [False, True, False, True, False]
    assert bool(torch.isnan(together.distance[1][region[1]]).all())
    assert bool((together.distance[~region] == 0).all())
    assert together.error[4] == 0
    for i in (0, 2):
        alone = any_warp.any_warp_bound(reference[i, None], moved[i, None], region[i, None])
        torch.testing.assert_close(alone.error, together.error[i, None], rtol=1e-9, atol=0)
    readable = reference.nan_to_num()
    target = metrics.Target(readable, region, metrics.region_mean(readable, region))
    unknown = torch.isnan(target.bound(together.error).fvu).tolist()
    assert unknown == [False, True, False, True, True]


@pytest.mark.parametrize("seed", range(12))
def test_flat_backgrounds_have_a_bound_below_what_a_warp_leaves(seed: int) -> None:
    """Where nearly all vectors are the same to rounding, no position loses its bound."""
    generator = torch.Generator().manual_seed(seed)
    channels, side, corner = 2 + seed % 7, 4 + seed % 5, 1 + seed % 2
    background = 1e-3 * torch.rand(channels, 1, 1, generator=generator).expand(-1, side, side)
    noise = torch.randn(channels, side, side, generator=generator)
    reference, moved = background.clone(), background * (1 + 1e-7 * noise)
    for maps in (reference, moved):
        maps[:, :corner, :corner] = torch.rand(channels, corner, corner, generator=generator)
    region = torch.ones(1, side, side, dtype=torch.bool)
    bound = any_warp.any_warp_bound(reference[None], moved[None], region)
    left = float((reference - moved).double().square().sum())
    assert 0 <= float(bound.error) <= left


def test_large_maps_get_a_weaker_bound_that_says_so() -> None:
    """Past the size limit only the positions that stand out count, each exactly."""
    reference, moved, region = _case(7, 3, (6, 6))
    exact = any_warp.any_warp_bound(reference, moved, region)
    weak = any_warp.any_warp_bound(reference, moved, region, exact_up_to=10 * 25)
    assert weak.kind is any_warp.BoundKind.OUTSTANDING_POSITIONS
    counted = weak.distance > 0
    assert 0 < int(counted.sum()) <= 10
    torch.testing.assert_close(weak.distance[counted], exact.distance[counted])
    assert float(weak.counted) == pytest.approx(10 / int(region.sum()))
    # better than as many positions of average standing
    assert float(weak.error) > 1.5 * float(exact.error) * float(weak.counted)
    assert exact.counted.tolist() == [1.0]


def test_of_positions_that_stand_out_alike_the_first_count() -> None:
    """Where all are as far, those of the region come in order; NaN outside changes nothing."""
    for offset in (0.0, 1.0):
        moved = torch.ones(1, 2, 6, 6)
        reference = moved + offset
        region = torch.ones(1, 6, 6, dtype=torch.bool)
        region[0, 0], reference[0, :, 0, :3] = False, torch.nan
        order = any_warp._order(reference.flatten(2), moved, region.flatten(1), 10)
        assert order.tolist() == [list(range(6, 16))]


def test_what_does_not_fit_is_refused() -> None:
    """Shapes that do not belong together are refused, with both named."""
    reference, moved, region = _case(8, 3, (4, 4))
    bound = inspect.unwrap(any_warp.any_warp_bound)  # without the tests' own check of shapes
    with pytest.raises(InvalidInputError, match="differ in pairs or channels"):
        bound(reference, moved[:, :2], region)
    with pytest.raises(InvalidInputError, match="does not fit reference"):
        bound(reference, moved, region[:, :3])
    with pytest.raises(InvalidInputError, match="nothing to read"):
        bound(reference, moved[..., :0], region)
