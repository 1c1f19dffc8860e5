"""Files fetched from a server that behaves, or does not."""

import errno
import hashlib
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

import invariance_probe as ip
from invariance_probe.data import downloads
from invariance_probe.data.downloads import RemoteFile

CONTENT = np.random.default_rng(0).bytes(3_000_000)


class Server(ThreadingHTTPServer):
    """Serves CONTENT under several addresses, each with a temper of its own."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[tuple[str, str | None]] = []
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is none."""


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: object) -> None:
        """Stay silent."""

    def do_GET(self) -> None:
        temper = self.path.split("/")[1]
        wanted = self.headers.get("Range")
        self.server.asked.append((temper, wanted))
        if temper == "missing":
            self.send_error(404)
            return
        if temper == "silent":
            threading.Event().wait(1.0)
            return
        body = CONTENT[::-1] if temper == "corrupt" else CONTENT
        body = body + b"more" if temper == "longer" else body
        body = body[:1_000_000] if temper == "shorter" else body
        start = 0
        if wanted is not None and temper != "no-ranges":
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if start >= len(body):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        breaks = {"breaks": 1_200_000, "stubborn": 0}.get(temper)
        self.wfile.write(body[start:] if breaks is None else body[start : start + breaks])


@pytest.fixture
def server() -> Iterator[Server]:
    """A server on this machine."""
    running = Server()
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield running
    running.shutdown()
    running.server_close()
    thread.join()


def _remote(server: Server, *tempers: str) -> RemoteFile:
    return RemoteFile(
        name="data.bin",
        urls=tuple(f"{server.url}/{temper}/data.bin" for temper in tempers),
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        size=len(CONTENT),
    )


def test_a_file_is_fetched_once(server: Server, tmp_path: Path) -> None:
    """The file arrives whole under its name, nothing is left beside it, and progress is told."""
    told = []
    remote = _remote(server, "good")
    path = downloads.fetch(remote, tmp_path / "new", progress=lambda *now: told.append(now))
    assert path.read_bytes() == CONTENT
    assert [p.name for p in path.parent.iterdir()] == ["data.bin"]
    assert told[-1] == ("data.bin", len(CONTENT), len(CONTENT))
    assert [have for _, have, _ in told] == sorted(have for _, have, _ in told)
    downloads.fetch(remote, tmp_path / "new")
    assert len(server.asked) == 1
    assert downloads.sha256_of(path) == remote.sha256


@pytest.mark.parametrize("temper", ["good", "no-ranges"])
def test_a_download_goes_on_where_it_stopped(server: Server, tmp_path: Path, temper: str) -> None:
    """What is there is not fetched again, unless the server knows no ranges."""
    (tmp_path / "data.bin.part").write_bytes(CONTENT[:1_700_000])
    told: list[int] = []
    path = downloads.fetch(
        _remote(server, temper), tmp_path, progress=lambda _n, have, _a: told.append(have)
    )
    assert path.read_bytes() == CONTENT
    assert server.asked == [(temper, "bytes=1700000-")]
    assert (told[0] > 1_700_000) == (temper == "good")
    assert not (tmp_path / "data.bin.part").exists()


def test_a_connection_that_breaks_off_is_taken_up_again(server: Server, tmp_path: Path) -> None:
    """Three connections that each break off bring the file together."""
    path = downloads.fetch(_remote(server, "breaks"), tmp_path)
    assert path.read_bytes() == CONTENT
    ranges = [wanted for _, wanted in server.asked]
    assert ranges == [None, "bytes=1200000-", "bytes=2400000-"]


def test_a_whole_part_needs_only_its_checksum(server: Server, tmp_path: Path) -> None:
    """A part that was killed just before it was renamed counts without asking anyone."""
    (tmp_path / "data.bin.part").write_bytes(CONTENT)
    assert downloads.fetch(_remote(server, "good"), tmp_path).read_bytes() == CONTENT
    assert server.asked == []


@pytest.mark.parametrize("have", [CONTENT[:5][::-1], CONTENT[::-1], CONTENT + b"x"])
def test_a_spoilt_part_is_thrown_away(server: Server, tmp_path: Path, have: bytes) -> None:
    """A part of another file, or one too long, does not keep the right file from arriving."""
    (tmp_path / "data.bin.part").write_bytes(have)
    assert downloads.fetch(_remote(server, "good"), tmp_path).read_bytes() == CONTENT


