"""Compressed updates as an aggregator of `fit`. Taught in chapter 12."""

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
from fedlab_utils.federate.compress.feedback import (
    add_left_out,
    check_contraction,
    divide,
    keep_left_out,
)


@dataclass(frozen=True)
class Compressed:
    """Each client sends its update by a codec; the server decodes it and combines as `inner` does.

    The messages are really made, sent as bytes and decoded; `bytes_up` is the sum of their lengths.

    Attributes:
        codec: makes messages of updates.
        inner: what the server does with the decoded updates.
        error_feedback: each client keeps what its message left out, and adds it to its next
            update. Needed by codecs that are biased; refused for those that may err by more than
            the update, and together with differential privacy (chapter 12 says why).

    A privacy mechanism that stands inside gets decoded messages, so it must be one of the server's
    (`DPMean`). Noise that clients add comes first: `LocalDP(inner=Compressed(...))`. Secure sums
    need `CompressedSum`.

    Source: Seide et al. 2014, doi:10.21437/Interspeech.2014-274; Karimireddy et al. 2019,
    arXiv:1901.09847 (error feedback). Taught in chapter 12.
    """

    codec: Codec
    inner: Aggregator | RoundAggregator = field(default_factory=Mean)
    error_feedback: bool = True

    def start(self, size: int) -> dict[str, torch.Tensor]:
        """The inner memory. Raises FedlabError if the codec does not allow error feedback."""
        if self.error_feedback:
            check_contraction(self.codec, size)
        return first_memory(self.inner, size)

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
        seeds = [seed_of(context.seed, context.round, name) for name in context.clients]
        messages = self.codec.encode_all(wanted, seeds)
        received = self.codec.decode_all(messages, updates.shape[1])
        if self.error_feedback:
            own = keep_left_out(wanted - received, own, context.clients)
        done = aggregate(self.inner, received, weights, rest, context)
        self._check(done)
        return replace(done, state=own | done.state, bytes_up=sum(map(len, messages)))

    def _check(self, done: Aggregated) -> None:
        name = type(self.inner).__name__
        if done.bytes_up is not None:
            raise FedlabError(
                f"Compressed: {name} sends messages of its own, of full length, so nothing would "
                f"be saved. Use CompressedSum(codec, inner={name}(...)) with a linear codec."
            )
        if done.epsilon is None:
            return
        from fedlab_utils.privacy.dp import DPMean

        if not isinstance(self.inner, DPMean):
            raise FedlabError(
                f"Compressed: in {name} the clients add the noise, but here the server would have "
                f"decoded messages without it. Turn them around: {name}(inner=Compressed(...))."
            )
        if self.error_feedback:
            raise FedlabError(
                f"Compressed: {name} clips what arrives, and the clients' memory of what they left "
                f"out does not know of it. With privacy use error_feedback=False and a codec that "
                f"is unbiased."
            )
