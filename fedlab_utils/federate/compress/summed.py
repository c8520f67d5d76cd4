"""Compression that leaves sums possible: for secure sums. Taught in chapter 12."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch

from fedlab_utils.errors import FedlabError
from fedlab_utils.federate.aggregators import (
    Aggregated,
    Aggregator,
    Mean,
    RoundAggregator,
    RoundContext,
    aggregate,
    first_memory,
)
from fedlab_utils.federate.compress.broadcast import sends_model
from fedlab_utils.federate.compress.codec import Codec
from fedlab_utils.federate.compress.draws import seed_of, uniforms
from fedlab_utils.federate.compress.feedback import (
    add_left_out,
    check_contraction,
    divide,
    keep_left_out,
)


@dataclass(frozen=True)
class CompressedSum:
    """Clients send the numbers a linear codec leaves; the server decodes their mean only.

    All clients draw by the round's common seed. A linear codec's mean, decoded, is the mean of what
    would have been decoded one by one; so `inner` may be a secure sum, which never shows the server
    a single client's numbers, and gets fewer of them.

    Attributes:
        codec: `RandomMask()` or `Rotated(RandomMask())`.
        inner: combines the numbers, for example `SecureMean()`.
        error_feedback: as in `Compressed`; for a mask with `scaled=False`.

    Raises FedlabError for a codec that is not linear. Taught in chapter 12.
    """

    codec: Codec
    inner: Aggregator | RoundAggregator = field(default_factory=Mean)
    error_feedback: bool = False

    def start(self, size: int) -> dict[str, torch.Tensor]:
        """The inner memory, for as many numbers as are sent."""
        if self.error_feedback:
            check_contraction(self.codec, size)
        return first_memory(self.inner, self.codec.projected(size))

    def aggregate_round(
        self,
        updates: torch.Tensor,
        weights: torch.Tensor,
        state: dict[str, torch.Tensor],
        context: RoundContext,
    ) -> Aggregated:
        """[K, P], [K] -> the update [P], and the bytes that were sent."""
        own, rest = divide(state)
        wanted = add_left_out(updates, own, context.clients) if self.error_feedback else updates
        size, seed = updates.shape[1], seed_of(context.seed, "sum", context.round)
        numbers = torch.from_numpy(self.codec.project(wanted.numpy(), seed))
        if self.error_feedback:
            alone = torch.from_numpy(self.codec.lift(numbers.numpy(), size, seed))
            own = keep_left_out(wanted - alone, own, context.clients)
        done = aggregate(self.inner, numbers, weights, rest, context)
        if done.epsilon is not None and self.error_feedback:
            raise FedlabError(
                f"CompressedSum: {type(self.inner).__name__} clips and adds noise, of which the "
                f"clients' memory does not know. With privacy use error_feedback=False."
            )
        return replace(
            done,
            update=torch.from_numpy(self.codec.lift(done.update[None].numpy(), size, seed))[0],
            state=own | done.state,
            bytes_up=4 * numbers.numel() if done.bytes_up is None else done.bytes_up,
            bytes_down=_with_model(done, self.inner, size - numbers.shape[1], len(updates)),
        )


@dataclass(frozen=True)
class SharedRange:
    """Numbers as integers of a range common to all clients, several of them in one ring element.

    A number from -limit to limit is rounded at random to one of 2^bits levels. The levels of all
    clients add up without overflow in bits + log2(clients) bits, and as many of these lanes as fit
    into 31 bits travel in one element of a secure sum, which has 32 bits.

    Attributes:
        limit: the largest absolute value; a number beyond it is an error, nothing is clipped.
        bits: for each number, 1 to 16.
        inner: adds up whole numbers exactly, and without weights: None for
            `SecureMean(weighted=False, fraction_bits=0)`.

    The mean has equal weights. Source: Bonawitz et al. 2019, arXiv:1912.00131 (auto-tuned ranges).
    Taught in chapter 12.
    """

    limit: float
    bits: int = 8
    inner: Aggregator | RoundAggregator | None = None

    def __post_init__(self) -> None:
        if not (np.isfinite(self.limit) and self.limit > 0):
            raise FedlabError(f"SharedRange: limit={self.limit} must be a positive number.")
        if not 1 <= self.bits <= 16:
            raise FedlabError(f"SharedRange: bits={self.bits}: give 1 to 16.")

    def start(self, size: int) -> dict[str, torch.Tensor]:
        """Nothing is kept from round to round."""
        return {}

    def lanes(self, clients: int) -> tuple[int, int]:
        """Bits of a lane that holds a sum over `clients`, and how many lanes an element has.

        Raises FedlabError if not even one fits.
        """
        width = (clients * (2**self.bits - 1)).bit_length()
        if width > 31:
            raise FedlabError(
                f"SharedRange: the sum over {clients} clients of {self.bits} bits needs {width} "
                f"bits; an element has room for 31. Use fewer bits."
            )
        return width, 31 // width

    def levels(self, numbers: np.ndarray, names: tuple[str, ...], *seed: int) -> np.ndarray:
        """Numbers [K, m] -> levels [K, m] (int64), each client by random numbers of its own."""
        most = np.abs(numbers).max(axis=1, initial=0)
        if (most > self.limit).any():
            at = int(most.argmax())
            raise FedlabError(
                f"SharedRange: {names[at]} has a number of {most[at]:.4g}, beyond limit="
                f"{self.limit:g}. Nothing is clipped: take a larger limit, which makes the steps "
                f"coarser, or rotate first."
            )
        scaled = (numbers.astype(np.float64) / self.limit + 1) / 2 * (2**self.bits - 1)
        below = np.floor(scaled)
        drawn = np.asarray([seed_of(*seed, "range", name) for name in names], dtype=np.uint64)
        return (below + (uniforms(drawn, numbers.shape[1]) < scaled - below)).astype(np.int64)

    def aggregate_round(
        self,
        updates: torch.Tensor,
        weights: torch.Tensor,
        state: dict[str, torch.Tensor],
        context: RoundContext,
    ) -> Aggregated:
        """[K, m] -> their mean [m]; the weights are ignored."""
        clients, size = updates.shape
        if not clients:
            return Aggregated(torch.zeros(size), {}, bytes_up=0, bytes_down=0)
        width, lanes = self.lanes(clients)
        levels = self.levels(updates.numpy(), context.clients, context.seed, context.round)
        filled = np.pad(levels, ((0, 0), (0, -size % lanes))).reshape(clients, -1, lanes)
        places = 1 << (width * np.arange(lanes, dtype=np.int64))
        # float64 holds 31 bits exactly, as the aggregators' tensors must.
        elements = torch.from_numpy((filled @ places).astype(np.float64))
        inner = self._inner()
        done = aggregate(inner, elements, torch.ones(clients), {}, context)
        sums = torch.round(done.update * clients).numpy().astype(np.int64)
        total = ((sums[:, None] >> (width * np.arange(lanes))) & ((1 << width) - 1)).reshape(-1)
        mean = (total[:size] / clients / (2**self.bits - 1) * 2 - 1) * self.limit
        return Aggregated(
            torch.from_numpy(mean).to(updates.dtype),
            {},
            bytes_up=4 * elements.numel() if done.bytes_up is None else done.bytes_up,
            bytes_down=_with_model(done, inner, size - elements.shape[1], clients),
        )

    def _inner(self) -> Aggregator | RoundAggregator:
        from fedlab_utils.privacy.secure import SecureMean

        return self.inner or SecureMean(weighted=False, fraction_bits=0)


def _with_model(done: Aggregated, inner: object, missing: int, clients: int) -> int | None:
    """`bytes_down` where the inner aggregator counted a model that is `missing` numbers short."""
    if done.bytes_down is None or not sends_model(inner):
        return done.bytes_down
    return done.bytes_down + 4 * missing * clients