def test_a_part_longer_than_the_file_of_an_address(server: Server, tmp_path: Path) -> None:
    """An address whose file ends before the part does is asked from the start, then the next."""
    (tmp_path / "data.bin.part").write_bytes(CONTENT[:2_000_000])
    path = downloads.fetch(_remote(server, "shorter", "good"), tmp_path)
    assert path.read_bytes() == CONTENT
    assert server.asked[:2] == [("shorter", "bytes=2000000-"), ("shorter", None)]


def test_the_next_address_is_tried(server: Server, tmp_path: Path) -> None:
    """Addresses that refuse, or hold another file, are passed over for one that is right."""
    remote = _remote(server, "missing", "corrupt", "longer", "good")
    assert downloads.fetch(remote, tmp_path).read_bytes() == CONTENT
    assert {temper for temper, _ in server.asked} == {"missing", "corrupt", "longer", "good"}


@pytest.mark.parametrize(
    ("temper", "message"),
    [
        ("missing", "HTTP 404 Not Found"),
        ("corrupt", "its checksum is not the published one"),
        ("longer", "its checksum is not the published one"),
        ("silent", "timed out"),
        ("stubborn", "stubborn/data.bin: "),
        ("shorter", "shorter/data.bin: "),
    ],
)
def test_a_download_that_fails_says_why_in_one_line(
    server: Server, tmp_path: Path, temper: str, message: str
) -> None:
    """The address, the reason and the way out are named; no file appears under its name."""
    with pytest.raises(ip.InvalidInputError, match=message) as caught:
        downloads.fetch(_remote(server, temper), tmp_path, timeout=0.3)
    text = str(caught.value)
    assert "\n" not in text
    assert f"{server.url}/{temper}/data.bin" in text
    assert "try again to resume it" in text
    assert not (tmp_path / "data.bin").exists()


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    """A refused connection and an unknown host are reported, not raised."""
    remote = RemoteFile(
        name="x", urls=("http://127.0.0.1:9/x", "http://no.such.host.invalid/x"), sha256="", size=1
    )
    with pytest.raises(ip.InvalidInputError, match=r"(?i)127.0.0.1:9/x: .*refused.*invalid/x: "):
        downloads.fetch(remote, tmp_path, timeout=2)


def test_a_disk_without_room_is_noticed_beforehand(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With too little space nothing is asked for, and what has arrived stays."""
    (tmp_path / "data.bin.part").write_bytes(CONTENT[:1_000_000])
    usage = shutil.disk_usage(tmp_path)._replace(free=1_900_000)
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(ip.InvalidInputError, match=r"3.0 MB are needed, and there is no space"):
        downloads.fetch(_remote(server, "good"), tmp_path)
    assert server.asked == []
    usage = usage._replace(free=2_100_000)
    assert downloads.fetch(_remote(server, "good"), tmp_path).read_bytes() == CONTENT


def test_a_disk_that_fills_up_loses_nothing(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When writing fails for want of space, one line says so and the next call goes on."""
    real = downloads._receive

    def receive(*arguments: object) -> None:
        real(*arguments)  # type: ignore[arg-type]  # passed on as they came
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(downloads, "_receive", receive)
    with pytest.raises(ip.InvalidInputError, match=r"no space left in .* try again to resume it"):
        downloads.fetch(_remote(server, "breaks"), tmp_path)
    assert (tmp_path / "data.bin.part").read_bytes() == CONTENT[:1_200_000]
    monkeypatch.undo()
    assert downloads.fetch(_remote(server, "good"), tmp_path).read_bytes() == CONTENT
    assert server.asked[-1] == ("good", "bytes=1200000-")


def test_a_folder_that_cannot_be_written_to(server: Server, tmp_path: Path) -> None:
    """A root that is a file is refused with another one asked for."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ip.InvalidInputError, match=r"cannot be written to .*--data-root"):
        downloads.fetch(_remote(server, "good"), tmp_path / "file")
