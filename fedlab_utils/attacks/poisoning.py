"""Attackers inside the federation: some clients send what they like. Taught in chapter 13.

    from fedlab_utils.attacks import Attacked, SignFlip
    fl.fit(model, federation, aggregator=Attacked(fl.Mean(), SignFlip(), ("bank 3", "bank 7")))

The order of the wrappers is the threat model: `Attacked(NormBound(1.0), ...)` attacks a server that
enforces the bound, `NormBound(1.0, Attacked(SecureMean(), ...))` one that only asked for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace as changed
from typing import Literal, Protocol

import numpy as np
import torch

from fedlab_utils.errors import FedlabError
from fedlab_utils.federate.aggregators import (
    Aggregated,
    Aggregator,
    RoundAggregator,
    RoundContext,
    aggregate,
    first_memory,
)

_ATTACK = 0xA77AC
_INNER = "inner."


@dataclass(frozen=True)
class Knowledge:
    """What the attackers know when they choose what to send.

    Attributes:
        own: [f, P] the updates that their own training gave.
        honest: [K - f, P] everybody else's, if they are omniscient; otherwise None.
        weights: [f] the training rows that they state.
        total: all weights of the round. Attackers can guess it, and we let them know it.
        last: [P] the combined update of the last round; zero in the first.
        rng: random numbers of this attack in this round.
    """

    own: torch.Tensor
    honest: torch.Tensor | None
    weights: torch.Tensor
    total: float
    last: torch.Tensor
    rng: np.random.Generator

    @property
    def sample(self) -> torch.Tensor:
        """The updates from which they guess how honest ones are spread: the honest, or own ones."""
        return self.own if self.honest is None else self.honest

    @property
    def clients(self) -> int | None:
        """K, if they are omniscient."""
        return None if self.honest is None else len(self.own) + len(self.honest)


class UpdateAttack(Protocol):
    """Anything that chooses what the attacking clients send."""

    def craft(self, knowledge: Knowledge) -> torch.Tensor:
        """The rows [f, P] that are sent instead of `knowledge.own`."""
        ...


@dataclass(frozen=True)
class Attacked:
    """An aggregator whose updates some clients have replaced by what an attack makes of them.

    Attributes:
        inner: the aggregator under attack, of either kind. Wrap `Attacked` in another one for a
            second group of attackers.
        attack: what they send.
        clients: names of the attackers. In a round without them nothing is changed.
        knows: "own": they know their own updates and the models; "all": everybody's updates, the
            omniscient attacker of the literature, against whom a defence should be measured.
        begins: the first round (from 0) of the attack; before it they are honest.
        claims: training rows that each attacker states, instead of the true number; None for that.

    Raises FedlabError for no or doubly named clients, settings that make no sense, a round of all
    clients in which an attacker is not there (a misspelt name), or an attack that returns rows of
    another shape. Taught in chapter 13.
    """

    inner: Aggregator | RoundAggregator
    attack: UpdateAttack
    clients: Sequence[str]
    knows: Literal["own", "all"] = "own"
    begins: int = 0
    claims: float | None = None

    def __post_init__(self) -> None:
        names = (self.clients,) if isinstance(self.clients, str) else tuple(self.clients)
        object.__setattr__(self, "clients", names)
        if not names or len(set(names)) < len(names):
            raise FedlabError(f"Attacked: clients={names} must be names, at least one, none twice.")
        if self.knows not in ("own", "all"):
            raise FedlabError(f'Attacked: knows={self.knows!r}; choose "own" or "all".')
        if self.begins < 0 or (self.claims is not None and not self.claims > 0):
            raise FedlabError(
                f"Attacked: begins={self.begins} must not be negative, and claims={self.claims} "
                f"must be a positive number of rows, or None."
            )

    def start(self, size: int) -> dict[str, torch.Tensor]:
        """The last combined update (zero), and the memory of the inner aggregator."""
        inner = first_memory(self.inner, size)
        return {"last": torch.zeros(size), **{_INNER + name: t for name, t in inner.items()}}

    def aggregate_round(
        self,
        updates: torch.Tensor,
        weights: torch.Tensor,
        state: dict[str, torch.Tensor],
        context: RoundContext,
    ) -> Aggregated:
        """What `inner` makes of the updates [K, P] after the attack."""
        mine = self._attackers(context)
        if context.round >= self.begins and bool(mine.any()):
            updates, weights = self._replace(updates, weights, state["last"], mine, context)
        inner = {k.removeprefix(_INNER): t for k, t in state.items() if k.startswith(_INNER)}
        done = aggregate(self.inner, updates, weights, inner, context)
        memory = {"last": done.update, **{_INNER + name: t for name, t in done.state.items()}}
        return changed(done, state=memory)

    def _attackers(self, context: RoundContext) -> torch.Tensor:
        """[K] bool: whose updates are the attackers'."""
        missing = [name for name in self.clients if name not in context.clients]
        if missing and len(context.clients) == context.population:
            raise FedlabError(
                f"Attacked: {missing[0]!r} is not one of the clients {', '.join(context.clients)}."
            )
        return torch.tensor([name in self.clients for name in context.clients], dtype=torch.bool)

    def _replace(
        self,
        updates: torch.Tensor,
        weights: torch.Tensor,
        last: torch.Tensor,
        mine: torch.Tensor,
        context: RoundContext,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Updates and weights as the server gets them."""
        updates, weights = updates.clone(), weights.clone()
        if self.claims is not None:
            weights[mine] = self.claims
        knowledge = Knowledge(
            own=updates[mine],
            honest=updates[~mine] if self.knows == "all" else None,
            weights=weights[mine],
            total=float(weights.sum()),
            last=last,
            rng=np.random.default_rng([context.seed, _ATTACK, context.round]),
        )
        sent = self.attack.craft(knowledge)
        if sent.shape != knowledge.own.shape:
            raise FedlabError(
                f"Attacked: {type(self.attack).__name__} returned rows of shape "
                f"{tuple(sent.shape)}; it must keep {tuple(knowledge.own.shape)}."
            )
        updates[mine] = sent.to(updates.dtype)
        return updates, weights
