"""The search: planted warps, known answers, order of methods, outcomes."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import invariance_probe as ip
from invariance_probe.alignment.search import SearchOptions
from invariance_probe.plane import coordinates, regions, sampling


def _maps(count: int, channels: int, side: int, seed: int = 0) -> Tensor:
    """Smooth random maps."""
    noise = torch.randn(count, channels, side, side, generator=torch.Generator().manual_seed(seed))
    kernel = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    weight = (kernel[:, None] * kernel).expand(channels, 1, 5, 5)
    padded = torch.nn.functional.pad(noise, (2, 2, 2, 2), mode="circular")
    return torch.nn.functional.conv2d(padded, weight, groups=channels)


def _theta(angle: float, s1: float, s2: float, axis: float, dx: float, dy: float) -> Tensor:
    def turn(a: float) -> Tensor:
        cos, sin = math.cos(a), math.sin(a)
        return torch.tensor([[cos, -sin], [sin, cos]], dtype=torch.float64)

    stretch = turn(axis) @ torch.diag(torch.tensor([s1, s2], dtype=torch.float64)) @ turn(-axis)
    shift = torch.tensor([[dx], [dy]], dtype=torch.float64)
    return torch.cat([turn(angle) @ stretch, shift], dim=1)[None]


@settings(max_examples=25)
@given(
    angle=st.floats(-math.pi, math.pi),
    s1=st.floats(0.6, 1.7),
    s2=st.floats(0.6, 1.7),
    axis=st.floats(0, math.pi),
    dx=st.floats(-0.2, 0.2),
    dy=st.floats(-0.2, 0.2),
    side=st.sampled_from([14, 15, 28, 40]),
)
def test_planted_warps_are_recovered(
    angle: float, s1: float, s2: float, axis: float, dx: float, dy: float, side: int
) -> None:
    """A map moved by any affine warp of the family, with 1 % noise, is found to 0.05 px."""
    theta = _theta(angle, s1, s2, axis, dx, dy)
    moved = _maps(1, 8, side)
    region = regions.visible(theta, side, side)
    reference = sampling.warp(moved, theta)
    noise = torch.randn(reference.shape, generator=torch.Generator().manual_seed(1))
    found = ip.align(reference + 0.01 * reference.std() * noise, moved, region=region)
    here = coordinates.read_positions(
        coordinates.index_matrix_from_theta(found.theta, side, side), side, side
    )
    truth = coordinates.read_positions(
        coordinates.index_matrix_from_theta(theta, side, side), side, side
    )
    distance = torch.hypot(here[0] - truth[0], here[1] - truth[1])[region]
    assert float(distance.max()) < 0.05
    assert found.outcome[0] in {ip.Outcome.CONVERGED, ip.Outcome.DISTORTION_LIMIT}
    assert float(found.fvu) < 1e-3


def test_equal_maps_are_aligned_exactly() -> None:
    """Without a transform the oracle is right to the last bit, and the result says converged."""
    maps = _maps(3, 4, 10)
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
    oracle = torch.cat([_theta(a, 1, 1, 0, 0.02, 0) for a in (0, 0.2, 0.5, 1.0, 2.0, 3.1)])
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


def test_warps_stay_within_the_distortion_limit() -> None:
    """The singular values relative to the oracle stay within bounds, and the outcome says so."""
    moved = _maps(4, 6, 14)
    theta = _theta(0.3, 2.6, 1.0, 0.4, 0, 0).expand(4, 2, 3)
    reference = sampling.warp(moved, theta)
    for bound in (1.0, 1.5, 2.0):
        found = ip.align(reference, moved, max_distortion=bound)
        values = torch.linalg.svdvals(found.theta[:, :, :2])
        assert bool((values <= bound * 1.001).all() & (values >= 0.999 / bound).all())
    assert ip.Outcome.DISTORTION_LIMIT in found.outcome


def test_each_pair_is_searched_for_itself() -> None:
    """The result of a pair does not depend on what else is in the batch."""
    reference, moved = _maps(5, 4, 14, seed=1), _maps(5, 4, 14, seed=2)
    together = ip.align(reference, moved, channel_mean=torch.zeros(5, 4).double())
    for i in range(5):
        alone = ip.align(
            reference[i : i + 1], moved[i : i + 1], channel_mean=torch.zeros(1, 4).double()
        )
        torch.testing.assert_close(alone.fvu, together.fvu[i : i + 1], rtol=1e-4, atol=0)


def test_outcomes_tell_what_went_wrong() -> None:
    """Non-finite, constant and unseen maps have outcomes of their own, and NaN for a residual."""
    reference, moved = _maps(4, 3, 8, seed=1), _maps(4, 3, 8, seed=2)
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
    found = ip.align(_maps(6, 8, 14, 1), _maps(6, 8, 14, 2), options=SearchOptions(max_steps=1))
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


def test_an_empty_batch_is_no_error() -> None:
    """No pairs give no results."""
    none = torch.zeros(0, 2, 5, 5)
    assert ip.align(none, none).theta.shape == (0, 2, 3)
