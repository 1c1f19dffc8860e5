"""Pairs of real maps."""

import pytest

import invariance_probe as ip
from analyses.efficientnet_pairs import MapPairs, efficientnet_pairs


@pytest.fixture(scope="module")
def pairs() -> MapPairs:
    """Maps of block 5 under a rotation by 30 degrees, two photographs."""
    return efficientnet_pairs(["_blocks.5"], [ip.Rotation(30)], 2)[0]


def test_pairs_are_real_and_their_oracle_helps(pairs: MapPairs) -> None:
    """The oracle's warp leaves less than no warp, on each pair of real maps."""
    found = ip.align(pairs.reference, pairs.moved, oracle=pairs.oracle, region=pairs.region)
    assert bool((found.oracle.fvu < found.identity.fvu).all())
    assert set(pairs.image) == {"astronaut", "camera"}
