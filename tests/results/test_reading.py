"""Run folders are read by their format; those of version 0.1.0 too, later ones by name only."""

import json
from pathlib import Path

import pytest

import invariance_probe as ip
from invariance_probe.results.reading import FORMAT, read_config
from tests.results.planted import EXPLAINED, planted


@pytest.mark.parametrize("told", [FORMAT + 1, 0, "2", None, 2.0])
def test_other_formats_are_refused_by_name(tmp_path: Path, told: object) -> None:
    """A folder of a format that this version does not know is not guessed at."""
    folder = _saved(tmp_path, told)
    said = f"config.json' is of format {told!r}, and this version reads up to {FORMAT}; install"
    with pytest.raises(ip.InvalidInputError, match=said):
        ip.ProbeResult.load(folder)


def test_folders_of_the_first_version_are_read(tmp_path: Path) -> None:
    """They name no format."""
    folder = _saved(tmp_path, FORMAT)
    about = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    del about["format"]
    (folder / "config.json").write_text(json.dumps(about), encoding="utf-8")
    assert len(ip.ProbeResult.load(folder).frame())


def _saved(root: Path, told: object) -> Path:
    result = planted(EXPLAINED)
    result.config["format"] = told
    result.write(root)
    return root


@pytest.mark.parametrize(
    "other",
    [
        {"partners": None},
        {"partners": ["1", "0"]},
        {"partners": [5, 0]},
        {"partners": [None] * 9},
        {"floor": 3},
        {"floor": {"shifts": []}},
        {"floor": {"shifts": [], "errors": {"a": "x"}}},
    ],
    ids=str,
)
def test_what_a_configuration_says_of_its_images_is_read_on_no_trust(
    other: dict[str, object], tmp_path: Path
) -> None:
    """Partners that are no images of the run, a floor that is told in part: damaged, in a line."""
    path = _saved(tmp_path, FORMAT) / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    assert read_config(path) == config
    path.write_text(json.dumps(config | other), encoding="utf-8")
    with pytest.raises(ip.InvalidInputError, match="not the configuration of a probe"):
        read_config(path)
