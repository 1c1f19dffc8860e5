"""What a probe has measured so far, in memory and, where it is to be written, on the disk.

A run is a row of stages, each of them some steps over the images that add to sums of fixed size and
to the table. Between two steps a journal may be committed: the rows since the last commit as a part
of their own, the sums of the stage as they stand. A killed probe that is started again finds what
the last commit holds and goes on with the next step; as each step does to the sums what it would
have done, the same additions in the same order, the table ends the same to the last bit.
"""

import json
import math
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor

from invariance_probe import files
from invariance_probe.alignment.metrics import METRICS
from invariance_probe.errors import InvalidInputError
from invariance_probe.machine import versions
from invariance_probe.results.reading import FORMAT
from invariance_probe.results.result import ProbeResult
from invariance_probe.results.rows import Block, Layout, wide_table
from invariance_probe.results.store import MOST_ROWS, InMemory, Rows, write_sorted
from invariance_probe.results.strips import Strip, load_strips, save_strips
from invariance_probe.results.tables import CONFIG, TABLE

PAUSE = 2.0
"""Seconds between two commits, at least: a run as short as that is sooner made anew."""
SHARE = 0.05
"""Share of a run's time that commits may take; they become rarer where sums are large."""
LOSS = 0.01
"""Share of a run's time that a kill may cost, where that is more than `PAUSE`: a run of days leaves
some hundreds of parts, and not a million."""

_RUN, _STATE = "run.json", "state.json"
_BYTES_A_SECOND = 5e8
"""A guess at how fast sums are written, until it is known."""
_PAIR_BYTES, _LEAST_BYTES = 100, 2e7
"""Disk that a run takes: rows of a pair and a method, as parts and in the table, and figures."""
_AT_ONCE = 2**26
"""Bytes of sums in one file, as writing a file takes as much memory again."""


