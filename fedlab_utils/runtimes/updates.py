"""Read what a client sent, and trust nothing in it. Taught in chapter 04.

A file from somebody else is read here and nowhere else: no pickle, no compression (a small file
could unpack to any size), nothing allocated before its length is known, and every name, shape and
type is the one that was agreed on. Whoever sent something else is named.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from fedlab_utils.errors import FedlabError

_OVERHEAD = 1024  # bytes a zip archive and an npy header add to each array, generously


class UpdateError(FedlabError):
    """A file that is not what its sender should have sent; names the sender."""


@dataclass(frozen=True)
class Expected:
    """What an array in the file must be.

    Attributes:
        shape: the exact shape; () for a single number.
        dtype: the exact type, for example "float32".
        finite: whether NaN and infinity are refused.
        low, high: the smallest and largest value, both allowed.
    """

    shape: tuple[int, ...]
    dtype: str = "float32"
    finite: bool = True
    low: float = -math.inf
    high: float = math.inf

    @property
    def bytes(self) -> int:
        """Bytes of the values."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


def read_arrays(
    path: str | Path, sender: str, expected: Mapping[str, Expected]
) -> dict[str, np.ndarray]:
    """Read an npz file that must hold exactly the expected arrays.

    Args:
        path: a file as `np.savez` writes it.
        sender: who it came from; every error begins with this name.
        expected: array name -> what it must be. Together they also limit the file's size.

    Raises:
        UpdateError: too large, not an npz file, compressed, other arrays, another shape or type,
            Python objects, values that are not finite, or out of range.

    Taught in chapter 04.
    """
    path = Path(path)
    if path.is_symlink() or not path.is_file():
        raise UpdateError(f"{sender}: {path.name} is not an ordinary file; refused.")
    size, limit = path.stat().st_size, size_limit(expected)
    if size > limit:
        raise UpdateError(
            f"{sender}: {path.name} has {size:,} bytes, at most {limit:,} are expected; refused "
            f"unread."
        )
    try:
        with open(path, "rb") as file:
            return parse_arrays(file, sender, expected)
    except UpdateError:
        raise
    except OSError as error:
        raise UpdateError(
            f"{sender}: {path.name} is not a sound npz file ({error}); refused."
        ) from error


def size_limit(expected: Mapping[str, Expected]) -> int:
    """The bytes that a file with these arrays has at most."""
    return sum(e.bytes + _OVERHEAD for e in expected.values())


def parse_arrays(
    file: IO[bytes], sender: str, expected: Mapping[str, Expected]
) -> dict[str, np.ndarray]:
    """Read an npz file that is open or in memory; see `read_arrays`."""
    try:
        with zipfile.ZipFile(file) as archive:
            _check_members(archive, sender, expected)
            arrays = {}
            for name, wanted in expected.items():
                with archive.open(f"{name}.npy") as member:
                    arrays[name] = read_array(member, f"{sender}: array {name!r}", wanted)
    except UpdateError:
        raise
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError, RuntimeError) as error:
        raise UpdateError(
            f"{sender}: the file is not a sound npz file ({error}); refused."
        ) from error
    return arrays


def _check_members(archive: zipfile.ZipFile, sender: str, expected: Mapping[str, Expected]) -> None:
    names = sorted(info.filename for info in archive.infolist())
    wanted = sorted(f"{name}.npy" for name in expected)
    if names != wanted:
        raise UpdateError(
            f"{sender}: the file holds {names[:5]}, expected exactly {wanted}; refused."
        )
    for info in archive.infolist():
        if info.compress_type != zipfile.ZIP_STORED:
            raise UpdateError(
                f"{sender}: {info.filename} is compressed, and could unpack to any size; refused. "
                f"Write it with np.savez, which does not compress."
            )


def read_array(member: IO[bytes], what: str, wanted: Expected) -> np.ndarray:
    """Read one array in NumPy's npy format; every error begins with `what`.

    Raises UpdateError for another shape or type than wanted, Python objects, values that are not
    finite or out of range, and ValueError for bytes that are no npy file.
    """
    version = np.lib.format.read_magic(member)
    if version != (1, 0):
        raise UpdateError(f"{what} has the npy version {version}, expected (1, 0); refused.")
    shape, by_column, dtype = np.lib.format.read_array_header_1_0(member)
    if dtype != np.dtype(wanted.dtype):
        raise UpdateError(f"{what} has type {dtype}, expected {wanted.dtype}; refused.")
    if shape != wanted.shape or (by_column and len(shape) > 1):
        raise UpdateError(
            f"{what} has shape {list(shape)}, expected {list(wanted.shape)}; refused."
        )
    data = member.read(wanted.bytes + 1)
    if len(data) != wanted.bytes:
        raise UpdateError(
            f"{what} holds {'more' if len(data) > wanted.bytes else 'less'} than its header "
            f"says; refused."
        )
    array = np.frombuffer(data, dtype=dtype).reshape(shape).copy()
    if wanted.finite and not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).sum())
        raise UpdateError(f"{what} holds {bad} value(s) that are NaN or infinite; refused.")
    if (array < wanted.low).any() or (array > wanted.high).any():  # NaN is neither
        raise UpdateError(
            f"{what} holds values outside [{wanted.low:g}, {wanted.high:g}]; refused."
        )
    return array
