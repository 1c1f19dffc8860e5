"""A run's tables: summaries are naive averages, and files come back as they were."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from invariance_probe.errors import InvalidInputError
from invariance_probe.plane.transforms import Affine, Rotation, Scaling, Shear, Translation
from invariance_probe.results.methods import Method
from invariance_probe.results.tables import ProbeTables
from invariance_probe.statistics import mean_interval
from tests.results.planted import EXPLAINED, permuted, planted, strip

MOVES = [Rotation(-30), Rotation(0), Rotation(60), Scaling(0.8)]
LEFT = {
    Method.ORACLE: [0.9, 1.4, 1.0, 1.3, 1.1, 1.2],
    Method.AFFINE: [0.3, 0.9, 0.4, 0.8, 0.5, 0.6],
}


def _row(summary: pd.DataFrame, **keys: object) -> pd.Series:
    for name, value in keys.items():
        summary = summary[summary[name] == value]
    (_, row), *others = summary.iterrows()
    assert not others
    return row


def test_a_summary_averages_angles_within_images_and_then_over_images() -> None:
    """Mean and interval are those of the images, each averaged over the angles first."""
    summary = planted(LEFT, moves=MOVES).summary()
    assert (summary["low"] <= summary["mean"]).all()
    assert (summary["mean"] <= summary["high"]).all()
    row = _row(summary, layer="deep", transform="rotation", method="affine", metric="fvu")
    means = np.array(LEFT[Method.AFFINE]) / 2
    assert row["n_images"] == 6
    assert row["mean"] == pytest.approx(means.mean())
    (low,), (high,) = mean_interval(means[None])[1:]
    assert [row["low"], row["high"]] == pytest.approx([low, high])
    assert low < means.mean() < high


def test_a_summary_by_parameter_keeps_the_transform_that_changes_nothing() -> None:
    """It is left out of averages, as it is a check; by parameter it is shown, and leaves 0."""
    tables = planted(LEFT, moves=MOVES)
    assert set(tables.moving()["transform_number"]) == {0, 2, 3}
    by = ["layer", "transform", "parameter", "method", "metric"]
    still = tables.summary(by).query("metric == 'fvu' and parameter == 0")
    assert len(still) == 2 * 2
    assert (still["mean"] == 0).all()


def test_a_summary_by_parameter_tells_transforms_apart_that_no_one_number_names() -> None:
    """Affine maps, and shifts and shears along both axes, have a row each, not one for them all."""
    moves = [
        *(Affine([[1.0, x], [0.0, 1.0]]) for x in (0.1, 0.4)),
        *(Translation(3, 0), Translation(3, 1), Translation(1, 3)),
        *(Shear(0.1, 0.2), Shear(0.2, 0.1)),
    ]
    tables = planted({Method.ORACLE: [0.5, 0.7, 0.9]}, layers=["deep"], moves=moves)
    tables.table["value"] += tables.table["transform_number"]
    summary = tables.summary(["transform", "parameter", "method", "metric"])
    fvu = summary[summary["metric"] == "fvu"].set_index("transform_number")["mean"]
    assert fvu.to_dict() == pytest.approx({number: 0.7 + number for number in range(len(moves))})
    assert list(summary.columns[:3]) == ["transform", "parameter", "transform_number"]


def test_two_images_have_no_interval() -> None:
    """The mean of one or two images stands alone."""
    for fvu in ([0.5], [0.5, 0.7]):
        summary = planted({Method.ORACLE: fvu}).summary()
        assert summary["mean"].notna().all()
        assert summary[["low", "high"]].isna().all(axis=None)


def test_floors_have_the_error_of_their_factor_in_common() -> None:
    """That of their layer, half of it for a root of what was measured; other methods have none."""
    values = [0.9, 1.4, 1.0, 1.3, 1.1]
    tables = planted({Method.ORACLE: values, Method.FLOOR: values})
    errors = {"shallow": 0.2, "deep": 0.4}
    config = {**tables.config, "floor": {"shifts": [], "errors": errors}}
    told = dataclasses.replace(tables, config=config)
    for layer, error in errors.items():
        for metric, share in (("fvu", 1.0), ("rel_l2", 0.5), ("cosine", 0.0)):
            rows = tables.table.query(f"layer == {layer!r} and metric == {metric!r}")
            measured = rows[rows["method"] == Method.FLOOR]["value"].to_numpy()
            _, _, high = mean_interval(measured[None], common=np.array([share * error]))
            here = {"layer": layer, "metric": metric}
            assert _row(told.summary(), method=Method.FLOOR, **here)["high"] == pytest.approx(high)
            own = _row(told.summary(), method=Method.ORACLE, **here)["high"]
            assert own == _row(tables.summary(), method=Method.FLOOR, **here)["high"]
    # of several layers together the mean of their errors stands for all
    rows = told.summary(["method", "metric"])
    floor, oracle = (
        _row(rows, method=method, metric="fvu") for method in (Method.FLOOR, Method.ORACLE)
    )
    means = tables.table.query("method == 'floor' and metric == 'fvu'")
    together = means.groupby("image", observed=True)["value"].mean().to_numpy()
    assert floor["high"] == pytest.approx(mean_interval(together[None], common=np.array([0.3]))[2])
    assert oracle["high"] == pytest.approx(mean_interval(together[None])[2])


def test_a_summary_tells_of_single_images() -> None:
    """Median and worst image stand beside the mean; one far outside the others is named."""
    left = [0.9, 1.4, 300.0, 1.0, 1.3, 1.1]
    summary = planted({Method.ORACLE: left}).summary()
    row = _row(summary, layer="shallow", metric="fvu")
    assert row["median"] == pytest.approx(1.2)
    assert (row["worst"], row["worst_image"], row["far_outside"]) == (300.0, "image 2", "image 2")
    # of a cosine, planted as 1 - fvu, the lowest is the worst
    assert _row(summary, layer="shallow", metric="cosine")["worst"] == -299.0
    usual = planted({Method.ORACLE: [0.9, 1.4, 1.0, 1.3, 1.1]}).summary()
    assert set(usual["far_outside"]) == {""}
    assert set(usual["worst_image"]) == {"image 1"}
    none = planted({Method.ORACLE: [np.nan, np.nan]}).summary()
    assert none[["median", "worst"]].isna().all(axis=None)
    assert set(none["worst_image"]) == {""}


def test_unrelated_pairs_share_images_if_the_run_tells_which() -> None:
    """Each value is that of an image and its partner; others, and runs of old, are of one image."""
    values = [0.9, 1.4, 1.0, 1.3, 1.1]
    tables = planted({Method.ORACLE: values, Method.UNRELATED: values})
    partners = [3, 0, 4, 2, None]
    shared = dataclasses.replace(tables, config={**tables.config, "partners": partners})
    column = np.array([[3, 0, 4, 2, -1]])
    for told, partner in ((shared, column), (tables, None)):
        for method, expected in ((Method.ORACLE, None), (Method.UNRELATED, partner)):
            row = _row(told.summary(), layer="shallow", method=method, metric="fvu")
            mean, low, high = mean_interval(np.array([values]), expected)
            assert [row["mean"], row["low"], row["high"]] == pytest.approx([*mean, *low, *high])
    assert shared.summary(["layer", "metric"])["mean"].notna().all()


def test_a_run_says_what_it_compared_and_whether_that_explains() -> None:
    """Methods are read from the configuration's texts."""
    explained = planted(EXPLAINED)
    assert explained.methods == tuple(EXPLAINED)
    assert explained.explained
    assert not planted(LEFT).explained
    assert not planted(EXPLAINED, moves=[Rotation(0)]).explained


