"""The analyses' tiny presets run, and the baselines are what they claim to be."""

import json
from pathlib import Path

import pytest
import torch

import invariance_probe as ip
from analyses import __main__ as command
from analyses import baselines
from analyses.pairs import Pairs, efficientnet_pairs
from analyses.questions import search_quality
from invariance_probe.alignment import metrics
from invariance_probe.plane import coordinates, sampling


@pytest.fixture(scope="module")
def pairs() -> Pairs:
    """Maps of block 5 under a rotation by 30 degrees, two photographs."""
    return efficientnet_pairs(["_blocks.5"], [ip.Rotation(30)], 2)[0]


def test_pairs_are_real_and_their_oracle_helps(pairs: Pairs) -> None:
    """The oracle's warp leaves less than no warp, on each pair of real maps."""
    found = ip.align(pairs.reference, pairs.moved, oracle=pairs.oracle, region=pairs.region)
    assert bool((found.oracle.fvu < found.identity.fvu).all())
    assert set(pairs.image) == {"astronaut", "camera"}


@pytest.mark.parametrize("solve", [baselines.adam, baselines.scipy_least_squares])
def test_baselines_improve_on_the_oracle_they_begin_at(pairs: Pairs, solve: object) -> None:
    """Each baseline's warp leaves less than the oracle's, under our sampler."""
    target = metrics.Target(
        pairs.reference, pairs.region, metrics.region_mean(pairs.reference, pairs.region)
    )
    one = [maps[:1] for maps in (pairs.reference, pairs.moved, pairs.oracle, pairs.region)]
    theta = torch.cat([solve(*one), pairs.oracle[1:]])  # type: ignore[operator]  # any baseline
    left = [target.score(sampling.warp(pairs.moved, warp)).fvu for warp in (theta, pairs.oracle)]
    assert float(left[0][0]) < float(left[1][0])


def test_kornias_warp_is_kornias_own_reading(pairs: Pairs) -> None:
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


def test_search_quality_is_measured_and_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The tiny preset writes frame, figure and provenance, and prints the shares."""
    command.run(["run", "search_quality", "--preset", "tiny", "--out", str(tmp_path / "run")])
    out = capsys.readouterr().out
    assert "planted" in out
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {
        "results.parquet",
        "summary.csv",
        "config.json",
        "search_quality.png",
        "search_quality.svg",
    }
    about = json.loads((tmp_path / "run" / "config.json").read_text(encoding="utf-8"))
    assert about["config"]["planted"] == search_quality.PRESETS["tiny"].planted
