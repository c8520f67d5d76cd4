"""What a model is worth after so many bytes. Taught in chapter 12."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from fedlab_utils.data.federation import Federation
from fedlab_utils.errors import FedlabError
from fedlab_utils.federate.fit import Run, fit
from fedlab_utils.federate.servers import ServerOptimizer, ServerSGD, ServerState
from fedlab_utils.models.flat import unflatten

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class _Watched:
    """A server optimiser that keeps the weights after each round."""

    inner: ServerOptimizer
    seen: list[torch.Tensor] = field(default_factory=list)

    def start(self, weights: torch.Tensor) -> ServerState:
        return self.inner.start(weights)

    def step(
        self, weights: torch.Tensor, update: torch.Tensor, state: ServerState
    ) -> tuple[torch.Tensor, ServerState]:
        weights, state = self.inner.step(weights, update, state)
        self.seen.append(weights)
        return weights, state


@dataclass(frozen=True)
class Trace:
    """A run, and how good its model was after each round.

    Attributes:
        run: what `fit` returned.
        rounds: the rounds after which the model was measured.
        megabytes: sent by then, up and down, by all clients together.
        values: what was measured.
    """

    run: Run
    rounds: list[int]
    megabytes: list[float]
    values: list[float]

    def to_frame(self) -> pd.DataFrame:
        """A pandas table, one row per measured round."""
        import pandas as pd

        columns = {"MB": self.megabytes, "value": self.values}
        return pd.DataFrame(columns, index=pd.Index(self.rounds, name="round"))

    def megabytes_to_reach(self, value: float) -> float:
        """Megabytes after which the model was first as good as `value`; nan if it never was."""
        pairs = zip(self.megabytes, self.values, strict=True)
        return next((sent for sent, reached in pairs if reached >= value), float("nan"))


def trace(
    model: nn.Module,
    federation: Federation,
    *,
    measure: Callable[[nn.Module], float],
    rounds: int,
    every: int = 1,
    server: ServerOptimizer | None = None,
    **options: Any,
) -> Trace:
    """`fit`, with the model measured after every `every`-th round and after the last one.

    `options` are those of `fit`; there can be no checkpoint, because the rounds in it were not
    watched. Raises FedlabError for that, and as `fit` does. Taught in chapter 12.
    """
    if options.get("checkpoint") is not None:
        raise FedlabError("trace: a checkpoint's rounds cannot be measured; leave it out.")
    if every < 1 or rounds < 1:
        raise FedlabError(f"trace: every={every} and rounds={rounds} must be at least 1.")
    watched = _Watched(server or ServerSGD())
    run = fit(model, federation, rounds=rounds, server=watched, **options)
    sent = list(accumulate(r.bytes_up + r.bytes_down for r in run.history))
    measured = sorted({*range(every, rounds + 1, every), rounds})
    return Trace(
        run,
        measured,
        [sent[r - 1] / 1e6 for r in measured],
        [measure(unflatten(watched.seen[r - 1], model)) for r in measured],
    )
