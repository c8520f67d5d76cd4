"""DP-SGD: local training that hides every single row. Taught in chapter 06."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from fedlab_utils.errors import FedlabError
from fedlab_utils.federate.batches import RowStore, fetch_batches
from fedlab_utils.federate.engine import in_chunks, rows_of, take_steps
from fedlab_utils.federate.solvers import SGD, Engine
from fedlab_utils.models.flat import unflatten
from fedlab_utils.models.stacked_dense import LANES
from fedlab_utils.privacy.dp.accounting import Accountant, Release
from fedlab_utils.privacy.dp.clipping import clipped_gradient, clipped_model
from fedlab_utils.privacy.dp.mechanisms import check_positive
from fedlab_utils.privacy.dp.noise import NoiseSource, SeededNoise, Stream, poisson_sample
from fedlab_utils.privacy.dp.statement import Guarantee, total_epsilon

_CLIENT = 0xD9
# Numbers of noise that are drawn at once, over all clients of a chunk.
_NOISE_FLOATS = 1 << 20


@dataclass(frozen=True)
class DPSGD:
    """Stochastic gradient descent with clipped rows and Gaussian noise, record level.

    In each step every row of a client takes part by its own coin; each taken row's gradient is
    clipped; noise is added to the sum; the sum is divided by the *expected* number of rows. A step
    whose sample is empty still adds its noise. Each client draws its own coins and noise, so
    its records are protected from the server as well. Its number of rows counts as public.

    Attributes:
        lr: step size.
        clip: largest norm of a row's gradient.
        noise_multiplier: standard deviation of the noise on the sum over `clip`; 0 for none.
        sample_rate: probability of each row in a step, the same for all clients; or
        batch_size: the expected rows in a step, so small clients get a higher rate.
        steps: steps in a round; or
        epochs: expected passes over the rows in a round.
        momentum: as in SGD; it costs no privacy.
        noise: where coins and noise come from.

    Source: Abadi et al. 2016, https://arxiv.org/abs/1607.00133. Taught in chapter 06.
    """

    lr: float = 0.05
    clip: float = 1.0
    noise_multiplier: float = 1.0
    sample_rate: float | None = None
    batch_size: int | None = None
    steps: int | None = None
    epochs: float | None = None
    momentum: float = 0.0
    noise: NoiseSource = field(default_factory=SeededNoise)

    def __post_init__(self) -> None:
        SGD(lr=self.lr, momentum=self.momentum)
        check_positive("DPSGD: clip", self.clip)
        if (self.sample_rate is None) == (self.batch_size is None):
            raise FedlabError("DPSGD: give either sample_rate or batch_size (expected rows).")
        if (self.steps is None) == (self.epochs is None):
            raise FedlabError("DPSGD: give either steps or epochs (of each round).")
        if self.sample_rate is not None and not 0 < self.sample_rate <= 1:
            raise FedlabError(
                f"DPSGD: sample_rate={self.sample_rate} must be above 0 and at most 1."
            )
        if self.batch_size is not None and self.batch_size < 1:
            raise FedlabError(f"DPSGD: batch_size={self.batch_size} must be at least 1.")
        if self.steps is not None and (self.steps < 1 or int(self.steps) != self.steps):
            raise FedlabError(f"DPSGD: steps={self.steps} must be a whole number of at least 1.")
        if self.epochs is not None:
            check_positive("DPSGD: epochs", self.epochs)
        Release(self.noise_multiplier)

    def rate(self, rows: int) -> float:
        """Probability of each row in a step, for a client with this many rows."""
        if self.sample_rate is not None:
            return self.sample_rate
        assert self.batch_size is not None
        return min(1.0, self.batch_size / rows)

    def steps_of(self, rows: int) -> int:
        """Steps in a round of a client with this many rows."""
        if self.steps is not None:
            return self.steps
        assert self.epochs is not None
        return max(1, round(self.epochs / self.rate(rows)))

    def release(self, rows: int, rounds: int) -> Release:
        """What a client with this many rows releases in `rounds` rounds."""
        return Release(self.noise_multiplier, self.rate(rows), rounds * self.steps_of(rows))

    def epsilon(
        self,
        sizes: int | Sequence[int] | np.ndarray,
        rounds: int,
        delta: float,
        *,
        also: Iterable[Release] = (),
        accountant: Accountant = "rdp",
    ) -> float:
        """The epsilon of one record, at the client where it is largest.

        `sizes` are the clients' rows. Records of one client cost nothing at another, so clients
        do not add up. `also` are other releases, such as a private scaler's.
        """
        return self.statement(sizes, rounds, delta, also=also, accountant=accountant).epsilon

    def statement(
        self,
        sizes: int | Sequence[int] | np.ndarray,
        rounds: int,
        delta: float,
        *,
        also: Iterable[Release] = (),
        accountant: Accountant = "rdp",
    ) -> Guarantee:
        """The guarantee of a run; see `epsilon`."""
        others = tuple(also)
        options = {(self.release(int(n), rounds), *others) for n in np.atleast_1d(sizes)}
        worst = max(
            options, key=lambda releases: total_epsilon("record", releases, delta, accountant)
        )
        return Guarantee(
            unit="record",
            protected="every single training row of every client (a person with several rows has "
            "less protection)",
            from_whom="everybody who sees a client's updates or the models, the server included",
            not_from="the client itself",
            rounds=rounds,
            releases=worst,
            delta=delta,
            assumptions=(
                "nobody knows a client's coins and noise",
                "each client's number of rows is public",
            ),
            accountant=accountant,
        )

    def train(
        self,
        engine: Engine,
        model: nn.Module,
        weights: torch.Tensor,
        store: RowStore,
        clients: np.ndarray,
        seed: int,
        round_: int,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See LocalSolver."""
        if engine == "loop":
            return _train_loop(self, model, weights, store, clients, seed, round_)
        return train_stacked_privately(self, model, weights, store, clients, seed, round_)

    def draw(
        self, client: int, rows: int, seed: int, round_: int
    ) -> tuple[list[np.ndarray], Stream]:
        """The row numbers of each step, and the stream from which the noise of each step comes.

        Both depend on seed, round and client alone, whoever else takes part.
        """
        stream = self.noise.stream(seed, _CLIENT, round_, client)
        return poisson_sample(stream, self.rate(rows), rows, self.steps_of(rows)), stream


