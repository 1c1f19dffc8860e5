"""The search: planted warps, the family, and what it keeps of many candidates."""

import builtins
import math
import threading
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import invariance_probe as ip
from invariance_probe.alignment import metrics, search, solver
from invariance_probe.plane import coordinates, regions, sampling
from tests.alignment import planted


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
    theta = planted.theta(angle, s1, s2, axis, dx, dy)
    moved = planted.maps(1, 8, side)
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


def test_warps_stay_within_the_distortion_limit() -> None:
    """The singular values relative to the oracle stay within bounds, and the outcome says so."""
    moved = planted.maps(4, 6, 14)
    theta = planted.theta(0.3, 2.6, 1.0, 0.4, 0, 0).expand(4, 2, 3)
    reference = sampling.warp(moved, theta)
    for bound in (1.0, 1.5, 2.0):
        found = ip.align(reference, moved, max_distortion=bound)
        values = torch.linalg.svdvals(found.theta[:, :, :2])
        assert bool((values <= bound * 1.001).all() & (values >= 0.999 / bound).all())
    assert ip.Outcome.DISTORTION_LIMIT in found.outcome


def test_each_pair_is_searched_for_itself() -> None:
    """The result of a pair does not depend on what else is in the batch."""
    reference, moved = planted.maps(5, 4, 14, seed=1), planted.maps(5, 4, 14, seed=2)
    together = ip.align(reference, moved, channel_mean=torch.zeros(5, 4).double())
    for i in range(5):
        alone = ip.align(
            reference[i : i + 1], moved[i : i + 1], channel_mean=torch.zeros(1, 4).double()
        )
        torch.testing.assert_close(alone.fvu, together.fvu[i : i + 1], rtol=1e-4, atol=0)


def test_pairs_that_are_not_usable_keep_the_oracle() -> None:
    """Only the pairs asked for are searched; the others are untouched, at no step."""
    reference, moved = planted.maps(3, 4, 10, seed=1), planted.maps(3, 4, 10, seed=2)
    region = torch.ones(3, 10, 10, dtype=torch.bool)
    target = metrics.Target(reference, region, metrics.region_mean(reference, region))
    oracle = planted.theta(0.4, 1.0, 1.0, 0.0, 0.1, 0.0).expand(3, 2, 3)
    usable = torch.tensor([True, False, True])
    found = search.find_warps(target, moved, oracle, usable, search.SearchOptions())
    assert torch.equal(found.theta[1], oracle[1])
    assert found.n_iter.gt(0).tolist() == usable.tolist()
    assert not torch.equal(found.theta[0], oracle[0])


def test_outside_is_relative_to_the_oracle() -> None:
    """A warp twice as wide as the oracle is inside, a wider one is not, at any turn."""
    oracle = planted.theta(1.1, 0.5, 1.5, 0.3, 0.2, 0.0)
    for factor, expected in (
        (1.0, False),
        (1.99, False),
        (2.01, True),
        (0.51, False),
        (0.49, True),
    ):
        theta = planted.theta(0.7, factor, 1.0, 0.0, 0.0, 0.0)
        together = (coordinates.homogeneous(theta) @ coordinates.homogeneous(oracle))[:, :2]
        found = search.outside(together, oracle, 9, 9, search.SearchOptions())
        assert found.tolist() == [expected], factor


def test_near_duplicates_make_room_for_others() -> None:
    """Of candidates that came to the same place one is kept, while there are others."""
    points = torch.eye(2, 3).flatten().repeat(2, 4, 1)
    points[0, 2, 0] = 1.5
    points[1, 1:, 4] = torch.tensor([2.0, 3.0, 4.0])
    error = torch.tensor([[1.0, 2.0, 3.0, 1.5], [4.0, 3.0, 2.0, torch.nan]])
    nothing = torch.zeros(8)
    state = solver.State(
        points=points.flatten(0, 1),
        error=error.flatten(),
        gradient=torch.zeros(8, 6),
        matrix=torch.zeros(8, 6, 6),
        damping=nothing,
        n_iter=nothing.long(),
        converged=nothing.bool(),
        at_limit=nothing.bool(),
    )
    best = search._best(state, pairs=2, count=2)
    assert best.error.view(2, 2).tolist() == [[1.0, 3.0], [2.0, 3.0]]


def test_compiling_ahead_is_waited_for() -> None:
    """A search that comes before the loops are compiled finds what any other does."""
    before = threading.active_count()
    search.compile_ahead(torch.device("cpu"), torch.float32)
    maps = torch.rand(1, 4, 8, 8)
    assert float(ip.align(maps, maps).fvu) < 1e-9
    for thread in threading.enumerate():
        if thread.daemon and thread is not threading.current_thread():
            thread.join(timeout=60)
    assert threading.active_count() <= before


@pytest.mark.parametrize("error", [ImportError, RuntimeError])
def test_without_compiled_loops_the_search_is_torchs(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where numba is missing, or may keep nothing that it compiles, maps are searched, too."""
    usual = builtins.__import__

    def importing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "invariance_probe.alignment" and args[2] == ("fused",):
            raise error
        return usual(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", importing)
    search._fused.cache_clear()
    try:
        maps = torch.rand(1, 4, 8, 8)
        assert search._fused() is None
        assert float(ip.align(maps, maps).fvu) < 1e-9
    finally:
        search._fused.cache_clear()
