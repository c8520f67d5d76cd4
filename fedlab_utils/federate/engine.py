"""Local training of many clients side by side; `loop` has the plain loop it must agree with.

Taught in chapter 03. Both return the update matrix [K, P] (a client's weights minus those it
got) and each client's mean training loss in this round [K].
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from itertools import groupby, islice

import numpy as np
import torch
from torch import nn

from fedlab_utils.federate.order import batch_order
from fedlab_utils.federate.solvers import SGD
from fedlab_utils.models.dense import DenseAutoencoder
from fedlab_utils.models.stacked import LANES, StackedDense, StackedModel, StackedModule, with_ones

# About what a core's caches hold: larger chunks wait for memory, smaller ones for Python.
_CHUNK_BYTES = 4 << 20


def _width(size: int, batch_size: int | None) -> int:
    """Rows a step is padded to; depends on the client alone, so chunking cannot change bits."""
    rows = size if batch_size is None else min(size, batch_size)
    if batch_size is None or rows < batch_size:
        rows = 1 << (rows - 1).bit_length()  # few widths, so that many clients share one
    return -(-rows // LANES) * LANES


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


def train_stacked(
    model: nn.Module,
    weights: torch.Tensor,
    store: RowStore,
    clients: np.ndarray,
    local: SGD,
    seed: int,
    round_: int,
    chunk: int | None = None,
    beside: Mapping[str, torch.Tensor] | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Train the chosen clients side by side, `chunk` at a time.

    Args:
        weights: [P] global weights, or [K, P] if each client starts from weights of its own.
        clients: [K] numbers of the clients that take part.
        chunk: clients trained at once; None picks what fits the cache. It changes the speed,
            never a bit of the result.
        beside: [P] or [K, P] tensors, in the order of `flatten`, that `local.adjust` gets with
            the gradients of each step.

    Returns:
        updates [K, P] and losses [K], in the order of `clients`.
    """
    sizes = store.sizes[clients]
    widths = np.array([_width(int(n), local.batch_size) for n in sizes])

    def work(chosen: np.ndarray, width: int) -> tuple[torch.Tensor, torch.Tensor]:
        own, *others = (_rows(t, chosen) for t in (weights, *(beside or {}).values()))
        named = dict(zip(beside or {}, others, strict=True))
        return _train_chunk(model, own, store, clients[chosen], local, seed, round_, width, named)

    size = weights.shape[-1]
    return in_chunks(work, size, store.floats_per_row(), sizes, widths, chunk)


def _rows(values: torch.Tensor, chosen: np.ndarray) -> torch.Tensor:
    """The chosen clients' rows of [K, P]; [P] is the same for all."""
    return values if values.ndim == 1 else values[chosen]