def test_a_frame_is_the_callers_own() -> None:
    """What a caller does to the frame does not reach the tables."""
    tables = planted(LEFT)
    frame = tables.frame()
    frame["value"] = 7.0
    assert tables.table["value"].max() < 7


def test_tables_come_back_as_they_were(tmp_path: Path) -> None:
    """Table, layers, configuration, strips and channels survive the folder, which holds no more."""
    tables = planted(EXPLAINED, strips=[strip("shallow")], permutations=permuted([1, 0, 2, 3]))
    tables.write(tmp_path)
    names = {"results.parquet", "summary.csv", "layers.csv", "config.json", "maps.npz"}
    assert {path.name for path in tmp_path.iterdir()} == names | {"channels.parquet"}
    loaded = ProbeTables.load(tmp_path)
    assert type(loaded) is ProbeTables
    pd.testing.assert_frame_equal(loaded.table, tables.table, check_exact=True)
    pd.testing.assert_frame_equal(loaded.channels, tables.channels, check_exact=True)
    pd.testing.assert_frame_equal(loaded.summary(), tables.summary(), check_exact=True)
    pd.testing.assert_frame_equal(loaded.layers, tables.layers)
    assert loaded.config == tables.config
    assert [one.layer for one in loaded.strips] == ["shallow"]


def test_a_folder_without_a_run_is_refused_with_what_it_lacks(tmp_path: Path) -> None:
    """Missing files are named, with the way out."""
    planted(LEFT).write(tmp_path)
    (tmp_path / "layers.csv").unlink()
    with pytest.raises(InvalidInputError, match=r"no run .*layers.csv is missing; name a folder"):
        ProbeTables.load(tmp_path)
    with pytest.raises(InvalidInputError, match=r"config\.json, results\.parquet, layers\.csv"):
        ProbeTables.load(tmp_path / "nowhere")
