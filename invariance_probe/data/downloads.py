"""Files fetched from their publishers: resumed where they broke off, and checked before they count.

A file is written beside its place as ``NAME.part`` and moved there only when its SHA-256 is the
published one, so that a file under its own name is whole.
"""

import hashlib
import http.client
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from invariance_probe.errors import InvalidInputError
from invariance_probe.files import disk_is_full

_CHUNK = 1 << 20
_ATTEMPTS = 3
"""Connections that may break off at one address, before the next address is tried."""

Progress = Callable[[str, int, int], None]
"""Called with what is being fetched (in bytes) or made (in images), how much there is of it, and
how much there will be."""


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """A published file.

    Attributes:
        name: What it is called, here and there.
        urls: Addresses, the first to be tried first.
        sha256: Checksum of the file as it is published.
        size: In bytes.
    """

    name: str
    urls: tuple[str, ...]
    sha256: str
    size: int


def sha256_of(path: Path) -> str:
    """Compute a file's checksum.

    Args:
        path: The file.

    Returns:
        SHA-256, in hexadecimal digits.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(
    remote: RemoteFile,
    folder: Path,
    *,
    timeout: float = 30.0,
    progress: Progress | None = None,
) -> Path:
    """Fetch a file, or what is missing of it.

    Args:
        remote: The file.
        folder: Where it goes; made if it is not there.
        timeout: Seconds without an answer after which an address is given up.
        progress: Called after each piece.

    Returns:
        Path of the whole file, at once if it is there already.

    Raises:
        InvalidInputError: If no address gives the published file, or the disk has no room for it.
            What has arrived of the right file stays, and the next call goes on from there.
    """
    target = folder / remote.name
    if target.is_file():
        return target
    failures = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f"{remote.name}.part"
        _refuse_a_full_disk(remote, part)
        for url in remote.urls:
            failure = _fetch_from(url, remote, part, timeout, progress)
            if failure is None:
                part.replace(target)
                return target
            failures.append(f"{url}: {failure}")
    except OSError as error:
        if disk_is_full(error):
            raise InvalidInputError(_no_space(remote, folder)) from error
        raise InvalidInputError(
            f"download of {remote.name!r}: {str(folder)!r} cannot be written to ({error.strerror});"
            " name another folder with --data-root"
        ) from error
    raise InvalidInputError(
        f"download of {remote.name!r} failed ({'; '.join(failures)}); try again to resume it, or "
        f"put the file into {str(folder)!r} yourself"
    )


def _refuse_a_full_disk(remote: RemoteFile, part: Path) -> None:
    have = part.stat().st_size if part.is_file() else 0
    if shutil.disk_usage(part.parent).free < remote.size - have:
        raise InvalidInputError(_no_space(remote, part.parent))


def _no_space(remote: RemoteFile, folder: Path) -> str:
    return (
        f"download of {remote.name!r}: {remote.size / 1e6:.1f} MB are needed, and there is no "
        f"space left in {str(folder)!r}; free some and try again to resume it, or name another "
        "--data-root"
    )


def _fetch_from(
    url: str, remote: RemoteFile, part: Path, timeout: float, progress: Progress | None
) -> str | None:
    """Fill the part from one address; returns why it failed, or None when the checksum matched."""
    failure = "no answer"
    for _ in range(_ATTEMPTS):
        before = part.stat().st_size if part.is_file() else 0
        try:
            if before < remote.size:
                _receive(url, before, remote, part, timeout, progress)
        except urllib.error.HTTPError as error:
            failure = f"HTTP {error.code} {error.reason}"
            if error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
                return failure
            part.unlink(missing_ok=True)  # the part is of a longer file than this address holds
            continue
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError) as error:
            failure = str(getattr(error, "reason", error)) or type(error).__name__
        except ConnectionError as error:
            failure = error.strerror or type(error).__name__
        have = part.stat().st_size if part.is_file() else 0
        if have >= remote.size:
            if have == remote.size and sha256_of(part) == remote.sha256:
                return None
            part.unlink()
            failure = "its checksum is not the published one"
            if before == 0:
                return failure  # nothing was resumed: this address holds another file
        elif have <= before:
            return failure
        else:
            failure = f"broke off after {have} of {remote.size} bytes"
    return failure


def _receive(
    url: str,
    start: int,
    remote: RemoteFile,
    part: Path,
    timeout: float,
    progress: Progress | None,
) -> None:
    """Append what an address sends to the part, from the given byte on if it can."""
    headers = {"User-Agent": "invariance-probe", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        content_range = answer.headers.get("Content-Range", "")
        resumed = answer.status == 206 and content_range.startswith(f"bytes {start}-")
        have = start if resumed else 0
        with part.open("ab" if resumed else "wb") as file:
            # One byte too many is enough to know that this is another file.
            while have <= remote.size and (chunk := answer.read(_CHUNK)):
                file.write(chunk)
                have += len(chunk)
                if progress is not None:
                    progress(remote.name, have, remote.size)