def in_chunks(
    work: Callable[[np.ndarray, int], tuple[torch.Tensor, torch.Tensor]],
    parameters: int,
    floats_per_row: int,
    order: np.ndarray,
    widths: np.ndarray,
    chunk: int | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Train clients in portions that fit the cache, on all threads.

    Args:
        work: trains the clients at these places, all of one width: updates [k, P], losses [k].
        parameters: P.
        floats_per_row: numbers a padded row takes.
        order: [K] what decides how many steps a client takes; a portion is sorted by it.
        widths: [K] rows a client's step is padded to.
        chunk: clients in a portion; None picks what fits.
    """
    updates = torch.empty(len(order), parameters)
    losses = torch.empty(len(order))

    def put(chosen: np.ndarray, width: int) -> None:
        updates[chosen], losses[chosen] = work(chosen, width)

    workers = torch.get_num_threads()
    jobs = []
    for width in np.unique(widths):
        group = np.flatnonzero(widths == width)
        # Most steps first: those that have finished are then at the end and can be cut off.
        group = group[np.argsort(-order[group], kind="stable")]
        per_client = 4 * (3 * parameters + 6 * int(width) * floats_per_row)
        most = chunk or int(np.clip(_CHUNK_BYTES // per_client, 8, 256))
        # Two threads with half each beat one thread with all, unless a half is too small: then
        # they wait for each other to start operations.
        pieces = max(-(-len(group) // most), min(workers, len(group) // 100))
        jobs += [(part, int(width)) for part in np.array_split(group, max(pieces, 1))]
    with one_thread_each():
        if workers == 1 or len(jobs) == 1:
            for job in jobs:
                put(*job)
        else:
            for done in [_workers(workers).submit(put, *job) for job in jobs]:
                done.result()
    return updates, losses


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Keep each torch operation on one thread.

    A product this small is not worth sharing out, and torch chooses how to share by the number
    of matrices, which would let the chunk size show in the last bits.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@lru_cache
def _workers(count: int) -> ThreadPoolExecutor:
    """Threads that stay from round to round: the memory of a new thread is cold."""
    return ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,))


def _schedule(
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
    working = steps * epochs > np.arange(steps[0] * epochs)[:, None]
    order = np.empty((len(clients), int(steps[0]) * batch_size), dtype=np.int64)
    columns = np.arange(batch_size)
    alike = steps[0] == steps[-1]
    for s, k in enumerate(working.sum(axis=1)):
        batch = s % steps[:k]
        fresh = np.flatnonzero(batch == 0)
        if len(fresh):
            order[fresh] = batch_order(
                seed, round_, clients[fresh], s // steps[fresh], order.shape[1], sizes[fresh]
            )
        if alike:
            rows = order[:, batch[0] * batch_size : (batch[0] + 1) * batch_size]
        else:
            rows = np.take_along_axis(order[:k], batch[:, None] * batch_size + columns, axis=1)
        counts = np.minimum(sizes[:k] - batch * batch_size, batch_size)
        yield rows, torch.from_numpy(counts.astype(np.float32))


def fetch_batches(
    store: RowStore,
    clients: np.ndarray,
    schedule: Iterator[tuple[np.ndarray, torch.Tensor]],
    width: int,
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The rows of each step, padded to [k, width, ...], and how many count [k].

    The rows of several steps are fetched at once, client by client: one that is read eight times
    from the same few kilobytes has them in the cache; a sweep over all clients per step has not.
    """
    step_bytes = 4 * len(clients) * width * store.floats_per_row()
    block = max(1, _CHUNK_BYTES // step_bytes)
    shape = store.rows.shape[1:]
    buffer = torch.empty(0, *shape)
    for k, steps in groupby(schedule, key=lambda step: len(step[0])):
        index = np.zeros((k, block, width), dtype=np.int64)
        while True:
            counts = []
            for s, (rows, count) in enumerate(islice(steps, block)):
                index[:, s, : rows.shape[1]] = rows
                counts.append(count)
            if not counts:
                break
            which = index[:, : len(counts)] + store.offsets[clients[:k], None, None]
            if len(buffer) < which.size:
                buffer = torch.empty(which.size, *shape)
            x = torch.index_select(
                store.rows, 0, torch.from_numpy(which.reshape(-1)), out=buffer[: which.size]
            ).view(*which.shape, *shape)
            yield from zip(x.unbind(1), counts, strict=True)


def _train_chunk(
    model: nn.Module,
    weights: torch.Tensor,
    store: RowStore,
    clients: np.ndarray,
    local: SGD,
    seed: int,
    round_: int,
    width: int,
    beside: Mapping[str, torch.Tensor],
) -> tuple[torch.Tensor, torch.Tensor]:
    """Train clients of one batch width, largest first, until the last has finished."""
    sizes = store.sizes[clients]
    stacked: StackedModel
    if isinstance(model, DenseAutoencoder):
        stacked = StackedDense(model, weights, len(clients), width)
    else:
        stacked = StackedModule(model, weights, len(clients))
    buffers = {name: stacked.pack(values) for name, values in beside.items()}
    trained = torch.empty(len(clients), weights.shape[-1])
    loss_sum = torch.zeros(len(clients), dtype=torch.float64)
    batch_size = min(local.batch_size or width, width)
    schedule = _schedule(seed, round_, clients, sizes, batch_size, local.epochs)
    velocity: torch.Tensor | None = None
    active = len(clients)
    with torch.no_grad():
        for x, counts in fetch_batches(store, clients, schedule, width):
            k = len(x)
            if k < active:
                trained[k:active] = stacked.matrix()[k:]
                velocity = None if velocity is None else stacked.keep(velocity, k)
                buffers = {name: stacked.keep(b, k) for name, b in buffers.items()}
                stacked.shrink(k)
                active = k
            loss_sum[:k] += stacked.differentiate(x, counts)
            local.adjust(stacked.weights, stacked.gradients, buffers)
            velocity = local.step(stacked.weights, stacked.gradients, velocity)
        trained[:active] = stacked.matrix()
    return trained - weights, loss_sum.div(torch.from_numpy(sizes * local.epochs)).float()
