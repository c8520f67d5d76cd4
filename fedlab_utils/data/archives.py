"""Unpacking that stays inside its folder. Taught in chapter 01."""

from __future__ import annotations

import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from fedlab_utils.errors import DataError

# What the readers raise for a damaged or encrypted archive, or for members in each other's way.
_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    EOFError,
    RuntimeError,
    FileExistsError,
    IsADirectoryError,
    NotADirectoryError,
)


@dataclass(frozen=True)
class _Member:
    name: str
    is_folder: bool
    is_file: bool
    size: int
    open: Callable[[], IO[bytes] | None]


def _zip_members(archive: zipfile.ZipFile) -> Iterator[_Member]:
    for info in archive.infolist():
        # The upper half of external_attr is the Unix mode; 0 where the maker had none.
        kind = stat.S_IFMT(info.external_attr >> 16)
        plain = kind in (0, stat.S_IFREG) and not info.is_dir()
        folder = info.is_dir() and kind in (0, stat.S_IFDIR)
        yield _Member(info.filename, folder, plain, info.file_size, partial(archive.open, info))


def _tar_members(archive: tarfile.TarFile) -> Iterator[_Member]:
    for info in archive:
        yield _Member(
            info.name, info.isdir(), info.isreg(), info.size,
            partial(archive.extractfile, info),
        )  # fmt: skip


def _check_name(name: str, where: str) -> PurePosixPath:
    """The member's relative path. Raises DataError if it could lead out of the folder."""
    # Read as Windows would: that also covers "/", drives and "..", on every system.
    windows = PureWindowsPath(name)
    if windows.anchor or ".." in windows.parts or "\0" in name:
        raise DataError(
            f"{where}: member {name!r} would be written outside its folder. The archive is "
            f"hostile or damaged; nothing was unpacked."
        )
    return PurePosixPath(name)


def _copy(member: _Member, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    source = member.open()
    assert source is not None  # only links and devices have no content, and they were refused
    with source, target.open("xb") as file:
        # Both readers stop at the size the member declares, so that size may be relied on.
        shutil.copyfileobj(source, file)


def safe_extract(
    archive: Path, folder: Path, *, max_bytes: int = 4 << 30, max_files: int = 10_000
) -> Path:
    """Unpack a zip or tar (also compressed) archive into `folder`; returns `folder`.

    Everything is unpacked beside `folder` first and moved when complete, so `folder` exists only
    if the archive was good. Members that are absolute, contain "..", or are links or devices are
    refused, and so are archives of more than `max_files` members or `max_bytes` bytes unpacked.

    Raises DataError that names the archive and the member. Taught in chapter 01.
    """
    where = str(archive)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        # Made beside the target, so that the final move is a rename on one file system.
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=folder.parent)))
        (work / "content").mkdir()
        try:
            members: Iterator[_Member]
            if zipfile.is_zipfile(archive):
                members = _zip_members(stack.enter_context(zipfile.ZipFile(archive)))
            else:
                members = _tar_members(stack.enter_context(tarfile.open(archive, "r:*")))
            unpacked = 0
            for count, member in enumerate(members, start=1):
                if count > max_files:
                    raise DataError(f"{where}: more than {max_files} members; refused.")
                target = work / "content" / _check_name(member.name, where)
                if not (member.is_folder or member.is_file):
                    raise DataError(
                        f"{where}: member {member.name!r} is a link or a device; only plain files "
                        f"and folders are unpacked. Nothing was unpacked."
                    )
                if unpacked + member.size > max_bytes:
                    raise DataError(
                        f"{where}: unpacks to more than {max_bytes} bytes (member "
                        f"{member.name!r}); refused. Give max_bytes if you trust it."
                    )
                if member.is_folder:
                    target.mkdir(parents=True, exist_ok=True)
                else:
                    _copy(member, target)
                    unpacked += member.size
        except _DAMAGE as error:
            raise DataError(
                f"{where} cannot be unpacked ({error or 'it ends early'}). Delete it and load "
                f"again."
            ) from error
        if folder.exists():
            raise DataError(f"{folder} already exists; remove it before you unpack {where} again.")
        shutil.move(work / "content", folder)
    return folder
