"""A table too large for memory says what the same table says in memory."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import invariance_probe as ip
from invariance_probe.plane.transforms import Rotation, Scaling, Transform
from invariance_probe.results import reading, store
from invariance_probe.results.methods import EXPLAINING_METHODS
from invariance_probe.results.result import ProbeResult, assemble
from invariance_probe.results.rows import Layout, wide_table
from invariance_probe.results.store import InFile, InMemory, write_sorted
from tests.results.planted import block, layer

MOVES: tuple[Transform, ...] = (Rotation(0), Rotation(90), Scaling(0.5))
LAYERS = ("shallow", "deep")
IMAGES = 23


def _layout() -> Layout:
    return Layout(
        config={
            "model": "planted",
            "layers": list(LAYERS),
            "images": [f"image {number}" for number in range(IMAGES)],
            "methods": [str(method) for method in EXPLAINING_METHODS],
            "partners": [None, *range(IMAGES - 1)],
            "seed": 0,
        },
        layers=[layer(name) for name in LAYERS],
        transforms=MOVES,
        region_frac=[[0.5] * 3, [0.4] * 3],
        filled_frac=[0.0, 0.1, 0.2],
    )


def _parts(folder: Path) -> tuple[list[Path], pd.DataFrame]:
    """Rows as a run leaves them: some images at a time, shuffled, in two readings."""
    rng = np.random.default_rng(0)
    blocks = []
    for name in LAYERS:
        for transform in range(len(MOVES)):
            for method in EXPLAINING_METHODS:
                fvu = rng.random(IMAGES)
                fvu[rng.random(IMAGES) < 0.1] = np.nan
                blocks.append(block(name, method, list(fvu), transform))
    wide = wide_table(blocks, LAYERS)
    order = rng.permutation(IMAGES)
    paths = []
    for late in (False, True):  # mixings come in the second reading
        for number, some in enumerate(np.array_split(order, 5)):
            part = wide[wide["image"].isin(some) & ((wide["method"] > 4) == late)]
            paths.append(folder / f"rows-{late:d}{number}.parquet")
            part.reset_index(drop=True).to_parquet(paths[-1])
    return paths, wide


def _both(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[ProbeResult, ProbeResult]:
    """The same run with its table in a file, in blocks of few images, and in memory."""
    monkeypatch.setattr(store, "BLOCK_ROWS", 300)
    paths, wide = _parts(folder)
    layout = _layout()
    about = {"strips": [], "permutations": pd.DataFrame(), "wall_time": 1.0}
    large = assemble(write_sorted(paths, layout, folder / "table.parquet"), layout, **about)
    return large, assemble(InMemory(layout.tidy(wide)), layout, **about)


def test_summaries_and_decompositions_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A layer and metric at a time, to the last bit, however groups are made within a layer."""
    large, small = _both(tmp_path, monkeypatch)
    assert isinstance(large.rows, InFile)
    assert large.rows.count == small.rows.count == len(small.table)
    for by in (
        ("layer", "transform", "method", "metric"),
        ("layer", "transform", "parameter", "method", "metric"),
    ):
        pd.testing.assert_frame_equal(large.summary(by), small.summary(by), check_exact=True)
    pd.testing.assert_frame_equal(large.decomposition(), small.decomposition(), check_exact=True)
    # an image's values of several layers come in several pieces, and are added up piece by piece
    by = ("transform", "method", "metric")
    pd.testing.assert_frame_equal(large.summary(by), small.summary(by), rtol=1e-12)


def test_the_rows_asked_for_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By one name or several, by number, all of them: the same rows, of other order if of all."""
    large, small = _both(tmp_path, monkeypatch)
    keys = ["layer", "transform_number", "image", "method", "metric"]
    for where in (
        {"layer": "deep"},
        {"method": ["oracle", "affine"], "metric": "fvu"},
        {"image": "image 3", "transform_number": [1, 2]},
        {},
    ):
        got, want = (one.frame(**where).sort_values(keys) for one in (large, small))
        assert len(want) > 0
        got["outcome"] = got["outcome"].astype(want["outcome"].dtype)
        pd.testing.assert_frame_equal(
            got.reset_index(drop=True), want.reset_index(drop=True), check_exact=True
        )


def test_what_memory_would_not_hold_is_refused_with_a_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole table is refused, a part of it is not; a wrong column is named."""
    large, small = _both(tmp_path, monkeypatch)
    monkeypatch.setattr(store, "MOST_ROWS", 1000)
    with pytest.raises(ip.InvalidInputError, match=r"more than 1,000 rows.*frame\(layer='...'"):
        large.frame()
    assert len(large.frame(layer="deep", metric="fvu", method="oracle")) == IMAGES * len(MOVES)
    assert len(small.frame()) > 1000  # is in memory already
    with pytest.raises(ip.InvalidInputError, match="column depth: the table has model, layer"):
        large.frame(depth=1)


def test_a_saved_table_is_opened_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is large it stays in its file, and any reader of Parquet reads it."""
    large, small = _both(tmp_path, monkeypatch)
    large.write(_empty(tmp_path / "run"))
    monkeypatch.setattr(reading, "MOST_ROWS", 1000)
    again = ProbeResult.load(tmp_path / "run")
    assert isinstance(again.rows, InFile)
    pd.testing.assert_frame_equal(again.summary(), small.summary(), check_exact=True)
    plain = pd.read_parquet(tmp_path / "run" / "results.parquet")
    assert len(plain) == small.rows.count
    assert set(plain["layer"]) == set(LAYERS)


def _empty(path: Path) -> Path:
    path.mkdir()
    return path


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"layers": ["shallow", "other"]}, "its layers are another run's"),
        ({"images": [f"other {number}" for number in range(IMAGES)]}, "image 'image 0'"),
        ({"methods": ["identity"]}, "of another run"),
    ],
)
def test_a_large_table_of_another_run_is_refused(
    change: dict[str, list[str]], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a small one is, without being read whole."""
    large, _ = _both(tmp_path, monkeypatch)
    assert isinstance(large.rows, InFile)
    monkeypatch.setattr(reading, "MOST_ROWS", 1000)
    with pytest.raises(ip.InvalidInputError, match=said):
        reading.open_rows(large.rows.path, large.config | change)


def test_a_part_at_a_time_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No piece is larger than a block's layer, no groups are of two layers or metrics."""
    large, small = _both(tmp_path, monkeypatch)
    pairs_and_metrics = len(MOVES) * len(EXPLAINING_METHODS) * 3
    images = 300 // (len(LAYERS) * len(MOVES) * len(EXPLAINING_METHODS))  # of a block
    pieces = list(large.rows.pieces(["layer", "value"], {}))
    assert sum(map(len, pieces)) == small.rows.count
    assert max(map(len, pieces)) == images * pairs_and_metrics
    wides = list(large.by_image(["layer", "method", "metric"]))
    assert len(wides) == len(LAYERS) * 3
    for wide in wides:
        assert len(set(wide.index.get_level_values("layer"))) == 1
        assert len(set(wide.index.get_level_values("metric"))) == 1
    assert len(list(small.by_image(["layer", "method", "metric"]))) == 1
