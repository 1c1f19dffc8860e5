"""The baselines are what they claim to be."""

import pytest
import torch

import invariance_probe as ip
from analyses import baselines
from analyses.efficientnet_pairs import MapPairs, efficientnet_pairs
from invariance_probe.alignment import metrics
from invariance_probe.plane import coordinates, sampling


@pytest.fixture(scope="module")
def pairs() -> MapPairs:
    """Maps of block 5 under a rotation by 30 degrees, two photographs."""
    return efficientnet_pairs(["_blocks.5"], [ip.Rotation(30)], 2)[0]


@pytest.mark.parametrize("solve", [baselines.adam, baselines.scipy_least_squares])
def test_baselines_improve_on_the_oracle_they_begin_at(pairs: MapPairs, solve: object) -> None:
    """Each baseline's warp leaves less than the oracle's, under our sampler."""
    target = metrics.Target(
        pairs.reference, pairs.region, metrics.region_mean(pairs.reference, pairs.region)
    )
    one = [maps[:1] for maps in (pairs.reference, pairs.moved, pairs.oracle, pairs.region)]
    theta = torch.cat([solve(*one), pairs.oracle[1:]])  # type: ignore[operator]  # any baseline
    left = [target.score(sampling.warp(pairs.moved, warp)).fvu for warp in (theta, pairs.oracle)]
    assert float(left[0][0]) < float(left[1][0])


def test_kornias_warp_is_kornias_own_reading(pairs: MapPairs) -> None:
    """Read as kornia reads it, from the map that the oracle warped, its warp leaves less."""
    pytest.importorskip("kornia", reason="the extra `bench` is not installed")
    reference, moved, oracle, region = (
        maps[:1] for maps in (pairs.reference, pairs.moved, pairs.oracle, pairs.region)
    )
    theta = baselines.kornia_similarity(reference, moved, oracle, region)
    own = coordinates.homogeneous(oracle).inverse() @ coordinates.homogeneous(theta)
    start = sampling.warp(moved, oracle)
    target = metrics.Target(reference, region, metrics.region_mean(reference, region))
    left = [float(target.score(maps).fvu) for maps in (sampling.warp(start, own[:, :2]), start)]
    assert left[0] < left[1]
