"""Ways in which the files of a run folder are damaged."""

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import invariance_probe as ip
from invariance_probe import report
from invariance_probe.report.html import render
from invariance_probe.training import runs, trainer
from invariance_probe.training.runs import TrainResult
from tests.training import interrupting, tiny

Damage = Callable[[Path], object]
_VALUES: tuple[object, ...] = (None, True, -1, 1e999, "x", [], {}, [None], {"a": 1}, [[1]])


def _bytes(change: Callable[[bytes], bytes]) -> Damage:
    return lambda path: path.write_bytes(change(path.read_bytes()))


def _flipped(content: bytes, seed: int) -> bytes:
    drawn, out = random.Random(seed), bytearray(content)
    for _ in range(max(1, len(out) // 100)):
        out[drawn.randrange(len(out))] = drawn.randrange(256)
    return bytes(out)


def any_file() -> dict[str, Damage]:
    """Damage whatever a file holds."""
    return {
        "missing": Path.unlink,
        "empty": _bytes(lambda _: b""),
        "half": _bytes(lambda content: content[: len(content) // 2]),
        "cut short": _bytes(lambda content: content[:-7]),
        "zeros": _bytes(lambda content: bytes(len(content))),
        "noise": _bytes(lambda content: random.Random(0).randbytes(len(content))),
        "longer": _bytes(lambda content: content + content),
        "flipped": _bytes(lambda content: _flipped(content, 1)),
        "flipped again": _bytes(lambda content: _flipped(content, 2)),
        "a folder": lambda path: (path.unlink(), path.mkdir()),
        "not UTF-8": _bytes(lambda content: b"\xff\xfe\xd8" + content),
        "another format": lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n"),
    }


def _changed(keys: tuple[str | int, ...], value: object) -> Damage:
    def change(path: Path) -> None:
        about = json.loads(path.read_text(encoding="utf-8"))
        place = about
        for key in keys[:-1]:
            place = place[key]
        if value is ...:
            del place[keys[-1]]
        else:
            place[keys[-1]] = value
        path.write_text(json.dumps(about), encoding="utf-8")

    return change


def json_files(keys: tuple[tuple[str | int, ...], ...]) -> Iterator[tuple[str, Damage]]:
    """Damage JSON that stays JSON.

    Args:
        keys: Ways to the values that a reader needs.

    Yields:
        Name and damage.
    """
    for text in ("null", "[]", "3", '"x"', "{}", "[" * 100_000, '{"a": NaN}'):
        yield f"is {text[:6]}", lambda path, t=text: path.write_text(t, encoding="utf-8")
    for way in keys:
        for value in (..., *_VALUES):
            yield f"{'.'.join(map(str, way))} = {value!r}", _changed(way, value)


def tables(columns: tuple[str, ...]) -> Iterator[tuple[str, Damage]]:
    """Damage tables that stay tables.

    Args:
        columns: Those that a reader needs.

    Yields:
        Name and damage.
    """

    def change(path: Path, how: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
        csv = path.suffix == ".csv"
        table = how(pd.read_csv(path) if csv else pd.read_parquet(path))
        table.to_csv(path, index=False) if csv else table.to_parquet(path, index=False)

    for name in columns:
        yield f"without {name}", lambda path, n=name: change(path, lambda t: t.drop(columns=n))
        for value in ("x", 99, np.nan, "-5"):
            yield (
                f"{name} is {value}",
                lambda path, n=name, v=value: change(path, lambda t: t.assign(**{n: v})),
            )
    yield "without rows", lambda path: change(path, lambda table: table.iloc[:0])


def make_run_folders(root: Path) -> dict[str, Path]:
    """Write a probe, maps put back, a finished and an interrupted training."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(784, 4))
    images = torch.rand(3, 3, 16, 16)
    moves = [ip.Rotation(90), ip.Rotation(30)]
    methods = ["oracle", "oracle+permutation"]
    ip.probe(net, images, layers="0", transforms=moves, methods=methods, out=root / "probe")
    methods = ["identity", "input", "oracle"]
    ip.recover(net, images, layers="0", transforms=moves, methods=methods, out=root / "put back")
    trainer.train(tiny.config(), root / "training", dataset=tiny.dataset())
    with pytest.MonkeyPatch.context() as patch:
        interrupting.interrupted(root / "interrupted", patch)
    return {path.name: path for path in root.iterdir()}


def report_of(folder: Path) -> None:
    """Make the page of a run folder."""
    render(report.page(report.find([folder], report.SIGNS)))


def read_training(folder: Path) -> None:
    """Read a training, and the table of it."""
    TrainResult.load(folder)
    runs.table(runs.read_runs(folder))


def go_on(folder: Path) -> None:
    """Go on with a training that was interrupted."""
    trainer.train(tiny.config(), folder, dataset=tiny.dataset())


def readers(read_probe: Callable[[Path], None]) -> dict[str, tuple[Callable[[Path], None], ...]]:
    """List what is done with each of `make_run_folders`."""
    return {
        "probe": (read_probe, report_of),
        "put back": (read_probe, report_of),
        "training": (read_training, report_of),
        "interrupted": (go_on,),
    }
