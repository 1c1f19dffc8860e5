"""What counts as best: the order of methods, outcomes, and what is refused."""

import math

import pytest
import torch
from torch import Tensor

import invariance_probe as ip
from invariance_probe.alignment.search import SearchOptions
from tests.alignment import planted


def test_equal_maps_are_aligned_exactly() -> None:
    """Without a transform the oracle is right to the last bit, and the result says converged."""
    maps = planted.maps(3, 4, 10)
    found = ip.align(maps, maps)
    assert torch.equal(found.theta, torch.eye(2, 3).double().expand(3, 2, 3))
    assert found.fvu.tolist() == [0, 0, 0]
    assert found.cosine.tolist() == pytest.approx([1, 1, 1])
    assert set(found.outcome) == {ip.Outcome.CONVERGED}
    assert torch.equal(found.warp(maps), maps)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("shape", [(7, 7), (14, 9), (30, 44), (2, 6), (1, 9)])
def test_affine_is_never_worse_than_oracle_and_identity(shape: tuple[int, int], mode: str) -> None:
    """On unrelated maps of any shape, affine <= min(oracle, identity), on the full maps."""
    g = torch.Generator().manual_seed(5)
    reference, moved = torch.randn(2, 6, 3, *shape, generator=g)
    oracle = torch.cat([planted.theta(a, 1, 1, 0, 0.02, 0) for a in (0, 0.2, 0.5, 1.0, 2.0, 3.1)])
    region = torch.ones(6, *shape, dtype=torch.bool)
    found = ip.align(
        reference, moved, oracle=oracle, region=region, options=SearchOptions(mode=mode)
    )
    assert bool((found.fvu <= found.oracle.fvu).all())
    assert bool((found.fvu <= found.identity.fvu).all())
    again = found.warp(moved)
    error = (again - reference).square().flatten(1).sum(1)
    mean = reference.mean((0, 2, 3))[:, None, None]
    torch.testing.assert_close(
        found.fvu,
        (error / (reference - mean).square().flatten(1).sum(1)).double(),
        rtol=1e-4,
        atol=0,
    )


def test_outcomes_tell_what_went_wrong() -> None:
    """Non-finite, constant and unseen maps have outcomes of their own, and NaN for a residual."""
    reference, moved = planted.maps(4, 3, 8, seed=1), planted.maps(4, 3, 8, seed=2)
    reference[0, 1, 2, 3] = math.nan
    reference[1] = 5.0
    region = torch.ones(4, 8, 8, dtype=torch.bool)
    region[2] = False
    found = ip.align(reference, moved, region=region)
    assert found.outcome[:3] == [
        ip.Outcome.NON_FINITE,
        ip.Outcome.CONSTANT,
        ip.Outcome.EMPTY_REGION,
    ]
    assert [math.isnan(v) for v in found.fvu.tolist()] == [True, True, True, False]


def test_few_steps_are_owned_up_to() -> None:
    """With hardly any steps allowed, the outcome is the step limit."""
    found = ip.align(
        planted.maps(6, 8, 14, 1), planted.maps(6, 8, 14, 2), options=SearchOptions(max_steps=1)
    )
    assert ip.Outcome.STEP_LIMIT in found.outcome


@pytest.mark.parametrize(
    ("reference", "moved", "options", "message"),
    [
        (torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 5), {}, "differ; give maps of one shape"),
        (torch.zeros(1, 2, 1, 1), torch.zeros(1, 2, 1, 1), {}, "1 x 1 map"),
        (torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 4), {"max_distortion": 0.5}, "at least 1"),
        (torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 4), {"mode": "lanczos"}, "mode='lanczos'"),
        (torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 4), {"max_steps": 0}, "max_steps=0"),
        (torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 4), {"angles": 0}, "angles=0"),
        (torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 4), {"scales": (0.0,)}, "positive factors"),
    ],
)
def test_impossible_requests_are_refused(
    reference: Tensor, moved: Tensor, options: dict[str, object], message: str
) -> None:
    """Shapes and options that cannot work are named."""
    with pytest.raises(ip.InvalidInputError, match=message):
        ip.align(reference, moved, options=SearchOptions(**options))  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_maps_are_searched_in_single_precision(dtype: torch.dtype) -> None:
    """They have the warps and residuals of the same values in float32, whichever of the two is."""
    reference, moved = (planted.maps(2, 4, 12, seed=seed).to(dtype) for seed in (1, 2))
    expected = ip.align(reference.float(), moved.float())
    for given in ((reference, moved), (reference.float(), moved), (reference, moved.float())):
        found = ip.align(*given)
        assert torch.equal(found.theta, expected.theta)
        assert torch.equal(found.fvu, expected.fvu)
    assert expected.warp(moved).dtype is dtype


def test_an_empty_batch_is_no_error() -> None:
    """No pairs give no results."""
    none = torch.zeros(0, 2, 5, 5)
    assert ip.align(none, none).theta.shape == (0, 2, 3)


def test_maps_that_are_not_finite_have_no_residual() -> None:
    """Infinity outside the region leaves no number inside, as the outcome says there is none."""
    maps = torch.rand(2, 3, 8, 8)
    spoilt = maps.clone()
    spoilt[0, 0, 0, 0] = torch.inf
    region = torch.ones(8, 8, dtype=torch.bool)
    region[:3, :3] = False
    found = ip.align(maps, spoilt, region=region)
    assert [one is ip.Outcome.NON_FINITE for one in found.outcome] == [True, False]
    for scores in (found.scores, found.oracle, found.identity):
        for name in ("fvu", "rel_l2", "cosine"):
            assert getattr(scores, name).isnan().tolist() == [True, False]
