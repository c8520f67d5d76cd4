"""Downloads that are verified, resume, and never write where they should not. Chapter 01 uses them.

The cache is the folder in the environment variable FEDLAB_CACHE, or else the user's cache folder.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path

from fedlab_utils.data.files import sha256_of
from fedlab_utils.data.resume import ResumingDownloader
from fedlab_utils.errors import DownloadError

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RemoteFile:
    """A file on the web.

    Attributes:
        url: where it is.
        name: its name in the cache folder.
        sha256: its checksum, or None if none is published. Then the first download is trusted
            and its checksum remembered, so that a later change is noticed (trust on first use).
    """

    url: str
    name: str
    sha256: str | None = None


def cache_folder(name: str = "") -> Path:
    """Folder in which downloads are kept: FEDLAB_CACHE, or the user's cache folder."""
    import pooch

    return Path(os.environ.get("FEDLAB_CACHE") or pooch.os_cache("fedlab")).expanduser() / name


def _side_file(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _remembered(path: Path) -> str | None:
    """The checksum of the first download, in the format of the sha256sum command."""
    side = _side_file(path)
    words = side.read_text().split() if side.is_file() else []
    return words[0] if words else None


def verify(path: Path, file: RemoteFile) -> None:
    """Compare a file with its published or remembered checksum; remember it if there is none.

    Raises DownloadError that names the file, both checksums and what to do. The file is left
    where it is. Taught in chapter 01.
    """
    actual = sha256_of(path)
    expected = file.sha256 or _remembered(path)
    if expected is None:
        _side_file(path).write_text(f"{actual}  {path.name}\n")
        _log.warning(
            "No checksum is published for %s. This first download is trusted and its sha256 %s "
            "remembered in %s.", file.url, actual, _side_file(path),
        )  # fmt: skip
    elif actual != expected:
        origin = "published" if file.sha256 else f"remembered in {_side_file(path)}"
        raise DownloadError(
            f"{path} is not the expected file: its sha256 is {actual}, the one {origin} is "
            f"{expected}. Nothing was deleted. Move the file away and load again to fetch it from "
            f"{file.url}; if the sum differs again, the file at the source has changed."
        )


def fetch(file: RemoteFile, folder: Path, *, progress: bool = True, timeout: float = 30.0) -> Path:
    """Return the local path of `file`, downloading it into `folder` if it is not there.

    An interrupted download continues where it stopped. A file put there by hand is accepted if
    its checksum is right. A download with a wrong checksum is set aside as `<name>.wrong`.

    Args:
        file: what to fetch.
        folder: where to keep it; made if missing.
        progress: show a progress bar.
        timeout: seconds without an answer or new data before an attempt ends.

    Raises DownloadError if the file cannot be had or is not the one it should be.
    Taught in chapter 01.
    """
    import pooch
    import requests

    path = folder / file.name
    if path.is_file():
        verify(path, file)
        return path
    expected = file.sha256 or _remembered(path)
    downloader = ResumingDownloader(path, expected, progress=progress, timeout=timeout)
    pooch.get_logger().setLevel("WARNING")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        known = f"sha256:{expected}" if expected else None
        pooch.retrieve(file.url, known, fname=file.name, path=folder, downloader=downloader)
    except (requests.RequestException, OSError) as error:
        reason = str(error) or type(error).__name__
        raise DownloadError(
            f"could not fetch {file.url} ({reason}). Check the network and load again: what has "
            f"arrived is kept and continued. Or get the file in another way and put it at {path} "
            f"(sha256 {expected or 'not published'})."
        ) from error
    verify(path, file)
    return path
