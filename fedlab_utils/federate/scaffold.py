"""SCAFFOLD: clients correct their drift by control variates. Taught in chapter 09."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import numpy as np
import torch
from torch import nn

from fedlab_utils.federate.batches import RowStore
from fedlab_utils.federate.solvers import SGD, Engine, Trained


class _Corrected(SGD):
    """SGD whose gradients get a fixed vector added."""

    def adjust(
        self, weights: torch.Tensor, gradients: torch.Tensor, beside: Mapping[str, torch.Tensor]
    ) -> None:
        gradients.add_(beside["correction"])


@dataclass(frozen=True)
class Scaffold:
    """SGD with the gradient g - c_k + c: what client k knows of its own bias, taken away.

    c_k is the mean gradient that client k met in its last round (option II of the paper), c the
    mean of all c_k. Both start at zero, so the first round is FedAvg, to the bit. A client keeps
    its c_k from round to round, also while it is not drawn.

    A round costs each client twice the bytes: c comes with the weights, the change of c_k goes
    with the update. That change is as telling as the update; no aggregator protects it, and `fit`
    refuses one that states an epsilon.

    With `weighted`, c is the mean by training rows, as it must be where the server weights
    updates by rows (`Mean()`): only then the corrections cancel at the optimum. The paper has
    equal weights. With momentum, "mean gradient" counts each step by how far it has moved the
    weights (`SGD.effective_steps`).

    Attributes:
        local: the steps that clients take.
        weighted: weight c by rows; set it as that of `Mean`.

    Source: Karimireddy et al. 2020, algorithm 1, arXiv:1910.06378. Taught in chapter 09.
    """

    local: SGD = field(default_factory=SGD)
    weighted: bool = True

    def start(self, weights: torch.Tensor, sizes: np.ndarray) -> dict[str, torch.Tensor]:
        """Control variates of zero, and each client's share in their mean."""
        share = torch.from_numpy(sizes if self.weighted else np.ones(len(sizes))).double()
        return {
            "server": torch.zeros_like(weights),
            "clients": torch.zeros(len(sizes), len(weights)),
            "share": (share / share.sum()).float(),
        }

    def train_round(
        self,
        engine: Engine,
        model: nn.Module,
        weights: torch.Tensor,
        store: RowStore,
        clients: np.ndarray,
        seed: int,
        round_: int,
        state: dict[str, torch.Tensor],
    ) -> Trained:
        """See RoundSolver."""
        chosen = torch.from_numpy(clients)
        correction = state["server"] - state["clients"][chosen]
        updates, losses = _Corrected(**asdict(self.local)).run(
            engine, model, weights, store, clients, seed, round_, {"correction": correction}
        )
        steps = self.local.effective_steps(torch.from_numpy(store.sizes[clients]))
        met = -updates / (self.local.lr * steps.float()[:, None])  # mean gradient, corrected
        change = met - state["server"]  # (c_k - c + met) - c_k
        state["clients"][chosen] += change
        state["server"] += state["share"][chosen] @ change
        return Trained(updates, losses, extra=len(weights))

    def personal(self, state: dict[str, torch.Tensor]) -> None:
        """All clients share one model."""