def train_stacked_privately(
    local: DPSGD,
    model: nn.Module,
    weights: torch.Tensor,
    store: RowStore,
    clients: np.ndarray,
    seed: int,
    round_: int,
    chunk: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Train the chosen clients side by side; see `train_stacked`."""
    sizes = store.sizes[clients]
    drawn = [local.draw(int(c), int(n), seed, round_) for c, n in zip(clients, sizes, strict=True)]
    steps = np.array([len(batches) for batches, _ in drawn])
    largest = np.array([max(map(len, batches)) for batches, _ in drawn], dtype=np.int64)
    widths = np.array([_width(int(rows)) for rows in largest], dtype=np.int64)

    def work(chosen: np.ndarray, width: int) -> tuple[torch.Tensor, torch.Tensor]:
        own, draws = rows_of(weights, chosen), [drawn[i] for i in chosen]
        return _train_chunk(local, model, own, store, clients[chosen], draws, width)

    size = weights.shape[-1]
    per_row = store.floats_per_row() if store.dense else size
    return in_chunks(work, size, per_row, steps, widths, chunk)


def _width(largest: int) -> int:
    """Rows a step is padded to: enough for the largest sample of the client's round.

    It depends on the client alone, so chunking cannot change bits; and there are few widths (16,
    32, 48, 64, 96, 128, 192, ...), so that many clients share one.
    """
    power = max(1 << (max(largest, 1) - 1).bit_length(), LANES)
    smaller = power * 3 // 4
    return smaller if largest <= smaller and smaller % LANES == 0 else power


def _train_chunk(
    local: DPSGD,
    model: nn.Module,
    weights: torch.Tensor,
    store: RowStore,
    clients: np.ndarray,
    drawn: list[tuple[list[np.ndarray], Stream]],
    width: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Train clients of one batch width, most steps first."""
    plans = [batches for batches, _ in drawn]
    steps = np.array([len(plan) for plan in plans])
    expected = np.array([local.rate(int(n)) * n for n in store.sizes[clients]])
    scale = torch.from_numpy((1 / expected).astype(np.float32))
    deviation = (local.noise_multiplier * local.clip * scale).unsqueeze(1)
    noise = _noise([stream for _, stream in drawn], steps, weights.shape[-1])
    stacked = clipped_model(model, weights, len(clients), width)
    sgd = SGD(lr=local.lr, momentum=local.momentum)
    batches = fetch_batches(store, clients, _schedule(plans, steps, width), width)

    def differentiate(x: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        k = len(x)
        losses = stacked.differentiate_clipped(x, counts, local.clip, scale[:k])
        stacked.add_to_gradients(next(noise)[:k] * deviation[:k])
        return losses

    trained, loss_sum = take_steps(stacked, batches, sgd, differentiate, {})
    seen = torch.tensor([sum(map(len, plan)) for plan in plans]).clamp_min(1)
    return trained - weights, loss_sum.div(seen).float()


def _schedule(
    plans: list[list[np.ndarray]], steps: np.ndarray, width: int
) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
    """Each step's row numbers [k, width] and how many of them count [k]; `steps` must fall."""
    for s in range(steps[0]):
        batches = [plan[s] for plan in plans[: int((steps > s).sum())]]
        counts = np.array([len(batch) for batch in batches])
        rows = np.zeros((len(batches), width), dtype=np.int64)
        rows[np.arange(width) < counts[:, None]] = np.concatenate(batches)
        yield rows, torch.from_numpy(counts.astype(np.float32))


def _noise(streams: list[Stream], steps: np.ndarray, size: int) -> Iterator[torch.Tensor]:
    """Standard normal values [k, P] for each step, each client's from its own stream."""
    block = max(1, _NOISE_FLOATS // (len(streams) * size))
    for first in range(0, int(steps[0]), block):
        left = np.minimum(steps - first, block)
        values = np.empty((int((left > 0).sum()), int(left[0]), size), dtype=np.float32)
        for k, mine in enumerate(values):
            mine[: left[k]] = streams[k].normal((int(left[k]), size))
        yield from torch.from_numpy(values).unbind(1)


def _train_loop(
    local: DPSGD,
    model: nn.Module,
    weights: torch.Tensor,
    store: RowStore,
    clients: np.ndarray,
    seed: int,
    round_: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The readable reference: one client after the other, one row after the other."""
    sgd = SGD(lr=local.lr, momentum=local.momentum)
    updates = torch.empty(len(clients), weights.shape[-1])
    losses = torch.empty(len(clients))
    for i, client in enumerate(clients):
        rows, begin, velocity = store.of(client), rows_of(weights, i), None
        own = begin.clone()
        expected = local.rate(len(rows)) * len(rows)
        batches, stream = local.draw(int(client), len(rows), seed, round_)
        loss_sum, seen = 0.0, 0
        for batch in batches:
            x = rows[torch.from_numpy(batch)]
            here = unflatten(own, model)
            with torch.no_grad():
                loss_sum += float((here(x) - x).square().flatten(1).mean(dim=1).sum())
            total, _ = clipped_gradient(here, x, local.clip)
            noise = torch.from_numpy(stream.normal((len(own),)))
            total += local.noise_multiplier * local.clip * noise
            velocity = sgd.step(own, total / expected, velocity)
            seen += len(batch)
        updates[i], losses[i] = own - begin, loss_sum / max(seen, 1)
    return updates, losses
