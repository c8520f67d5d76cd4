"""A downloader for pooch that continues a partial download (pooch starts over). See chapter 01."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedlab_utils.data.files import sha256_of
from fedlab_utils.errors import DownloadError

if TYPE_CHECKING:
    import requests

# When a connection breaks, what has arrived of the current piece is lost, so pieces are small.
PIECE = 1 << 13


def _range_total(response: requests.Response) -> tuple[int | None, int | None]:
    """(first byte, total size) from a header such as `Content-Range: bytes 10-99/100`."""
    unit, _, value = response.headers.get("Content-Range", "").partition(" ")
    span, _, total = value.partition("/")
    first = span.partition("-")[0]
    if unit != "bytes":
        return None, None
    return (int(first) if first.isdigit() else None), (int(total) if total.isdigit() else None)


class ResumingDownloader:
    """Downloads to `<target>.part`, resumes from there, and checks before it hands over.

    A part is continued only if the server confirms that the file is still the same (If-Range
    with a strong ETag or a date, RFC 9110 section 13.1.5), or if a checksum will tell.

    Args:
        target: final path of the file; `.part`, `.part.json` and `.wrong` stand beside it.
        sha256: expected checksum or None.
        attempts: how often a broken connection is taken up again before giving up.
        progress: show a progress bar.
        timeout: seconds of silence that end an attempt.

    Raises DownloadError for an HTTP error, a download that stays incomplete, or a wrong
    checksum; requests.RequestException if there is no connection.
    """

    def __init__(
        self,
        target: Path,
        sha256: str | None,
        *,
        attempts: int = 3,
        progress: bool = True,
        timeout: float = 30.0,
    ) -> None:
        self.target = target
        self.sha256 = sha256
        self.attempts = attempts
        self.progress = progress
        self.timeout = timeout
        self.part = target.with_name(target.name + ".part")
        self.note = target.with_name(target.name + ".part.json")

    def __call__(self, url: str, output_file: Any, pooch: Any, check_only: bool = False) -> None:
        """Called by pooch; `output_file` is pooch's temporary path."""
        import requests

        for attempt in range(1, self.attempts + 1):
            try:
                if self._attempt(url):
                    break
            except (
                requests.ConnectionError,
                requests.Timeout,
                requests.exceptions.ChunkedEncodingError,
            ):
                # Without a single byte there is no network, and trying again would only make
                # the reader wait.
                if attempt == self.attempts or not self._have():
                    raise
        else:
            raise DownloadError(
                f"{url} could not be completed in {self.attempts} attempts. {self._have()} bytes "
                f"are kept in {self.part}; load again to continue."
            )
        self._check(url)
        shutil.move(self.part, output_file)
        self.note.unlink(missing_ok=True)

    def _have(self) -> int:
        return self.part.stat().st_size if self.part.is_file() else 0

    def _validator(self, url: str) -> str | None:
        """ETag or date of the response the part came from, if it came from this address."""
        try:
            note = json.loads(self.note.read_text())
            return note["validator"] if note["url"] == url else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _attempt(self, url: str) -> bool:
        """One request; True when the part is complete."""
        import requests

        have = self._have()
        validator = self._validator(url)
        # Compressed transfer would make byte positions meaningless.
        headers = {"Accept-Encoding": "identity"}
        if have and (validator or self.sha256):
            headers["Range"] = f"bytes={have}-"
            if validator:
                headers["If-Range"] = validator
        else:
            have = 0
        with requests.get(url, headers=headers, stream=True, timeout=self.timeout) as response:
            first, total = _range_total(response)
            if response.status_code == 416:
                if have and total == have:
                    return True
                self.part.unlink(missing_ok=True)  # longer than the file: it was another one
                return False
            if not response.ok:
                raise DownloadError(
                    f"{url} answered {response.status_code} {response.reason}. If that lasts, the "
                    f"file has moved: get it in another way and put it at {self.target} "
                    f"(sha256 {self.sha256 or 'not published'})."
                )
            if response.status_code == 206 and first != have:
                self.part.unlink(missing_ok=True)  # not the bytes asked for: start over
                return False
            if response.status_code != 206:
                have = 0  # the server ignores Range, or the file has changed: start over
                length = response.headers.get("Content-Length", "")
                total = int(length) if length.isdigit() else None
                self._remember(url, response)
            self._receive(response, have, total)
        return total is None or self._have() == total

    def _remember(self, url: str, response: requests.Response) -> None:
        etag = response.headers.get("ETag", "")
        strong = etag if etag.startswith('"') else None
        validator = strong or response.headers.get("Last-Modified")
        self.note.write_text(json.dumps({"url": url, "validator": validator}))

    def _receive(self, response: requests.Response, have: int, total: int | None) -> None:
        from tqdm import tqdm

        with (
            self.part.open("ab" if have else "wb") as file,
            tqdm(
                total=total, initial=have, unit="B", unit_scale=True, desc=self.target.name,
                disable=not self.progress,
            ) as bar,
        ):  # fmt: skip
            for piece in response.iter_content(PIECE):
                file.write(piece)
                bar.update(len(piece))

    def _check(self, url: str) -> None:
        if self.sha256 is None:
            return
        actual = sha256_of(self.part)
        if actual != self.sha256:
            aside = self.target.with_name(self.target.name + ".wrong")
            self.part.replace(aside)
            self.note.unlink(missing_ok=True)
            raise DownloadError(
                f"{url} gave another file than expected: sha256 {actual} instead of "
                f"{self.sha256}. It is kept as {aside}. Load again; if the sum stays the same, the "
                f"file at the source has changed. A right copy may be put at {self.target} by hand."
            )
