"""Smooth warps: never worse than affine ones, never distorting too much, found where planted."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import invariance_probe as ip
from invariance_probe.alignment import flow
from invariance_probe.alignment.search import SearchOptions
from invariance_probe.plane import regions, sampling
from tests.alignment import planted, smooth
from tests.tolerances import SEARCHED

sides = st.integers(2, 16)


def _unrelated(seed: int, channels: int, height: int, width: int, rough: bool) -> Tensor:
    """A reference and a moved map, (2, channel, height, width)."""
    g = torch.Generator().manual_seed(seed)
    if rough:
        return torch.randn(2, channels, height, width, generator=g)
    coarse = torch.randn(2, channels, 5, 5, generator=g)
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")


def _bent(seed: int, cells: int, height: int, width: int, channels: int = 12) -> dict[str, Tensor]:
    """Smooth maps, read through a random smooth warp, with 1 % noise, and where both are seen."""
    longest = max(height, width)
    moved = planted.maps(1, channels, longest, seed)[:, :, :height, :width]
    points = smooth.random_warp(seed, cells, 1.5, height, width)
    x = (np.arange(width) * 2 + 1) / width - 1
    y = (np.arange(height) * 2 + 1) / height - 1
    grid = torch.from_numpy(np.moveaxis(smooth.evaluated(points, y, x, 0, 0), 0, 2))[None]
    reference = sampling.read(moved, grid)
    noise = torch.randn(reference.shape, generator=torch.Generator().manual_seed(seed))
    cell = torch.tensor([2 / width, 2 / height])
    inside = (grid.abs() <= 1 - cell).all(-1)
    inside &= regions.visible(torch.eye(2, 3).double()[None], height, width)
    return {
        "reference": reference + 0.01 * reference.std() * noise,
        "moved": moved,
        "region": inside,
    }


@settings(max_examples=25)
@given(
    seed=st.integers(0, 1000),
    channels=st.integers(1, 6),
    height=sides,
    width=sides,
    rough=st.booleans(),
    angle=st.floats(-math.pi, math.pi),
    mirrored=st.booleans(),
    bound=st.sampled_from([1.0, 1.3, 2.0]),
    mode=st.sampled_from(["bilinear", "bicubic"]),
)
def test_a_flow_is_never_worse_than_the_affine_warp_and_never_distorts_too_much(
    seed: int,
    channels: int,
    height: int,
    width: int,
    rough: bool,
    angle: float,
    mirrored: bool,
    bound: float,
    mode: str,
) -> None:
    """Whatever the maps, flow <= affine, and no dense lattice finds a stretch beyond the bound."""
    reference, moved = _unrelated(seed, channels, height, width, rough)[:, None]
    oracle = planted.theta(angle, 1.2, 0.9, 0.3, 0.05, 0.0)
    oracle[:, :, 0] *= -1 if mirrored else 1
    found = flow.align_flow(
        reference,
        moved,
        oracle=oracle,
        region=torch.ones(1, height, width, dtype=torch.bool),
        options=SearchOptions(max_distortion=bound, mode=mode),
    )
    assert float(found.fvu) <= float(found.affine.fvu)
    warped = found.warp(moved)
    error = (warped - reference).square().sum()
    spread = (reference - reference.mean((0, 2, 3), keepdim=True)).square().sum()
    assert float(error / spread) == pytest.approx(float(found.fvu), rel=1e-4)
    large, small = smooth.distortions(found.control_points[0], oracle[0], height, width)
    # the affine warp keeps its limit to 1e-6 in single precision, a flow keeps it without slack
    slack = 1e-9 if bool(found.improves) else 1e-5
    assert large.max() <= bound * (1 + slack)
    assert small.min() >= (1 - slack) / bound


@settings(max_examples=10)
@given(
    seed=st.integers(0, 10_000),
    cells=st.sampled_from([2, 4]),
    size=st.sampled_from([(14, 14), (21, 28), (40, 40)]),
)
def test_planted_smooth_warps_are_recovered(seed: int, cells: int, size: tuple[int, int]) -> None:
    """Where maps are bent and turned, with 1 % noise, a hundredth of what is left stays."""
    pair = _bent(seed, cells, *size)
    found = flow.align_flow(**pair)
    # the noise alone leaves 1e-4, times what smoothness costs
    assert float(found.fvu) < 1e-3
    assert float(found.fvu) < 0.1 * float(found.affine.fvu)
    assert bool(found.improves)


def test_the_grid_is_what_torchs_sampler_takes() -> None:
    """Reading through the flow's grid is reading through its control points, as scipy has them."""
    pair = _bent(3, 4, 14, 20)
    found = flow.align_flow(**pair)
    grid = found.grid(14, 20)
    x, y = (np.arange(20) * 2 + 1) / 20 - 1, (np.arange(14) * 2 + 1) / 14 - 1
    expected = smooth.evaluated(found.control_points[0], y, x, 0, 0)
    torch.testing.assert_close(grid[0], torch.from_numpy(np.moveaxis(expected, 0, 2)))
    read = torch.nn.functional.grid_sample(
        pair["moved"], grid.float(), padding_mode="border", align_corners=False
    )
    assert torch.equal(found.warp(pair["moved"]), read)


