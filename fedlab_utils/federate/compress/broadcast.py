"""Compressed messages from the server. Taught in chapter 12."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

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
from fedlab_utils.federate.compress.codec import Codec
from fedlab_utils.federate.compress.draws import seed_of
from fedlab_utils.federate.compress.feedback import check_contraction
from fedlab_utils.federate.compress.floats import Float32

_LEFT, _LENGTHS, _HAS = "broadcast left out", "broadcast lengths", "has version/"


@dataclass(frozen=True)
class Broadcast:
    """The server sends the change of the model by a codec, instead of the model.

    All clients add the same decoded change to their copy, and so does the server: its model *is*
    the clients' copy, and nothing drifts apart. What the codec left out stays with the server and
    is added to the next change (error feedback).

    A client that did not take part for some rounds needs all the changes that it has missed, or
    the whole model if that is shorter; `bytes_down` counts this for each client. A client's first
    model is sent in full.

    It counts for `ServerSGD`, which adds the update. A server optimiser with a memory works too,
    if the clients run it as well; then a whole model would have to bring that memory along.

    Attributes:
        codec: of the change; it must be a contraction.
        inner: makes the update of the clients' updates, for example `Compressed(...)`.
        start_known: the clients can make the first model themselves, for example from a seed that
            came with the code; then only changes have to be sent.

    Source: Tang et al. 2019, arXiv:1905.05957 (DoubleSqueeze). Taught in chapter 12.
    """

    codec: Codec
    inner: Aggregator | RoundAggregator = field(default_factory=Mean)
    start_known: bool = False

    def start(self, size: int) -> dict[str, torch.Tensor]:
        """Nothing left out yet, nothing sent, and the inner memory.

        Raises FedlabError for a codec that is no contraction, and for encrypted means.
        """
        check_contraction(self.codec, size)
        if not sends_model(self.inner):
            raise FedlabError(
                f"Broadcast: with {type(self.inner).__name__} the server cannot read the model, so "
                f"it has nothing to compress: its clients make the model themselves."
            )
        own = {_LEFT: torch.zeros(size), _LENGTHS: torch.zeros(0, dtype=torch.int64)}
        return own | first_memory(self.inner, size)

    def aggregate_round(
        self,
        updates: torch.Tensor,
        weights: torch.Tensor,
        state: dict[str, torch.Tensor],
        context: RoundContext,
    ) -> Aggregated:
        """[K, P], [K] -> the decoded update [P], and the bytes the round's clients had to get."""
        own = {name: value for name, value in state.items() if _owned(name)}
        rest = {name: value for name, value in state.items() if not _owned(name)}
        size = updates.shape[1]
        down = self._deliver(own, context, size)
        done = aggregate(self.inner, updates, weights, rest, context)
        if done.bytes_down is not None:  # its protocol's messages; the model is counted here
            down += done.bytes_down - 4 * size * len(updates)
        wanted = done.update + own[_LEFT]
        message = self.codec.encode(wanted, seed_of(context.seed, "broadcast", context.round))
        change = self.codec.decode(message, size)
        length = torch.tensor([len(message)])
        own |= {_LEFT: wanted - change, _LENGTHS: torch.cat([own[_LENGTHS], length])}
        return replace(done, update=change, state=own | done.state, bytes_down=down)

    def _deliver(self, own: dict[str, torch.Tensor], context: RoundContext, size: int) -> int:
        """Bytes that bring the round's clients up to date; notes that they are."""
        lengths, total = own[_LENGTHS].tolist(), 0
        whole = Float32().header_length + Float32().length(size)
        for name in context.clients:
            version = own.get(_HAS + name)
            if version is None and not self.start_known:
                total += whole
            else:
                missed = 0 if version is None else int(version)
                total += min(sum(lengths[missed:]), whole)
            own[_HAS + name] = torch.tensor(len(lengths))
        return total


def sends_model(aggregator: object) -> bool:
    """Whether the server sends a model, which `bytes_down` then includes; under encryption not."""
    inner = getattr(aggregator, "inner", None)
    own = bool(getattr(aggregator, "sends_model", True))
    return own and (inner is None or sends_model(inner))


def _owned(name: str) -> bool:
    return name in (_LEFT, _LENGTHS) or name.startswith(_HAS)
