"""Look for private values in files: proof by search, not by promise. Taught in chapter 04."""

from __future__ import annotations

import base64
import binascii
import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

_DEPTH = 4  # a zip in base64 in JSON has three layers
_DECIMAL = re.compile(rb"-?\d{1,12}\.\d{1,20}(?:[eE][-+]?\d{1,2})?")


def files_in(folder: Path) -> dict[str, int]:
    """Path below the folder -> bytes, of every file, in order. Taught in chapter 04."""
    return {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def find_rows(folder: Path, rows: np.ndarray) -> dict[str, int]:
    """Count in each file of a folder how often private values occur.

    What is looked for: two neighbouring features of a row as float32 numbers in memory order, the
    same two written as decimal numbers, and single features as float64. Eight bytes each, which
    do not meet by chance; zeros and pairs of equal values are left out. Files are searched as they
    are and unpacked: zip archives (so npz), and base64 inside JSON.

    Rounded, encrypted or otherwise computed values are not found. So a hit proves a leak; no hit is
    evidence, and only as good as the same search in a place where the rows are known to be.

    Args:
        folder: all files below it are read.
        rows: [n, ...] float32 private rows.

    Returns:
        {path below the folder: hits}, every file, those without hits included.

    Taught in chapter 04.
    """
    flat = np.asarray(rows, dtype=np.float32).reshape(-1, rows.shape[-1])
    alone = flat[flat != 0].astype("<f8").view("<u8")
    wanted = np.unique(np.concatenate([_pairs(flat), alone]))
    return {
        name: sum(_hits(view, wanted) for view in _views((folder / name).read_bytes()))
        for name in files_in(folder)
    }


def _pairs(rows: np.ndarray) -> np.ndarray:
    """Neighbouring float32 values along the last axis as one uint64 each, flat."""
    left, right = rows[..., :-1], rows[..., 1:]
    pairs = np.stack([left, right], axis=-1)[(left != 0) & (right != 0) & (left != right)]
    return np.ascontiguousarray(pairs, dtype="<f4").view("<u8").reshape(-1)


def _hits(data: bytes, wanted: np.ndarray) -> int:
    """How many places in the data hold one of the wanted (sorted) eight bytes."""
    hits = 0
    for shift in range(8):
        usable = (len(data) - shift) // 8 * 8
        if usable > 0:
            hits += _count(np.frombuffer(data, "<u8", usable // 8, shift), wanted)
    decimals = np.array(_DECIMAL.findall(data), dtype="S").astype(np.float32)
    return hits + (_count(_pairs(decimals), wanted) if len(decimals) > 1 else 0)


def _count(values: np.ndarray, wanted: np.ndarray) -> int:
    place = np.searchsorted(wanted, values)
    place[place == len(wanted)] = 0
    return int((wanted[place] == values).sum()) if len(wanted) else 0


def _views(data: bytes, depth: int = _DEPTH) -> Iterator[bytes]:
    """The bytes themselves, then what is packed inside."""
    yield data
    if not depth:
        return
    if data[:2] == b"PK":
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                for info in archive.infolist():
                    yield from _views(archive.read(info), depth - 1)
        except (zipfile.BadZipFile, ValueError, RuntimeError):
            return
    elif data[:1] in (b"{", b"["):
        try:
            content = json.loads(data)
        except ValueError:
            return
        for text in _texts(content):
            yield from _views(text.encode(), depth - 1)
            try:
                yield from _views(base64.b64decode(text, validate=True), depth - 1)
            except (binascii.Error, ValueError):
                continue


def _texts(content: Any) -> Iterator[str]:
    """All strings in a JSON document."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, dict):
        for value in content.values():
            yield from _texts(value)
    elif isinstance(content, list):
        for value in content:
            yield from _texts(value)
