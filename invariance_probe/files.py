"""Files and folders that are there whole or not at all, and the cache in the user's home.

What is written goes into a folder beside its place first, is flushed to the disk, and is then
renamed, which file systems do in one step: a reader, or the same command after a kill, finds what
was there before or all of what is new. Tensors are read from formats that cannot run code.
"""

import errno
import hashlib
import json
import math
import os
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import filelock
import pandas as pd
import torch
from pyarrow import parquet
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from invariance_probe.errors import InvalidInputError, first_line, refusing

_PARTIAL = ".partial-"
_LOCK = ".lock"
_PATIENCE = 5.0
"""Seconds to wait for a folder that another process writes to: those of a killed parent take some
tenths to notice."""
UNFINISHED = "unfinished"
"""Folder within a run folder that holds what was measured until it is whole."""
_WEIGHTS = ("state_dict", "model", "model_state_dict", "state_dict_ema", "model_ema", "net")
"""What a checkpoint calls the state dict that it holds beside other things."""
_PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin")

LIMIT = "INVARIANCE_PROBE_UNPACKED_GB"
"""Environment variable: what a file may take in memory beyond its own size, in GB."""
UNPACKED = 10**9
"""The same in bytes, unless it is set."""


def write_file(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file whole or not at all.

    Args:
        path: Where to; an older file there is replaced at once.
        write: Is given another path of the same name, to write to. A full disk becomes an
            `InvalidInputError`.
    """
    with _beside(path) as partial:
        write(partial)
        _flush(partial)
        partial.replace(path)
        _flush(path.parent)


def write_text(path: Path, text: str) -> None:
    """Write a text, in UTF-8, whole or not at all.

    Args:
        path: Where to; an older file there is replaced at once.
        text: What to write.
    """
    write_file(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON whole or not at all.

    Args:
        path: Where to; an older file there is replaced at once.
        content: What to write; NaN and infinities become null, as JSON has none of them.
    """
    write_text(path, json.dumps(_without_nan(content), indent=2, allow_nan=False) + "\n")


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors in the safetensors format, whole or not at all.

    Args:
        path: Where to; an older file there is replaced at once.
        tensors: By name.
    """
    # the format holds neither strides nor devices
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}

    def write(partial: Path) -> None:
        partial.touch()
        mode = partial.stat().st_mode
        save_file(plain, partial)
        partial.chmod(mode)  # safetensors leaves a file to its owner alone

    write_file(path, write)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read tensors from a safetensors file, and from nothing that could run code.

    Args:
        path: The file.

    Returns:
        Tensors by name, on the CPU.

    Raises:
        InvalidInputError: If the file is missing, damaged, or a pickle.
    """
    if path.suffix in _PICKLES:
        raise InvalidInputError(
            f"weights file {str(path)!r}: pickles can run code and are refused; save the weights "
            "as safetensors"
        )
    _refuse_missing(path)
    with refusing(
        lambda _: (
            f"weights file {str(path)!r} is damaged: not a complete safetensors file "
            "(pickles can run code and are refused); remove it, or give another"
        )
    ):
        tensors: dict[str, Tensor] = load_file(path)
    return tensors


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Name a file, and the cause, where it cannot be read.

    Args:
        path: The file.

    Yields:
        Nothing; whatever is raised within becomes an `InvalidInputError`.

    Raises:
        OSError: Within, if it is a pipe, a device or a folder.
    """
    with refusing(
        lambda cause: (
            f"file {str(path)!r} is damaged or missing ({cause}); restore it, or make the run again"
        )
    ):
        if path.exists() and not path.is_file():  # a pipe would be waited for for ever
            raise OSError("it is no file")
        yield


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Args:
        path: The file.

    Returns:
        What it holds.

    Raises:
        InvalidInputError: If it is damaged, or holds something else.
    """
    with reading(path):
        # an empty list, three characters, takes 64 bytes
        refuse_explosion(path, 25.0 * path.stat().st_size)
        held: object = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(held, dict):
        raise InvalidInputError(
            f"file {str(path)!r} is damaged: a {type(held).__name__}, and no object of JSON; "
            "restore it, or make the run again"
        )
    return held


def check_format(path: Path, about: Mapping[str, Any], known: int) -> None:
    """Refuse what a later version wrote.

    Args:
        path: The file to name.
        about: What is in it; version 0.1.0 named no format, which counts as 1.
        known: The latest format that can be read.

    Raises:
        InvalidInputError: If it is of another format than those up to `known`.
    """
    told = about.get("format", 1)
    if type(told) is not int or not 1 <= told <= known:
        raise InvalidInputError(
            f"file {str(path)!r} is of format {told!r}, and this version reads up to {known}; "
            "install a newer invariance-probe, or restore the file"
        )


def limit() -> float:
    """Look up what a file may take in memory beyond its own size.

    Returns:
        Bytes: `UNPACKED`, or what the environment variable `LIMIT` says in GB.
    """
    with suppress(ValueError):
        told = 1e9 * float(os.environ.get(LIMIT, ""))
        return UNPACKED if math.isnan(told) else told
    return UNPACKED


def refuse_explosion(path: Path, unpacked: float) -> None:
    """Refuse a small file that would fill the memory.

    Args:
        path: The file.
        unpacked: Bytes that its content takes, as its own headers tell.

    Raises:
        InvalidInputError: If these are more than `UNPACKED`, or what the environment variable
            `LIMIT` says, beyond the bytes of the file itself.
    """
    most, size = limit(), path.stat().st_size
    if unpacked > size + most:
        raise InvalidInputError(
            f"file {str(path)!r} of {size / 1e6:.1f} MB would take {unpacked / 1e9:.1f} GB, more "
            f"than the limit of {most / 1e9:g} GB beyond its size; if it is meant, set {LIMIT} to "
            "more GB"
        )


def unzipped(path: Path) -> int:
    """Add up what a ZIP archive holds, as its directory tells.

    Args:
        path: The file.

    Returns:
        Bytes; 0 if it is no archive.
    """
    if not zipfile.is_zipfile(path):
        return 0
    with zipfile.ZipFile(path) as archive:
        return sum(entry.file_size for entry in archive.infolist())


def read_parquet(path: Path) -> pd.DataFrame:
    """Read a table.

    Args:
        path: A Parquet file, whose columns may be compressed to next to nothing.

    Returns:
        The table; a damaged file, or one that would fill the memory, is refused with an
        `InvalidInputError`.
    """
    with reading(path):
        about = parquet.read_metadata(path)
        groups = range(about.num_row_groups)
        encoded = sum(about.row_group(number).total_byte_size for number in groups)
        # tables of measurements grow threefold from how they are encoded, names being repeated
        cells = 8.0 * about.num_rows * about.num_columns
        refuse_explosion(path, max(encoded, cells - 10 * encoded))
        table: pd.DataFrame = pd.read_parquet(path)
        return table


def count_rows(path: Path) -> int:
    """Count the rows of a table, without reading them.

    Args:
        path: A Parquet file.

    Returns:
        Their number; a damaged file is refused with an `InvalidInputError`.
    """
    with reading(path):
        rows: int = parquet.read_metadata(path).num_rows
        return rows


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read the weights of a module, as their publishers save them.

    Args:
        path: A ``.safetensors`` file, or any other that torch loads with ``weights_only=True``: a
            state dict, or a dictionary that holds one as ``state_dict`` or ``model``.

    Returns:
        Tensors by name, on the CPU.

    Raises:
        InvalidInputError: If the file is missing, damaged, would run code, or holds something else.
    """
    if path.suffix == ".safetensors":
        return read_tensors(path)
    _refuse_missing(path)
    with refusing(
        lambda _: (
            f"weights file {str(path)!r} is refused: it is not a plain state dict (loading "
            "it could run code, or it is damaged); save module.state_dict() as .safetensors"
        )
    ):
        refuse_explosion(path, unzipped(path))
        with warnings.catch_warnings(action="ignore"):  # what is refused is told once
            held: object = torch.load(path, map_location="cpu", weights_only=True)
    inside = [held[n] for n in _WEIGHTS if isinstance(held, dict) and isinstance(held.get(n), dict)]
    held = inside[0] if inside else held
    if not isinstance(held, dict) or not all(isinstance(v, Tensor) for v in held.values()):
        raise InvalidInputError(
            f"weights file {str(path)!r} contains no state dict; save module.state_dict()"
        )
    return held


def difference(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """Say where a stored configuration differs from another.

    Args:
        there: What is stored.
        here: What it should be; what one of the two lacks counts as None.

    Returns:
        ``"rate=0.1 there, 0.2 here"``, joined by semicolons; empty if they are the same.
    """
    return "; ".join(
        f"{name}={there.get(name)} there, {here.get(name)} here"
        for name in sorted({*there, *here})
        if there.get(name) != here.get(name)
    )


def check_out(out: str | Path | None) -> Path | None:
    """Refuse an output folder that something else lies in, or that cannot be made.

    Args:
        out: Where a run is to be written.

    Returns:
        The folder, which does not exist or is empty; it may be a link to an empty one.

    Raises:
        InvalidInputError: If it holds anything, is a file, or is no name of a folder.
    """
    if out is None:
        return None
    path = checked_folder(out)
    if path.is_dir() and (held := held_by(path)):
        what = "another run" if {"config.json", UNFINISHED} & held else "other files"
        raise InvalidInputError(
            f"output folder {str(path)!r} already contains {what}; give a new one, or remove it"
        )
    return path


def checked_folder(out: str | Path) -> Path:
    """Refuse a folder that can neither be made nor be written to, before anything is computed.

    Args:
        out: A path.

    Returns:
        The path; nothing has been made.

    Raises:
        InvalidInputError: If it is no path, too long, or a file, or if it, or the folder that it
            would lie in, is a file or may not be written to.
    """
    if not isinstance(out, str | Path) or not str(out) or "\0" in str(out):
        raise InvalidInputError(f"output {out!r}: give the path of a folder")
    path = Path(out)
    with writable(path):
        with suppress(FileNotFoundError, NotADirectoryError):
            path.stat()  # a name that is too long, or a loop of links, says so here
        existing = path
        while not os.path.lexists(existing):
            existing = existing.parent
        if not existing.is_dir():
            what = "is a file" if existing == path else f"cannot lie in the file {str(existing)!r}"
            raise InvalidInputError(
                f"output {str(path)!r} {what}; give a folder that does not exist"
            )
        may_write = os.access(existing, os.W_OK | os.X_OK)
    if not may_write:
        raise InvalidInputError(
            f"output folder {str(path)!r} cannot be written to (no permission in "
            f"{str(existing)!r}); give another one"
        )
    return path


def held_by(folder: Path) -> set[str]:
    """List what lies in a folder, but for what a killed process left half written.

    Args:
        folder: A folder.

    Returns:
        Names.
    """
    with writable(folder):
        return {each.name for each in folder.iterdir() if not each.name.startswith(_PARTIAL)}


def check_room(folder: Path, needed: float) -> None:
    """Refuse a folder on a disk that is nearly full.

    Args:
        folder: A folder that exists.
        needed: Bytes that will be written to it.

    Raises:
        InvalidInputError: If there are less.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise InvalidInputError(
            f"the disk of output folder {str(folder)!r} has {free / 1e6:.0f} MB left, and this run "
            f"may take {needed / 1e6:.0f} MB; free some space, or give a folder elsewhere"
        )


@contextmanager
def writable(path: Path) -> Iterator[None]:
    """Name a folder, and the cause, where it cannot be written to.

    Args:
        path: The folder.

    Yields:
        Nothing.

    Raises:
        InvalidInputError: If the system refuses something within.
    """
    try:
        yield
    except OSError as error:
        cause = error.strerror or first_line(error)
        raise InvalidInputError(
            f"output folder {str(path)!r} cannot be written to ({cause}); give another one"
        ) from error


@contextmanager
def claimed(path: Path) -> Iterator[None]:
    """Make a folder and be the only one who writes to it, until the context or the process ends.

    Args:
        path: The folder; it may exist.

    Yields:
        Nothing. The folder, and those that were made to hold it, are gone afterwards if nothing was
        written.

    Raises:
        InvalidInputError: If it cannot be made, or somebody else writes to it.
    """
    made = [each for each in (path, *path.parents) if not each.exists()]
    file = path / _LOCK
    lock = filelock.FileLock(file, timeout=_PATIENCE)
    try:
        with writable(path):
            path.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire()
            except filelock.Timeout as error:
                raise InvalidInputError(
                    f"another process is writing to folder {str(path)!r}; wait for it, or give "
                    "another"
                ) from error
        try:
            yield
        finally:
            file.unlink(missing_ok=True)  # while it is ours: afterwards it might be somebody's
            lock.release()
    finally:
        with suppress(OSError):  # which holds something
            for each in made:
                each.rmdir()


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Make a folder that appears with all that is written to it, or not at all.

    Args:
        path: Where to. What lies there must be an empty folder, if anything; as it may be a link or
            the mount point of a disk, it is not replaced, but filled as `fill_folder` does.

    Yields:
        Another folder of the same name, to be filled within the context. A full disk becomes an
        `InvalidInputError`.
    """
    if path.is_dir():
        with fill_folder(path, last="config.json") as partial:
            yield partial
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with _beside(path) as partial:
        partial.mkdir()
        yield partial
        for written in (*partial.rglob("*"), partial):
            _flush(written)
        partial.replace(path)
        _flush(path.parent)


@contextmanager
def fill_folder(path: Path, *, last: str) -> Iterator[Path]:
    """Move what is written into a folder that exists, all of it flushed to the disk before.

    Args:
        path: The folder; what it holds under the same names is replaced.
        last: Name of the file that comes last: where it is, all is.

    Yields:
        Another folder, to be filled within the context. A full disk becomes an
        `InvalidInputError`.
    """
    with _beside(path / last) as file:
        partial = file.parent
        yield partial
        for written in (*partial.rglob("*"), partial):
            _flush(written)
        for each in sorted(partial.iterdir(), key=lambda each: (each.name == last, each.name)):
            if (path / each.name).is_dir():
                shutil.rmtree(path / each.name)  # no file system replaces a folder that holds any
            each.replace(path / each.name)
        _flush(path)


def discard_partial(folder: Path) -> None:
    """Remove what a killed process left half written.

    Args:
        folder: Where it was writing, and nobody else is.
    """
    for path in folder.glob(f"{_PARTIAL}*"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def disk_is_full(error: BaseException) -> bool:
    """Tell whether an error says that there is no space left, on the disk or of a quota.

    Args:
        error: What was raised while writing.

    Returns:
        True where freeing some space is the way out.
    """
    full = isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}
    return full or "No space left" in str(error)  # safetensors passes the words on alone


def cache_folder() -> Path:
    """Name the folder: ``$XDG_CACHE_HOME/invariance-probe``, by default in ``~/.cache``.

    Returns:
        Its path; it may not exist yet.
    """
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "invariance-probe"


def cached(name: str, key: str, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """Load tensors that take minutes to make from the user's cache, or make and keep them.

    A damaged file is made anew. Where nothing can be written, for want of space or of permission,
    the tensors are made each time.

    Args:
        name: Beginning of the file's name.
        key: All that the tensors depend on; its hash ends the file's name.
        make: Called if they are not there.

    Returns:
        The tensors.
    """
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    path = cache_folder() / f"{name}-{digest}.safetensors"
    if path.is_file():
        with suppress(InvalidInputError):  # a damaged file; it is overwritten below
            return read_tensors(path)
    tensors = make()
    # a full or read-only disk costs time, not the run
    with suppress(OSError, SafetensorError, InvalidInputError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_tensors(path, tensors)
    return tensors


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A path of the same name in a folder of its own, gone at the end with what is left in it."""
    # A random name, as two processes may write the same file of the cache; and within the same
    # file system, as nothing else can be renamed in one step.
    try:
        with tempfile.TemporaryDirectory(
            dir=path.parent, prefix=_PARTIAL, ignore_cleanup_errors=True
        ) as scratch:
            yield Path(scratch) / path.name
    except (OSError, SafetensorError) as error:
        if disk_is_full(error):
            raise InvalidInputError(
                f"no space left on the disk of {str(path)!r}; what was saved before is intact: "
                "free some space and run the same command again"
            ) from error
        raise


def _flush(path: Path) -> None:
    """Have the disk hold a file, or the names in a folder, before going on."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _refuse_missing(path: Path) -> None:
    if not path.is_file():
        raise InvalidInputError(f"weights file {str(path)!r} does not exist; check the path")


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
