"""Which rows each step of local training reads, for many clients at once. Taught in chapter 03."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from itertools import groupby, islice

import numpy as np
import torch
from torch import nn

from fedlab_utils.federate.order import batch_order
from fedlab_utils.models.dense import DenseAutoencoder
from fedlab_utils.models.stacked_dense import with_ones

# About what a core's caches hold: larger portions wait for memory, smaller ones for Python.
CACHE_BYTES = 4 << 20


class RowStore:
    """All clients' training rows in one tensor, so a batch of every client is one gather."""

    def __init__(self, parts: Sequence[np.ndarray], model: nn.Module):
        self.sizes = np.array([len(p) for p in parts], dtype=np.int64)
        self.offsets = np.concatenate([[0], np.cumsum(self.sizes)[:-1]])
        self.dense = isinstance(model, DenseAutoencoder)
        self.features = parts[0].shape[-1]
        rows = torch.from_numpy(np.concatenate(parts).astype(np.float32, copy=False))
        self.rows = with_ones(rows) if self.dense else rows

    def of(self, client: int) -> torch.Tensor:
        """The training rows [n, ...] of one client."""
        start = self.offsets[client]
        rows = self.rows[start : start + self.sizes[client]]
        return rows[:, : self.features] if self.dense else rows

    def floats_per_row(self) -> int:
        """Numbers a row takes."""
        return self.rows[0].numel()


_kept = threading.local()


def _room(rows: int, shape: Sequence[int]) -> np.ndarray:
    """Memory for rows [rows, ...], this thread's own from round to round.

    The system clears new memory page by page, which takes longer than to fill it with rows.
    """
    size = rows * math.prod(shape)
    kept: np.ndarray | None = getattr(_kept, "room", None)
    if kept is None or len(kept) < size:
        kept = _kept.room = np.empty(size, np.float32)
    return kept[:size].reshape(rows, *shape)


def schedule(
    seed: int,
    round_: int,
    clients: np.ndarray,
    sizes: np.ndarray,
    batch_size: int,
    epochs: int,
) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
    """Each step's row numbers [k, batch_size] and how many of them count [k] (float32).

    `sizes` must fall: the clients still at work are then the first k. A client begins its next
    epoch as soon as it has finished one; it does not wait for larger clients.
    """
    steps = -(-sizes // batch_size)
    length = int(steps[0]) * batch_size
    full = torch.full((len(clients),), float(batch_size))

    def counts(left: np.ndarray) -> torch.Tensor:
        if len(left) == len(full) and left.min() >= batch_size:
            return full
        return torch.from_numpy(np.minimum(left, batch_size).astype(np.float32))

    if steps[0] == steps[-1]:  # all take the same steps, and begin an epoch together
        for epoch in range(epochs):
            now = np.full(len(clients), epoch)
            order = batch_order(seed, round_, clients, now, length, sizes)
            for begin in range(0, length, batch_size):
                yield order[:, begin : begin + batch_size], counts(sizes - begin)
        return
    working = steps * epochs > np.arange(steps[0] * epochs)[:, None]
    order = np.empty((len(clients), length), dtype=np.int64)
    columns = np.arange(batch_size)
    for s, k in enumerate(working.sum(axis=1)):
        batch = s % steps[:k]
        fresh = np.flatnonzero(batch == 0)
        if len(fresh):
            order[fresh] = batch_order(
                seed, round_, clients[fresh], s // steps[fresh], length, sizes[fresh]
            )
        rows = np.take_along_axis(order[:k], batch[:, None] * batch_size + columns, axis=1)
        yield rows, counts(sizes[:k] - batch * batch_size)


def fetch_batches(
    store: RowStore,
    clients: np.ndarray,
    steps: Iterator[tuple[np.ndarray, torch.Tensor]],
    width: int,
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The rows of each step, padded to [k, width, ...], and how many count [k].

    The rows of several steps are fetched at once, as many as the cache holds, and lie one step
    after the other: a step's products then read one piece of memory.
    """
    step_bytes = 4 * len(clients) * width * store.floats_per_row()
    block = max(1, CACHE_BYTES // step_bytes)
    shape, stored = store.rows.shape[1:], store.rows.numpy()
    for k, alike in groupby(steps, key=lambda step: len(step[0])):
        index = np.zeros((block, k, width), dtype=np.int64)
        while True:
            counts = []
            for s, (rows, count) in enumerate(islice(alike, block)):
                index[s, :, : rows.shape[1]] = rows
                counts.append(count)
            if not counts:
                break
            which = index[: len(counts)] + store.offsets[clients[:k], None]
            room = _room(which.size, shape)
            # "clip" spares a check of each number, which takes as long as the copying.
            np.take(stored, which.reshape(-1), axis=0, out=room, mode="clip")
            x = torch.from_numpy(room).view(*which.shape, *shape)
            yield from zip(x.unbind(0), counts, strict=True)
