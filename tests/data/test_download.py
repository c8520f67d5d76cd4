"""Downloads against a local server that misbehaves in every way we defend against."""

from __future__ import annotations

import hashlib
import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from fedlab_utils.data.download import RemoteFile, cache_folder, fetch
from fedlab_utils.data.resume import PIECE, ResumingDownloader
from fedlab_utils.errors import DownloadError

BODY = bytes(i * i % 251 for i in range(300_000))
SHA = hashlib.sha256(BODY).hexdigest()


class Site:
    """One file on a local server, with dials for what goes wrong."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/data.bin"
        self.body = BODY
        self.etag: str | None = '"v1"'
        self.ranges = True
        self.break_after: list[int] = []  # for each coming request: bytes before it breaks off
        self.status: int | None = None
        self.shift = 0  # answers a range that begins so many bytes too late
        self.seen: list[dict[str, str]] = []

    def file(self, sha256: str | None = SHA) -> RemoteFile:
        return RemoteFile(self.url, "data.bin", sha256)


@contextmanager
def running():
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"

        def log_message(self, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            site.seen.append(dict(self.headers))
            if site.status:
                self.send_error(site.status)
                return
            start, code = 0, 200
            wanted = self.headers.get("Range")
            condition = self.headers.get("If-Range")
            if wanted and site.ranges and condition in (None, site.etag):
                start, code = int(wanted[6:-1]) + site.shift, 206
            if code == 206 and start >= len(site.body):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(site.body)}")
                self.end_headers()
                return
            rest = site.body[start:]
            self.send_response(code)
            if site.etag:
                self.send_header("ETag", site.etag)
            if code == 206:
                span = f"bytes {start}-{len(site.body) - 1}/{len(site.body)}"
                self.send_header("Content-Range", span)
            self.send_header("Content-Length", str(len(rest)))
            self.end_headers()
            self.wfile.write(rest[: site.break_after.pop(0)] if site.break_after else rest)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    site = Site(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def site():
    with running() as site:
        yield site


def get(site, folder, sha256=SHA):
    return fetch(site.file(sha256), folder, progress=False, timeout=5)


def leftovers(folder):
    return sorted(p.name for p in folder.iterdir())


def test_plain_download_leaves_only_the_file(site, tmp_path):
    path = get(site, tmp_path / "new" / "folder")
    assert path.read_bytes() == BODY
    assert leftovers(path.parent) == ["data.bin"]
    get(site, path.parent)
    assert len(site.seen) == 1  # the second time it comes from the cache


def test_a_broken_connection_is_taken_up_again(site, tmp_path):
    site.break_after = [10 * PIECE, 5 * PIECE]
    assert get(site, tmp_path).read_bytes() == BODY
    assert [s.get("Range") for s in site.seen] == [
        None,
        f"bytes={10 * PIECE}-",
        f"bytes={15 * PIECE}-",
    ]
    assert [s.get("If-Range") for s in site.seen] == [None, '"v1"', '"v1"']
    assert leftovers(tmp_path) == ["data.bin"]


@pytest.mark.parametrize("sha256", [SHA, None])
def test_giving_up_keeps_the_part_and_the_next_run_continues(site, tmp_path, sha256):
    site.break_after = [PIECE + 10, PIECE + 10, PIECE + 10]
    with pytest.raises(DownloadError):
        get(site, tmp_path, sha256)
    assert (tmp_path / "data.bin.part").read_bytes() == BODY[: 3 * PIECE]
    assert not (tmp_path / "data.bin").exists()
    assert get(site, tmp_path, sha256).read_bytes() == BODY
    assert site.seen[-1]["Range"] == f"bytes={3 * PIECE}-"


def test_a_file_that_changed_meanwhile_starts_over(site, tmp_path):
    site.break_after = [PIECE] * 3
    with pytest.raises(DownloadError):
        get(site, tmp_path, None)
    site.body, site.etag = BODY[::-1], '"v2"'
    assert get(site, tmp_path, None).read_bytes() == BODY[::-1]


def test_without_validator_and_checksum_nothing_is_continued(site, tmp_path):
    site.etag = None
    site.break_after = [PIECE]
    assert get(site, tmp_path, None).read_bytes() == BODY
    assert [s.get("Range") for s in site.seen] == [None, None]


def test_weak_etag_is_not_a_validator(site, tmp_path):
    site.etag = 'W/"v1"'
    site.break_after = [PIECE]
    assert get(site, tmp_path).read_bytes() == BODY
    assert "If-Range" not in site.seen[1]  # the checksum guards instead


def test_a_server_that_ignores_range(site, tmp_path):
    site.ranges = False
    site.break_after = [10 * PIECE]
    assert get(site, tmp_path).read_bytes() == BODY


def test_a_server_that_sends_another_range(site, tmp_path):
    site.shift = 7
    site.break_after = [10 * PIECE]
    assert get(site, tmp_path).read_bytes() == BODY


@pytest.mark.parametrize("part", [BODY, BODY + b"surplus of another version"])
def test_a_part_as_long_as_the_file_or_longer(site, tmp_path, part):
    (tmp_path / "data.bin.part").write_bytes(part)
    assert get(site, tmp_path).read_bytes() == BODY


def test_giving_up_after_the_attempts(site, tmp_path):
    (tmp_path / "data.bin.part").write_bytes(BODY + b"surplus")
    downloader = ResumingDownloader(tmp_path / "data.bin", SHA, attempts=1, progress=False)
    with pytest.raises(DownloadError, match="could not be completed in 1 attempts"):
        downloader(site.url, str(tmp_path / "out"), None)


def test_a_wrong_download_is_set_aside(site, tmp_path):
    site.body = b"an error page"
    with pytest.raises(DownloadError) as caught:
        get(site, tmp_path)
    actual = hashlib.sha256(site.body).hexdigest()
    for part in (site.url, SHA, actual, "data.bin.wrong"):
        assert part in str(caught.value)
    assert leftovers(tmp_path) == ["data.bin.wrong"]
    assert (tmp_path / "data.bin.wrong").read_bytes() == site.body


def test_a_wrong_file_in_the_cache_is_left_alone(site, tmp_path):
    (tmp_path / "data.bin").write_bytes(b"mine")
    with pytest.raises(DownloadError) as caught:
        get(site, tmp_path)
    mine = hashlib.sha256(b"mine").hexdigest()
    assert all(part in str(caught.value) for part in (str(tmp_path / "data.bin"), SHA, mine))
    assert (tmp_path / "data.bin").read_bytes() == b"mine" and not site.seen


def test_trust_on_first_use_then_verify(site, tmp_path, caplog):
    path = get(site, tmp_path, None)
    assert SHA in caplog.text and "trusted" in caplog.text
    assert (tmp_path / "data.bin.sha256").read_text() == f"{SHA}  data.bin\n"
    path.write_bytes(b"changed later")
    with pytest.raises(DownloadError, match="remembered in"):
        get(site, tmp_path, None)
    path.unlink()
    site.body = b"changed at the source"
    with pytest.raises(DownloadError, match="another file than expected"):
        get(site, tmp_path, None)


def test_no_network(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    file = RemoteFile(f"http://127.0.0.1:{port}/x", "x.bin", SHA)
    with pytest.raises(DownloadError) as caught:
        fetch(file, tmp_path, progress=False)
    assert all(part in str(caught.value) for part in (file.url, str(tmp_path / "x.bin"), SHA))


def test_http_error_is_told(site, tmp_path):
    site.status = 404
    with pytest.raises(DownloadError, match="404 Not Found") as caught:
        get(site, tmp_path)
    assert str(tmp_path / "data.bin") in str(caught.value)
    assert len(site.seen) == 1


def test_a_cache_that_is_not_a_folder(site, tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(DownloadError, match="could not fetch"):
        get(site, tmp_path / "cache" / "nsl_kdd")


def test_progress_bar_counts_the_bytes_there_already(site, tmp_path, capsys):
    (tmp_path / "data.bin.part").write_bytes(BODY[:150_000])
    fetch(site.file(), tmp_path)
    assert "50%" in (shown := capsys.readouterr().err) and "100%" in shown


def test_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("FEDLAB_CACHE", str(tmp_path))
    assert cache_folder("ecg") == tmp_path / "ecg"
    monkeypatch.delenv("FEDLAB_CACHE")
    assert cache_folder().name == "fedlab"
