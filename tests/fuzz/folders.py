"""Run folders of probes and trainings, one file or value of them damaged."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import invariance_probe as ip
from tests.damage import make_run_folders, readers
from tests.fuzz.judging import Judge
from tests.fuzz.mutations import damaged
from tests.profiles import share

Reader = Callable[[Path], object]
ODD = st.one_of(
    st.sampled_from((None, True, -1, 0, 10**30, 1e308, float("nan"), float("inf"), "", "x" * 9)),
    st.sampled_from(([], {}, [None], [[1]], {"a": 1}, "\0", "\ud800", "a\nb", 0.5, "1")),
    st.text(max_size=5),
)


def _read_probe(folder: Path) -> None:
    result = ip.ProbeResult.load(folder)
    result.summary()
    if result.channels is not None:
        result.moving()


READERS = readers(_read_probe)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A probe, maps put back, a finished and an interrupted training."""
    return make_run_folders(tmp_path_factory.mktemp("runs"))


def _spoil_json(data: st.DataObject, path: Path) -> None:
    """Put another value anywhere into JSON."""
    about: Any = json.loads(path.read_text(encoding="utf-8"))
    place = about
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return
        key = data.draw(st.sampled_from(keys))
        inside = place[key]
        if not isinstance(inside, dict | list) or data.draw(st.booleans()):
            break
        place = inside
    if data.draw(st.booleans()):
        place[key] = data.draw(ODD)
    else:
        del place[key]
    path.write_text(json.dumps(about), encoding="utf-8")


def _spoil_table(data: st.DataObject, path: Path) -> None:
    """Change a column, a cell or the rows of a table."""
    csv = path.suffix == ".csv"
    table = pd.read_csv(path) if csv else pd.read_parquet(path)
    name = data.draw(st.sampled_from(list(table)))
    match data.draw(st.sampled_from(["drop", "fill", "cell", "rows", "shuffle", "type"])):
        case "drop":
            table = table.drop(columns=name)
        case "fill":
            table[name] = data.draw(st.sampled_from(("x", 99, -5, 1e300, np.nan, True, None)))
        case "cell" if len(table):
            table[name] = table[name].astype(object)
            table.loc[0, name] = data.draw(st.sampled_from((None, -1, 99, 0.5)))
        case "rows":
            table = table.iloc[: data.draw(st.integers(0, 3))]
        case "shuffle":
            table[name] = table[name].to_numpy()[::-1]
        case "type":
            table[name] = table[name].astype(str)
    try:
        table.to_csv(path, index=False) if csv else table.to_parquet(path, index=False)
    except Exception:  # no file could hold it
        return


@pytest.mark.parametrize("name", READERS)
def test_damaged_run_folders(folders: dict[str, Path], tmp_path: Path, name: str) -> None:
    """A run folder is read, or refused in a line with a path, whatever of it is damaged."""
    whole = folders[name]
    files = sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file())
    judge = Judge()

    @share(8)
    @given(st.data())
    def folders_are_read_or_refused(data: st.DataObject) -> None:
        folder = tmp_path / "run"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(whole, folder)
        path = folder / data.draw(st.sampled_from(files))
        spoilers = {".json": _spoil_json, ".csv": _spoil_table, ".parquet": _spoil_table}
        if path.suffix in spoilers and data.draw(st.integers(0, 2)):
            spoilers[path.suffix](data, path)
        else:
            path.write_bytes(data.draw(damaged(path.read_bytes())))
        for reader in READERS[name]:
            judge(lambda read=reader: read(folder))

    folders_are_read_or_refused()
    judge.saw_both(name)
