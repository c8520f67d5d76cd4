"""Whole numbers as rows of bits. Taught in chapter 12."""

from __future__ import annotations

import numpy as np

from fedlab_utils.errors import FedlabError


def pack(numbers: np.ndarray, bits: int) -> np.ndarray:
    """Numbers [K, L], each from 0 to 2^bits - 1, as bytes [K, ceil(L bits / 8)] (uint8).

    `bits` is 1 to 32. The highest bit comes first; the last byte is filled up with zeros.
    """
    kind = np.dtype(">u1" if bits <= 8 else ">u2" if bits <= 16 else ">u4")
    whole = np.ascontiguousarray(numbers, dtype=kind)
    if bits == 8 * kind.itemsize:
        return whole.view(np.uint8).reshape(len(whole), whole.shape[1] * kind.itemsize)
    digits = np.unpackbits(whole.view(np.uint8).reshape(*whole.shape, kind.itemsize), axis=-1)
    return np.packbits(digits[..., -bits:].reshape(len(whole), -1), axis=1)


def unpack(rows: np.ndarray, bits: int, count: int) -> np.ndarray:
    """The inverse of `pack`: bytes [K, ceil(count bits / 8)] as numbers [K, count] (int64).

    Raises FedlabError if the bits after the last number are not zero.
    """
    kind = np.dtype(">u1" if bits <= 8 else ">u2" if bits <= 16 else ">u4")
    if bits == 8 * kind.itemsize:
        return np.ascontiguousarray(rows).view(kind).astype(np.int64)
    digits = read_bits(rows, count * bits)
    full = np.zeros((len(rows), count, 8 * kind.itemsize), dtype=np.uint8)
    full[..., -bits:] = digits.reshape(len(rows), count, bits)
    return np.packbits(full, axis=-1).view(kind)[..., 0].astype(np.int64)


def read_bits(rows: np.ndarray, count: int) -> np.ndarray:
    """The first `count` bits [K, count] of rows of bytes; raises FedlabError if others are set."""
    digits = np.unpackbits(rows, axis=1)
    if digits[:, count:].any():
        raise FedlabError("a message has bits set after its last number: it was damaged.")
    return digits[:, :count]


def positions_length(size: int, count: int) -> int:
    """Bytes that `pack_positions` needs for `count` of `size` positions."""
    low = low_bits(size, count)
    return (count * low + count + ((size - 1) >> low) + 7) // 8


def low_bits(size: int, count: int) -> int:
    """Bits of a position that are written as they are: the gaps' usual number of bits."""
    return max(0, (size // count).bit_length() - 1)


def pack_positions(positions: np.ndarray, size: int) -> np.ndarray:
    """Rising positions [K, k] below `size` as bytes: about 2 + log2(size / k) bits for each.

    The low bits of a position are written as they are. The high part h of the i-th one becomes a 1
    at place h + i of a row of bits, which is otherwise 0. All rows have the same length.
    Source: P. Elias 1974, doi:10.1145/321812.321820; R. Fano 1971 (Elias-Fano code).
    """
    rows, count = positions.shape
    low = low_bits(size, count)
    high = np.zeros((rows, count + ((size - 1) >> low)), dtype=np.uint8)
    np.put_along_axis(high, (positions >> low) + np.arange(count), 1, axis=1)
    shifts = np.arange(low)[::-1]
    digits = ((positions[..., None] >> shifts) & 1).astype(np.uint8).reshape(rows, -1)
    return np.packbits(np.concatenate([digits, high], axis=1), axis=1)


def unpack_positions(rows: np.ndarray, size: int, count: int) -> np.ndarray:
    """The inverse of `pack_positions`, [K, count] (int64); raises FedlabError for anything else."""
    low = low_bits(size, count)
    digits = read_bits(rows, count * low + count + ((size - 1) >> low))
    high = digits[:, count * low :]
    if (high.sum(axis=1) != count).any():
        raise FedlabError(f"a message does not hold {count} positions: it was damaged.")
    places = np.nonzero(high)[1].reshape(len(rows), count) - np.arange(count)
    weights = 1 << np.arange(low, dtype=np.int64)[::-1]
    lows = digits[:, : count * low].reshape(len(rows), count, low) @ weights
    positions = (places.astype(np.int64) << low) + lows
    if (np.diff(positions, axis=1) <= 0).any() or (positions >= size).any():
        raise FedlabError(f"a message's positions do not rise below {size}: it was damaged.")
    return positions
