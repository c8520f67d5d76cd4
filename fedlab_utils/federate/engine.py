"""Local training of many clients: stacked, and the plain loop it must agree with.

Taught in chapter 03. Both return the update matrix [K, P] (a client's weights minus the global
ones) and each client's mean training loss in this round [K].
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from itertools import groupby, islice

import numpy as np
import torch
from torch import nn
from torch.nn.functional import mse_loss

from fedlab_utils.federate.order import batch_order
from fedlab_utils.federate.solvers import SGD
from fedlab_utils.models.dense import DenseAutoencoder
from fedlab_utils.models.flat import flatten, unflatten
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
) -> tuple[torch.Tensor, torch.Tensor]:
    """Train the chosen clients side by side, `chunk` at a time.

    Args:
        weights: [P] global weights.
        clients: [K] numbers of the clients that take part.
        chunk: clients trained at once; None picks what fits the cache. It changes the speed,
            never a bit of the result.

    Returns:
        updates [K, P] and losses [K], in the order of `clients`.
    """
    sizes = store.sizes[clients]
    updates = torch.empty(len(clients), weights.numel())
    losses = torch.empty(len(clients))

    def work(chosen: np.ndarray, width: int) -> None:
        updates[chosen], losses[chosen] = _train_chunk(
            model, weights, store, clients[chosen], local, seed, round_, width
        )

    workers = torch.get_num_threads()
    jobs = []
    widths = np.array([_width(int(n), local.batch_size) for n in sizes])
    for width in np.unique(widths):
        group = np.flatnonzero(widths == width)
        # Most steps first: those that have finished are then at the end and can be cut off.
        group = group[np.argsort(-sizes[group], kind="stable")]
        per_client = 4 * (3 * weights.numel() + 6 * int(width) * store.floats_per_row())
        most = chunk or int(np.clip(_CHUNK_BYTES // per_client, 8, 256))
        # Two threads with half each beat one thread with all, unless a half is too small: then
        # they wait for each other to start operations.
        pieces = max(-(-len(group) // most), min(workers, len(group) // 100))
        jobs += [(part, int(width)) for part in np.array_split(group, max(pieces, 1))]
    with _one_thread_each():
        if workers == 1 or len(jobs) == 1:
            for job in jobs:
                work(*job)
        else:
            for done in [_workers(workers).submit(work, *job) for job in jobs]:
                done.result()
    return updates, losses


@contextmanager
def _one_thread_each() -> Iterator[None]:
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


def _batches(
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
) -> tuple[torch.Tensor, torch.Tensor]:
    """Train clients of one batch width, largest first, until the last has finished."""
    sizes = store.sizes[clients]
    stacked: StackedModel
    if isinstance(model, DenseAutoencoder):
        stacked = StackedDense(model, weights, len(clients), width)
    else:
        stacked = StackedModule(model, weights, len(clients))
    trained = torch.empty(len(clients), weights.numel())
    loss_sum = torch.zeros(len(clients), dtype=torch.float64)
    batch_size = min(local.batch_size or width, width)
    schedule = _schedule(seed, round_, clients, sizes, batch_size, local.epochs)
    velocity: torch.Tensor | None = None
    active = len(clients)
    with torch.no_grad():
        for x, counts in _batches(store, clients, schedule, width):
            k = len(x)
            if k < active:
                trained[k:active] = stacked.matrix()[k:]
                velocity = None if velocity is None else stacked.keep(velocity, k)
                stacked.shrink(k)
                active = k
            loss_sum[:k] += stacked.differentiate(x, counts)
            velocity = local.step(stacked.weights, stacked.gradients, velocity)
        trained[:active] = stacked.matrix()
    return trained - weights, loss_sum.div(torch.from_numpy(sizes * local.epochs)).float()


def train_loop(
    model: nn.Module,
    weights: torch.Tensor,
    store: RowStore,
    clients: np.ndarray,
    local: SGD,
    seed: int,
    round_: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The same as `train_stacked`, one client after the other with autograd and torch.optim.

    The readable reference: what a client does when it is alone on its own machine.
    """
    updates = torch.empty(len(clients), weights.numel())
    losses = torch.empty(len(clients))
    with _one_thread_each():
        for i, client in enumerate(clients):
            updates[i], losses[i] = _train_alone(
                model, weights, store.of(client), client, local, seed, round_
            )
    return updates, losses


def _train_alone(
    model: nn.Module,
    weights: torch.Tensor,
    rows: torch.Tensor,
    client: int,
    local: SGD,
    seed: int,
    round_: int,
) -> tuple[torch.Tensor, float]:
    """One client's update [P] and mean training loss."""
    own = unflatten(weights, model)
    optimiser = torch.optim.SGD(own.parameters(), lr=local.lr, momentum=local.momentum)
    size, loss_sum = len(rows), 0.0
    for epoch in range(local.epochs):
        who, when, how_many = np.array([client]), np.array([epoch]), np.array([size])
        order = torch.from_numpy(batch_order(seed, round_, who, when, size, how_many)[0])
        for batch in order.split(local.batch_size or size):
            x = rows[batch]
            optimiser.zero_grad()
            loss = mse_loss(own(x), x)
            loss.backward()
            optimiser.step()
            loss_sum += loss.item() * len(batch)
    return flatten(own) - weights, loss_sum / (size * local.epochs)
