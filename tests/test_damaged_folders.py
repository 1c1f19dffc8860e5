"""Damaged run folders are read, or refused in one line that names a path."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import invariance_probe as ip
from invariance_probe.results.figures import kinds
from tests import damage
from tests.profiles import THOROUGH

PROBE_KEYS = (
    *((name,) for name in ("model", "layers", "images", "methods", "moves", "provenance")),
    *((name,) for name in ("near_duplicates", "unmeasured", "format", "seed")),
    ("moves", 0),
    ("moves", 0, "kind"),
    ("moves", 0, "parameter"),
    ("moves", 0, "matrix"),
)
TRAIN_KEYS = (
    *((name,) for name in ("config", "numbers", "provenance", "format")),
    *(("config", name) for name in ("data", "variant", "seed", "width", "steps", "rate")),
    *(("numbers", name) for name in ("outcome", "error", "seconds", "slope_degrees")),
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A probe, maps put back, a finished and an interrupted training."""
    return damage.make_run_folders(tmp_path_factory.mktemp("runs"))


def _read_probe(folder: Path) -> None:
    result = ip.ProbeResult.load(folder)
    result.summary()
    for kind in kinds(result):
        if kind != "maps":
            result.plot(kind)
    for strip in result.strips:
        assert strip.maps.shape[1] == len(strip.channels)


READERS = damage.readers(_read_probe)


def _damages() -> Iterator[tuple[str, str, str, damage.Damage]]:
    files = {
        "probe": "config.json results.parquet layers.csv summary.csv channels.parquet maps.npz "
        "figures/depth.svg figures/depth.png",
        "put back": "config.json results.parquet summary.csv predictions.csv recovered.csv",
        "training": "result.json curve.parquet images.parquet",
        "interrupted": "state.json model.safetensors optimizer.safetensors",
    }
    for folder, names in files.items():
        for name in names.split():
            for how, does in damage.any_file().items():
                yield folder, name, how, does
    columns = ("layer", "image", "method", "metric", "value", "transform_number", "outcome")
    for how, does in damage.json_files(PROBE_KEYS):
        yield "probe", "config.json", how, does
    for how, does in damage.json_files(TRAIN_KEYS):
        yield "training", "result.json", how, does
    for how, does in damage.json_files((("step",), ("config",), ("state",), ("state", "curve"))):
        yield "interrupted", "state.json", how, does
    for how, does in damage.tables(columns):
        yield "probe", "results.parquet", how, does
    for how, does in damage.tables(("name", "channels", "stride_y")):
        yield "probe", "layers.csv", how, does
    for how, does in damage.tables(("layer", "transform", "method", "metric", "mean", "low")):
        yield "probe", "summary.csv", how, does
    for how, does in damage.tables(("layer", "warp", "channel", "source", "better")):
        yield "probe", "channels.parquet", how, does
    for how, does in damage.tables(("rank", "name", "probability", "method")):
        yield "put back", "predictions.csv", how, does
    for how, does in damage.tables(("layer", "method", "share", "low")):
        yield "put back", "recovered.csv", how, does


CASES = list(_damages())
PARTS = 32
"""Of the cases; all of them take minutes, and are tried where there is time."""


def test_damages_are_many() -> None:
    """Hundreds of damages, no two alike."""
    assert len({case[:3] for case in CASES}) == len(CASES) > 400


@pytest.mark.parametrize("part", range(PARTS) if THOROUGH else (0, 13))
# what damaged numbers overflow to is no concern here
@pytest.mark.filterwarnings("ignore")
def test_damaged_folders_are_refused_in_a_line_or_read(
    folders: dict[str, Path], tmp_path: Path, part: int
) -> None:
    """Whatever a file holds, only the package's own error comes out, in one line with a path."""
    raw, vague = {}, {}
    for number, (name, file, how, does) in enumerate(CASES):
        if number % PARTS != part:
            continue
        folder = tmp_path / str(number)
        shutil.copytree(folders[name], folder)
        inside = folder / "checkpoint-000000008" / file if name == "interrupted" else folder / file
        does(inside)
        for reader in READERS[name]:
            case = f"{reader.__name__} {name}/{file} {how}"
            try:
                reader(folder)
            except ip.InvalidInputError as error:
                if "\n" in str(error) or str(tmp_path) not in str(error):
                    vague[case] = str(error)
            except Exception as error:
                raw[case] = f"{type(error).__name__}: {error}"[:120]
        shutil.rmtree(folder)
    assert raw == {}
    assert vague == {}
