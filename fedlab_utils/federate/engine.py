"""Local training of many clients side by side; `loop` has the plain loop it must agree with.

Taught in chapter 03. Both return the update matrix [K, P] (a client's weights minus those it
got) and each client's mean training loss in this round [K].
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache

import numpy as np
import torch
from torch import nn

from fedlab_utils.federate.batches import CACHE_BYTES, RowStore, fetch_batches, schedule
from fedlab_utils.federate.solvers import SGD
from fedlab_utils.models.dense import DenseAutoencoder
from fedlab_utils.models.stacked import StackedModel, StackedModule
from fedlab_utils.models.stacked_dense import LANES, StackedDense


def _width(size: int, batch_size: int | None) -> int:
    """Rows a step is padded to; depends on the client alone, so chunking cannot change bits."""
    rows = size if batch_size is None else min(size, batch_size)
    if batch_size is None or rows < batch_size:
        rows = 1 << (rows - 1).bit_length()  # few widths, so that many clients share one
    return -(-rows // LANES) * LANES


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
        own = rows_of(weights, chosen)
        named = {name: rows_of(t, chosen) for name, t in (beside or {}).items()}
        return _train_chunk(model, own, store, clients[chosen], local, seed, round_, width, named)

    size = weights.shape[-1]
    return in_chunks(work, size, store.floats_per_row(), sizes, widths, chunk)


def rows_of(values: torch.Tensor, chosen: np.ndarray | int) -> torch.Tensor:
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
        # Operations this small gain a tenth where torch keeps no books for autograd.
        with torch.inference_mode():
            updates[chosen], losses[chosen] = work(chosen, width)

    workers = torch.get_num_threads()
    jobs = []
    for width in np.unique(widths):
        group = np.flatnonzero(widths == width)
        # Most steps first: those that have finished are then at the end and can be cut off.
        group = group[np.argsort(-order[group], kind="stable")]
        per_client = 4 * (3 * parameters + 6 * int(width) * floats_per_row)
        most = chunk or int(np.clip(CACHE_BYTES // per_client, 8, 256))
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


_kept = threading.local()


def _stacked_dense(
    model: DenseAutoencoder, weights: torch.Tensor, clients: int, width: int
) -> StackedDense:
    """This thread's last buffers if they fit, or new ones, which cost as much as several steps."""
    stacked: StackedDense | None = getattr(_kept, "stacked", None)
    if stacked is not None and stacked.fits(model, clients, width):
        stacked.restart(weights)
    else:
        stacked = _kept.stacked = StackedDense(model, weights, clients, width)
    return stacked


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
        stacked = _stacked_dense(model, weights, len(clients), width)
    else:
        stacked = StackedModule(model, weights, len(clients))
    buffers = {name: stacked.pack(values) for name, values in beside.items()}
    batch_size = min(local.batch_size or width, width)
    steps = schedule(seed, round_, clients, sizes, batch_size, local.epochs)
    batches = fetch_batches(store, clients, steps, width)
    trained, loss_sum = take_steps(stacked, batches, local, stacked.differentiate, buffers)
    return trained - weights, loss_sum.div(torch.from_numpy(sizes * local.epochs)).float()


def take_steps(
    stacked: StackedModel,
    batches: Iterable[tuple[torch.Tensor, torch.Tensor]],
    local: SGD,
    differentiate: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    beside: Mapping[str, torch.Tensor],
) -> tuple[torch.Tensor, torch.Tensor]:
    """Train until the last client has finished; those with the most steps come first.

    Args:
        batches: for each step x [k, width, ...] and counts [k] of the k clients still at work.
        differentiate: fills the gradients for (x, counts); returns each client's sum of losses.
        beside: buffers for `local.adjust`, made by `stacked.pack`.

    Returns:
        weights [K, P] and sums of losses [K] (float64).
    """
    active = stacked.clients
    finished: list[torch.Tensor] = []  # those that finished last come first
    loss_sum = torch.zeros(active, dtype=torch.float64)
    working = loss_sum
    velocity: torch.Tensor | None = None
    for x, counts in batches:
        k = len(x)
        if k < active:
            finished.insert(0, stacked.matrix()[k:])
            velocity = None if velocity is None else stacked.keep(velocity, k)
            beside = {name: stacked.keep(b, k) for name, b in beside.items()}
            stacked.shrink(k)
            active, working = k, loss_sum[:k]
        working.add_(differentiate(x, counts))
        local.adjust(stacked.weights, stacked.gradients, beside)
        velocity = local.step(stacked.weights, stacked.gradients, velocity)
    rest = stacked.matrix()
    return torch.cat([rest, *finished]) if finished else rest, loss_sum
