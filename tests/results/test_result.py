"""Results: run folders come back, and are written whole or not at all."""

import json
from importlib import metadata
from pathlib import Path

import pandas as pd
import pytest

from invariance_probe.errors import InvalidInputError
from invariance_probe.plane.transforms import Rotation, Scaling
from invariance_probe.results import figures, style
from invariance_probe.results.result import ProbeResult
from tests.results.planted import EXPLAINED, permuted, planted, put_back, strip


@pytest.fixture(scope="module")
def explained() -> ProbeResult:
    """A run with everything that a run can have."""
    return planted(
        EXPLAINED,
        moves=[Rotation(90), Scaling(0.5)],
        strips=[strip("shallow"), strip("deep")],
        permutations=permuted([1, 2, 3, 0]),
    )


def test_a_run_folder_comes_back_the_same(explained: ProbeResult, tmp_path: Path) -> None:
    """load(save(result)) says the same of everything, and the folder holds every figure twice."""
    folder = explained.save(tmp_path / "run")
    loaded = ProbeResult.load(folder)
    assert type(loaded) is ProbeResult
    pd.testing.assert_frame_equal(loaded.frame(), explained.frame(), check_exact=True)
    pd.testing.assert_frame_equal(loaded.summary(), explained.summary(), check_exact=True)
    pd.testing.assert_frame_equal(
        loaded.decomposition(), explained.decomposition(), check_categorical=False
    )
    assert loaded.config == explained.config
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    drawn = {f"figures/{k}.{s}" for k in figures.kinds(explained) for s in ("png", "svg")}
    data = {"results.parquet", "summary.csv", "layers.csv", "config.json", "maps.npz"}
    assert names == data | drawn | {"channels.parquet"}
    assert loaded.plot("depth").axes


def test_a_check_of_the_identity_alone_can_be_saved(tmp_path: Path) -> None:
    """A run in which nothing moves has an empty summary, and a folder all the same."""
    still = planted(EXPLAINED, moves=[Rotation(0)])
    assert still.summary().empty
    loaded = ProbeResult.load(still.save(tmp_path / "run"))
    assert len(loaded.frame()) == len(still.frame())


def test_provenance_says_where_the_numbers_come_from(explained: ProbeResult) -> None:
    """Versions, commit, platform and time stand in the configuration, which is plain JSON."""
    assert json.loads(json.dumps(explained.config)) == explained.config
    provenance = explained.config["provenance"]
    assert provenance["versions"]["torch"] == metadata.version("torch")
    assert {"git_commit", "git_dirty", "wall_time_s", "date", "platform"} <= provenance.keys()
    moves = explained.config["moves"]
    assert [(move["kind"], move["parameter"]) for move in moves] == [
        ("rotation", 90),
        ("scaling", 0.5),
    ]


def test_channels_name_the_transform_that_moved_them(explained: ProbeResult) -> None:
    """The table of channels has kind and parameter beside the transform's number."""
    columns = ["layer", "transform", "parameter", "transform_number"]
    assert explained.channels[columns].iloc[0].tolist() == ["shallow", "rotation", 90, 0]


def test_images_one_by_one_make_the_summary(explained: ProbeResult) -> None:
    """The means of per_image are those of the summary, in the same order of groups."""
    keys = ["layer", "transform", "method", "metric"]
    one_by_one = explained.per_image()
    assert list(one_by_one) == [*keys, "image", "value"]
    means = one_by_one.groupby(keys, observed=True)["value"].mean()
    summary = explained.summary().set_index(keys)["mean"]
    pd.testing.assert_series_equal(means, summary, check_names=False)
    assert one_by_one["image"].tolist()[:4] == ["image 0", "image 1", "image 2", "image 0"]


def test_the_worst_pairs_come_first(explained: ProbeResult) -> None:
    """They are those of the best warp, beside their floors; other methods are asked for by name."""
    found = explained.worst(3)
    assert found["value"].tolist() == [1.1, 1.1, 0.9]
    assert found["image"].tolist() == ["image 1", "image 1", "image 0"]
    assert found["floor"].tolist() == [0.1, 0.1, 0.1]
    assert explained.worst(1, method="oracle")["value"].tolist() == [1.2]
    with pytest.raises(InvalidInputError, match="'flow' was not measured; this run has oracle"):
        explained.worst(method="flow")
    # where the highest value is best, the lowest is worst
    back = put_back()
    assert (
        back.worst(1)["value"][0]
        == back.per_image().query("method == 'oracle' and metric == 'agreement'")["value"].min()
    )


def test_a_figure_shows_itself_in_a_notebook(explained: ProbeResult) -> None:
    """Figures bring their picture, as pyplot, which would show them, is not imported."""
    assert explained.plot("depth")._repr_png_().startswith(b"\x89PNG")


def test_folders_that_hold_something_are_refused(explained: ProbeResult, tmp_path: Path) -> None:
    """A run never overwrites another, nor other files."""
    folder = explained.save(tmp_path / "run")
    with pytest.raises(InvalidInputError, match="contains another run; give a new one"):
        explained.save(folder)
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(InvalidInputError, match="contains other files"):
        explained.save(other)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["other", "run"]


def test_nothing_half_written_is_left_after_an_error(
    explained: ProbeResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If drawing fails, neither the folder nor a partial one remains."""

    def fail(*_arguments: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(style, "save", fail)
    with pytest.raises(OSError, match="no space left"):
        explained.save(tmp_path / "run")
    assert list(tmp_path.iterdir()) == []