def test_the_same_maps_give_the_same_bits() -> None:
    """Run twice, scores, control points and steps are equal to the last bit."""
    pairs = [_bent(1, 4, 16, 16), {"reference": planted.maps(3, 12, 16, 1)}]
    reference = torch.cat([pair["reference"] for pair in pairs])
    moved = torch.cat([pairs[0]["moved"], planted.maps(3, 12, 16, 2)])
    one, two = (flow.align_flow(reference, moved) for _ in range(2))
    assert bool(one.improves[0])
    assert torch.equal(one.control_points, two.control_points)
    assert torch.equal(one.fvu, two.fvu)
    assert torch.equal(one.n_iter, two.n_iter)


def test_each_pair_is_followed_for_itself() -> None:
    """What is found for a pair does not depend on what else is in the batch."""
    pairs = [_bent(seed, 4, 18, 18) for seed in range(4)]
    batch = {name: torch.cat([pair[name] for pair in pairs]) for name in pairs[0]}
    means = torch.zeros(4, 12).double()
    together = flow.align_flow(**batch, channel_mean=means)
    for i, pair in enumerate(pairs):
        alone = flow.align_flow(**pair, channel_mean=means[:1])
        assert float(alone.fvu) == pytest.approx(float(together.fvu[i]), abs=SEARCHED)


@pytest.mark.parametrize("shape", [(2, 2), (3, 3), (4, 9), (5, 5), (1, 9), (30, 5)])
def test_maps_of_few_cells_keep_their_affine_warp(shape: tuple[int, int]) -> None:
    """Under six cells a side there is no smooth warp but the affine one, bit for bit."""
    reference, moved = torch.randn(2, 3, 4, *shape)
    found = flow.align_flow(reference, moved)
    assert not bool(found.improves.any())
    assert torch.equal(found.fvu, found.affine.fvu)
    assert torch.equal(found.warp(moved), found.affine.warp(moved))
    assert found.outcome == found.affine.outcome
    assert torch.equal(found.n_iter, found.affine.n_iter)


def test_equal_maps_need_no_flow() -> None:
    """Where the affine warp leaves nothing, it stays, and warps without interpolating."""
    maps = planted.maps(2, 4, 12)
    found = flow.align_flow(maps, maps)
    assert found.fvu.tolist() == [0, 0]
    assert torch.equal(found.warp(maps), maps)
    assert set(found.outcome) == {ip.Outcome.CONVERGED}


def test_outcomes_tell_what_went_wrong() -> None:
    """Non-finite, constant and unseen maps have the affine search's outcome, and NaN."""
    reference, moved = planted.maps(5, 3, 8, seed=1), planted.maps(5, 3, 8, seed=2)
    reference[0, 1, 2, 3] = math.nan
    reference[1] = 5.0
    moved[3, 0, 0, 0] = math.nan
    region = torch.ones(5, 8, 8, dtype=torch.bool)
    region[2] = False
    found = flow.align_flow(reference, moved, region=region)
    assert found.outcome[:4] == [
        ip.Outcome.NON_FINITE,
        ip.Outcome.CONSTANT,
        ip.Outcome.EMPTY_REGION,
        ip.Outcome.NON_FINITE,
    ]
    assert found.fvu.isnan().tolist() == [True, True, True, True, False]
    assert not bool(found.improves[:4].any())
    assert bool(found.control_points.isfinite().all())


def test_a_moved_map_that_is_constant_is_no_obstacle() -> None:
    """All warps of a constant map leave the same, so the affine one stays."""
    reference = planted.maps(2, 3, 10)
    found = flow.align_flow(reference, torch.full_like(reference, 2.5))
    assert torch.equal(found.fvu, found.affine.fvu)


def test_limits_are_owned_up_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """A warp that is held back says so, as does one whose last step still gained; others do not."""
    pair = _bent(1, 4, 28, 28)
    held = flow.align_flow(**pair, max_distortion=1.2)
    assert bool(held.improves)
    assert held.outcome == [ip.Outcome.DISTORTION_LIMIT]
    assert flow.align_flow(**pair).outcome == [ip.Outcome.CONVERGED]
    monkeypatch.setattr(flow, "LAST_PULLS", (0.01,))
    hasty = flow.align_flow(**pair, options=SearchOptions(max_steps=1))
    assert hasty.outcome == [ip.Outcome.STEP_LIMIT]


def test_double_precision_stays_so() -> None:
    """Maps in float64 are followed and read in float64."""
    pair = _bent(2, 2, 14, 14)
    wide = {
        name: maps.double() if maps.is_floating_point() else maps for name, maps in pair.items()
    }
    found = flow.align_flow(**wide)
    assert found.warp(wide["moved"]).dtype == torch.float64
    assert float(found.fvu) == pytest.approx(float(flow.align_flow(**pair).fvu), abs=SEARCHED)


def test_impossible_requests_are_refused() -> None:
    """What `align` refuses is refused in the same words."""
    maps = torch.zeros(1, 2, 7, 7)
    with pytest.raises(ip.InvalidInputError, match="at least 1"):
        flow.align_flow(maps, maps, max_distortion=0.5)
    with pytest.raises(ip.InvalidInputError, match="give maps of one shape"):
        flow.align_flow(maps, maps[:, :, :5])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cpu_and_gpu_agree() -> None:
    """A planted warp is found on both devices, and leaves the same."""
    pair = _bent(4, 4, 28, 28)
    here = flow.align_flow(**pair)
    there = flow.align_flow(**{name: maps.cuda() for name, maps in pair.items()})
    assert there.control_points.is_cuda
    assert float(there.fvu) == pytest.approx(float(here.fvu), abs=SEARCHED)