class Journal:
    """Keeps rows, strips and sums of one run; `opened` makes one.

    Args:
        folder: Where to write the run; None to keep it in memory alone.

    Attributes:
        strips: Maps of one image, for the picture.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.strips: list[Strip] = []
        self._blocks: list[Block] = []
        self._tables: list[pd.DataFrame] = []
        self._drawn = 0
        self._layers: list[str] = []
        self._run: dict[str, Any] = {}
        self._states: list[_State] = []
        self._number = 0
        self._before, self._began, self._last = 0.0, time.monotonic(), time.monotonic()
        self._cost = 0.0

    @classmethod
    @contextmanager
    def opened(cls, out: str | Path | None) -> Iterator["Journal"]:
        """Take a folder for a run, before anything is computed.

        Args:
            out: The folder: new, empty, or a run's that is finished or was stopped; None for none.

        Yields:
            The journal; nobody else may have one of this folder meanwhile. What was made for it is
            gone afterwards, if nothing was measured.

        Raises:
            InvalidInputError: If the folder holds something else, cannot be written to, or another
                process has it.
        """  # noqa: DOC502  (raised by what is called)
        if out is None:
            yield cls(None)
            return
        folder = check_run_folder(out)
        work = folder / files.UNFINISHED
        try:
            with files.claimed(work):
                journal = cls(folder)
                try:
                    yield journal
                except BaseException:
                    if journal.seconds < PAUSE:
                        _clear(work)
                    raise
        finally:
            with suppress(OSError):  # which holds what was measured, or is gone
                work.rmdir()

    @property
    def seconds(self) -> float:
        """How long the run took, the time before it was stopped included."""
        return self._before + time.monotonic() - self._began

    def begin(self, run: Mapping[str, Any], pixels: Callable[[], str]) -> ProbeResult | None:
        """Say what is measured; find what was measured of it before.

        Args:
            run: All that the table depends on but the images' content; with the ``layers``.
            pixels: Reads all images, and returns a digest of their content.

        Returns:
            The result, if this very run is finished.

        Raises:
            InvalidInputError: If the folder holds another run.
        """
        self._layers = list(run["layers"])
        # through JSON, as what was written before is compared with it
        self._run = json.loads(json.dumps({"format": FORMAT, **run}))
        pairs = math.prod(len(run[name]) for name in ("images", "moves", "layers", "methods"))
        if self.folder is None:
            if pairs * len(METRICS) > MOST_ROWS:
                raise InvalidInputError(
                    f"this run will have {pairs * len(METRICS):,} rows, which do not go into "
                    "memory; give a folder for it (out=...), or probe fewer images at a time"
                )
            return None
        for each in (self.folder, self._work):
            files.discard_partial(each)  # nobody else is writing: the lease is ours
        if (self.folder / CONFIG).is_file():
            return self._finished(pixels)
        # another version may round differently, and half a run by each would be nobody's
        self._run["versions"] = versions()
        if (self._work / _RUN).is_file():
            self._refuse_other(files.read_json(self._work / _RUN))
            self._resume()
        files.check_room(self.folder, _LEAST_BYTES + _PAIR_BYTES * pairs)
        return None

    def add(self, blocks: Sequence[Block], strips: Sequence[Strip]) -> None:
        """Keep what a step brought.

        Args:
            blocks: Rows of the table.
            strips: Maps for the picture.
        """
        self._blocks += blocks
        self.strips += strips

    def add_table(self, table: pd.DataFrame | None, strips: Sequence[Strip]) -> None:
        """Keep what other steps brought, after all that was kept before.

        Args:
            table: Rows as of `rows.wide_table`; None if there are none.
            strips: Maps for the picture.
        """
        self._lay_out()
        self.strips += strips
        self._tables += [] if table is None else [table]

    def rows(self, layout: Layout) -> Rows:
        """Lay out all rows.

        Args:
            layout: What they stand for.

        Returns:
            The tidy table: in memory, or, where that should not hold it, in a file of the run's.
        """
        self._lay_out()
        written = self._written
        count = sum(map(files.count_rows, written)) + sum(map(len, self._tables))
        if written and count * len(layout.metrics) > MOST_ROWS:
            assert self.folder is not None
            self._commit_rows(self._number + 1)
            return write_sorted(self._written, layout, self._work / TABLE)
        parts = [*map(files.read_parquet, written), *self._tables]
        return InMemory(layout.tidy(pd.concat(parts, ignore_index=True)))

    def resumed(self, stage: str, tensors: Mapping[str, Tensor]) -> int:
        """Find how far a stage came before the run was stopped.

        Args:
            stage: The stage.
            tensors: What its steps write to; it is filled in as the last commit has it.

        Returns:
            The number of its steps that are done; more than it has, if it is finished.
        """
        state = next((state for state in self._states if state.stage == stage), None)
        if state is None:
            return 0
        state.fill(tensors)
        return state.done

    def follow(self, stage: str, tensors: Mapping[str, Tensor], steps: Iterable[int]) -> None:
        """Let the steps of a stage be carried out, and save from time to time what counts.

        Args:
            stage: The stage.
            tensors: What its steps write to.
            steps: Carries them out, and tells how many are done.
        """
        if any(state.stage == stage and state.done == _FINISHED for state in self._states):
            return
        self._cost = sum(tensor.nbytes for tensor in tensors.values()) / _BYTES_A_SECOND
        for done in steps:
            now = time.monotonic()
            pause = max(PAUSE, self._cost / SHARE, LOSS * self.seconds)
            if self.folder is not None and now - self._last > pause:
                self._commit(stage, done, tensors)
                self._last = time.monotonic()
                self._cost = self._last - now
        if self.folder is not None:
            # the next stage adds to other sums: these are written once more, and not again
            self._commit(stage, _FINISHED, tensors)
            for path in self.aside(stage).values():
                shutil.rmtree(path)

    def put_aside(self, stage: str, shard: int, write: Callable[[Path], None]) -> None:
        """Keep what a shard brought until those before it are there.

        Args:
            stage: The stage.
            shard: The shard.
            write: Writes it into an empty folder.
        """
        if self.folder is not None:
            with files.writable(self._work):
                if not (self._work / _RUN).is_file():
                    files.write_json(self._work / _RUN, self._run)
                with files.new_folder(self._work / f"aside-{stage}-{shard}") as partial:
                    write(partial)

    def aside(self, stage: str) -> dict[int, Path]:
        """Find the shards that were put aside.

        Args:
            stage: The stage.

        Returns:
            Their folders, by number.
        """
        if self.folder is None:
            return {}
        found = self._work.glob(f"aside-{stage}-*")
        return {int(path.name.rpartition("-")[2]): path for path in found}

    def finish(self, result: ProbeResult) -> ProbeResult:
        """Write the run folder, and remove what was kept for going on.

        Args:
            result: What was measured.

        Returns:
            The same, with its rows where they now are.
        """
        if self.folder is None:
            return result
        with files.fill_folder(self.folder, last=CONFIG) as partial:
            result.fill(partial)
        if not isinstance(result.rows, InMemory):
            result = ProbeResult.load(self.folder)
        _clear(self._work)
        return result

    @property
    def _work(self) -> Path:
        assert self.folder is not None
        return self.folder / files.UNFINISHED

    def _finished(self, pixels: Callable[[], str]) -> ProbeResult:
        """A result that was written before, if it is the one that is asked for."""
        assert self.folder is not None
        result = ProbeResult.load(self.folder)
        self._refuse_other(result.config)
        if result.config.get("pixels") != pixels():
            raise InvalidInputError(
                f"output folder {str(self.folder)!r} already contains another run: its images have "
                "the same names and other pixels; give a new one, or remove it"
            )
        _clear(self._work)  # of a process that was killed while it removed that
        return result

    def _refuse_other(self, there: Mapping[str, Any]) -> None:
        """Stop where a folder holds a run of something else."""
        differ = [name for name, value in self._run.items() if there.get(name) != value]
        short = [
            f"{name}={there.get(name)!r} there, {self._run[name]!r} here"
            if len(f"{there.get(name)}{self._run[name]}") < 80
            else f"other {name}"
            for name in differ
        ]
        if differ:
            raise InvalidInputError(
                f"output folder {str(self.folder)!r} already contains another run "
                f"({'; '.join(short)}); give a new one, or remove it"
            )

    def _resume(self) -> None:
        """Read what the last commit holds, and remove what was written after it."""
        states = sorted(map(_State.read, self._work.glob("state-*")), key=lambda one: one.number)
        self._number = states[-1].number if states else 0
        for state in states:
            if state.done == _FINISHED or state.number == self._number:
                self._states.append(state)
            else:
                shutil.rmtree(state.folder)
        for path in sorted(self._work.glob("*-*.*")):
            kind, _, number = path.stem.partition("-")
            if not number.isdecimal() or int(number) > self._number:
                path.unlink()
            elif kind == "rows":
                files.count_rows(path)  # a file that breaks off is found before the work, not after
            elif kind == "strips":
                self.strips += load_strips(path)
        self._drawn = len(self.strips)
        self._before = states[-1].seconds if states else 0.0

    @property
    def _written(self) -> list[Path]:
        """Files of rows, up to the last commit."""
        return [] if self.folder is None else sorted(self._work.glob("rows-*.parquet"))

    def _lay_out(self) -> None:
        """Take the last blocks into the tables."""
        blocks, self._blocks = self._blocks, []
        if blocks:
            self._tables.append(wide_table(blocks, self._layers))

    def _commit_rows(self, number: int) -> None:
        """Write the rows since the last commit; they are read again when all are there."""
        self._lay_out()
        if self._tables:
            rows = pd.concat(self._tables, ignore_index=True)
            files.write_file(self._work / f"rows-{number:06}.parquet", rows.to_parquet)
            self._tables = []

    def _commit(self, stage: str, done: int, sums: Mapping[str, Tensor]) -> None:
        """Write what came since the last commit, then the sums, which make it count."""
        with files.writable(self._work):
            number, stem = self._number + 1, f"{self._number + 1:06}"
            if not (self._work / _RUN).is_file():
                files.write_json(self._work / _RUN, self._run)
            self._commit_rows(number)
            if self._drawn < len(self.strips):
                strips, self._drawn = self.strips[self._drawn :], len(self.strips)
                path = self._work / f"strips-{stem}.npz"
                files.write_file(path, lambda partial: save_strips(partial, strips))
            state = _State(
                folder=self._work / f"state-{stem}",
                number=number,
                stage=stage,
                done=done,
                seconds=self.seconds,
            )
            state.write(sums)
            for old in self._states:
                if old.done < _FINISHED:
                    shutil.rmtree(old.folder)
            self._states = [*(one for one in self._states if one.done == _FINISHED), state]
            self._number = number


_FINISHED = sys.maxsize
"""Steps done of a stage that is finished."""


@dataclass(frozen=True, kw_only=True)
class _State:
    """Sums of a stage as a commit left them."""

    folder: Path
    number: int
    stage: str
    done: int
    seconds: float

    @classmethod
    def read(cls, folder: Path) -> "_State":
        """Read what the sums are of, and not yet the sums."""
        told = files.read_json(folder / _STATE)
        with files.reading(folder / _STATE):
            return cls(
                folder=folder,
                number=int(folder.name.partition("-")[2]),
                stage=str(told["stage"]),
                done=int(told["done"]),
                seconds=float(told["seconds"]),
            )

    def write(self, sums: Mapping[str, Tensor]) -> None:
        """Write them, whole or not at all."""
        with files.new_folder(self.folder) as partial:
            for number, some in enumerate(_some_at_once(sums)):
                files.write_tensors(partial / f"{number}.safetensors", some)
            told = {"stage": self.stage, "done": self.done, "seconds": self.seconds}
            files.write_json(partial / _STATE, told)

    def fill(self, sums: Mapping[str, Tensor]) -> None:
        """Write them into the sums of a run that goes on."""
        there: dict[str, Tensor] = {}
        for path in sorted(self.folder.glob("*.safetensors")):
            there |= files.read_tensors(path)
        if {n: t.shape for n, t in there.items()} != {n: t.shape for n, t in sums.items()}:
            raise InvalidInputError(
                f"folder {str(self.folder)!r} is damaged: it holds sums of another run; remove the "
                "run folder, and run the same command again"
            )
        for name, tensor in sums.items():
            tensor.copy_(there[name])


def check_run_folder(out: str | Path) -> Path:
    """Refuse a folder in which a probe can neither begin nor go on.

    Args:
        out: Where a run is to be written.

    Returns:
        The folder: it does not exist, is empty, or holds a run, whose `Journal.begin` tells whether
        it is this one.

    Raises:
        InvalidInputError: If it holds anything else, or cannot be written to.
    """  # noqa: DOC502  (raised by what is called)
    path = files.checked_folder(out)
    if path.is_dir() and {CONFIG, files.UNFINISHED} & files.held_by(path):
        return path
    files.check_out(path)
    return path


def _some_at_once(sums: Mapping[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """Split sums, so that a copy of a part stays small."""
    some: dict[str, Tensor] = {}
    size = 0
    for name, tensor in sums.items():
        if some and size + tensor.nbytes > _AT_ONCE:
            yield some
            some, size = {}, 0
        some[name] = tensor
        size += tensor.nbytes
    yield some


def _clear(folder: Path) -> None:
    """Empty a folder but for the lease on it; what says which run it is goes last."""
    for path in sorted(folder.iterdir(), key=lambda path: path.name == _RUN):
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name == _RUN or path.suffix in {".parquet", ".npz"}:
            path.unlink()
