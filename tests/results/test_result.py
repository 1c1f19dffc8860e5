"""Tables, intervals, run folders and figures."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import invariance_probe as ip
from invariance_probe.results import figures, style
from invariance_probe.results import result as results


@pytest.fixture(scope="module")
def result() -> ip.ProbeResult:
    """A small run with two families of transforms."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 5, 3, stride=2))
    moves = [*ip.sweep("rotation", -30, 30, 30), ip.Scaling(0.8), ip.Scaling(1.25)]
    return ip.probe(net, torch.rand(6, 3, 20, 20), layers=["1", "2"], transforms=moves)


def test_a_run_folder_comes_back_the_same(result: ip.ProbeResult, tmp_path: Path) -> None:
    """load(save(result)) has the same table, configuration, layers and maps."""
    folder = result.save(tmp_path / "run")
    loaded = ip.ProbeResult.load(folder)
    pd.testing.assert_frame_equal(loaded.frame(), result.frame())
    pd.testing.assert_frame_equal(loaded.summary(), result.summary())
    assert loaded.config == result.config
    assert loaded.layers["name"].astype(str).tolist() == result.layers["name"].tolist()
    for mine, theirs in zip(result.strips, loaded.strips, strict=True):
        assert (mine.layer, mine.transform, mine.channels) == (
            theirs.layer,
            theirs.transform,
            theirs.channels,
        )
        np.testing.assert_array_equal(mine.maps, theirs.maps)
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    drawn = {f"figures/{k}.{s}" for k in figures.kinds(result) for s in ("png", "svg")}
    data = {"results.parquet", "summary.csv", "layers.csv", "config.json", "maps.npz"}
    assert names == data | drawn
    assert loaded.plot("depth").axes


def test_provenance_says_where_the_numbers_come_from(result: ip.ProbeResult) -> None:
    """Versions, device, type, seed, commit and time stand in the configuration."""
    config = json.loads(json.dumps(result.config))
    assert config["device"] == "cpu"
    assert config["dtype"] == "float32"
    assert config["seed"] == 0
    assert config["search"]["max_distortion"] == 2.0
    provenance = config["provenance"]
    assert provenance["versions"]["torch"] == torch.__version__
    assert {"git_commit", "git_dirty", "wall_time_s", "date", "platform"} <= provenance.keys()


def test_intervals_are_over_images_and_cover_the_mean(result: ip.ProbeResult) -> None:
    """The interval is that of a naive bootstrap over the images' means over the angles."""
    summary = result.summary()
    assert (summary["low"] <= summary["mean"]).all()
    assert (summary["mean"] <= summary["high"]).all()
    assert set(summary["n_images"]) == {6}
    frame = result.frame()
    rows = frame[
        (frame["layer"] == "2")
        & (frame["transform"] == "rotation")
        & (frame["parameter"] != 0)
        & (frame["method"] == "affine")
        & (frame["metric"] == "fvu")
    ]
    means = rows.groupby("image", observed=True)["value"].mean().to_numpy()
    rng = np.random.default_rng(7)
    naive = [rng.choice(means, 6).mean() for _ in range(4000)]
    row = summary[
        (summary["layer"] == "2")
        & (summary["transform"] == "rotation")
        & (summary["method"] == "affine")
        & (summary["metric"] == "fvu")
    ].iloc[0]
    assert row["mean"] == pytest.approx(means.mean())
    spread = np.ptp(means)
    assert [row["low"], row["high"]] == pytest.approx(
        np.quantile(naive, [0.025, 0.975]).tolist(), abs=0.05 * spread
    )


def test_summary_by_parameter_keeps_the_identity(result: ip.ProbeResult) -> None:
    """By parameter, the transform that changes nothing is shown, and its residual is 0."""
    summary = result.summary(["layer", "transform", "parameter", "method", "metric"])
    still = summary[(summary["parameter"] == 0) & (summary["metric"] == "fvu")]
    assert len(still) == 2 * 5
    assert still[still["method"] != "unrelated"]["mean"].max() == 0


def test_folders_that_hold_something_are_refused(result: ip.ProbeResult, tmp_path: Path) -> None:
    """A run never overwrites another, nor other files; what cannot be read is named."""
    folder = result.save(tmp_path / "run")
    with pytest.raises(ip.InvalidInputError, match="holds another run; give a new one"):
        result.save(folder)
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(ip.InvalidInputError, match="holds other files"):
        result.save(other)
    with pytest.raises(ip.InvalidInputError, match="is a file"):
        results.check_out(other / "thesis.txt")
    with pytest.raises(ip.InvalidInputError, match="holds no run"):
        ip.ProbeResult.load(other)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["other", "run"]


def test_nothing_half_written_is_left_after_an_error(
    result: ip.ProbeResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If drawing fails, neither the folder nor a partial one remains."""

    def fail(*_arguments: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(results, "save", fail)
    with pytest.raises(OSError, match="no space left"):
        result.save(tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["rotation", "scaling", "depth", "maps"])
def test_figures_show_what_the_frame_holds(result: ip.ProbeResult, kind: str) -> None:
    """Each figure draws, with labelled axes; the lines hold the summary's means."""
    figure = result.plot(kind)
    if kind == "maps":
        pictures = [image for part in figure.subfigs for axes in part.axes for image in axes.images]
        assert len(pictures) == 2 * (2 + 2 * 2 * 5)
        return
    assert all(axes.get_xlabel() for axes in figure.axes)
    assert figure.axes[0].get_ylabel() == style.RESIDUAL
    if kind == "depth":
        summary = result.summary()
        row = summary[
            (summary["layer"] == "1")
            & (summary["transform"] == "rotation")
            & (summary["method"] == "oracle")
            & (summary["metric"] == "fvu")
        ]
        lines = {line.get_label(): line for line in figure.axes[0].lines}
        assert lines["oracle warp"].get_ydata()[0] == pytest.approx(row["mean"].iloc[0])


def test_unknown_figures_are_refused(result: ip.ProbeResult) -> None:
    """An unknown figure is named, with those there are."""
    with pytest.raises(ip.InvalidInputError, match="unknown figure 'rotatoin'; did you mean 'rot"):
        result.plot("rotatoin")


def test_transforms_without_a_number_are_drawn_in_order(small_net: nn.Module) -> None:
    """General affine maps have no parameter; the figure numbers them."""
    moves = [ip.Affine([[1, 0.1], [0, 1.1]]), ip.Affine([[0.9, 0.1], [0.2, 1]])]
    drawn = ip.probe(small_net, torch.rand(2, 3, 20, 20), layers="1", transforms=moves)
    assert drawn.plot("affine").axes[0].get_xlabel() == "transform (number)"
    assert len(drawn.summary()) == 5 * 3
