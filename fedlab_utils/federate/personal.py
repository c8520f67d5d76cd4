"""A model for each client: fine-tuning and Ditto. Taught in chapter 09."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace

import numpy as np
import torch
from torch import nn

from fedlab_utils.data.federation import Federation
from fedlab_utils.errors import FedlabError
from fedlab_utils.federate.batches import RowStore
from fedlab_utils.federate.fedprox import FedProx
from fedlab_utils.federate.fit import fit_local
from fedlab_utils.federate.solvers import SGD, Engine, Trained


def fine_tune(
    model: nn.Module, federation: Federation, *, passes: int, local: SGD, seed: int = 0
) -> dict[str, nn.Module]:
    """Each client goes on from a federated model, on its own rows; nothing is averaged any more.

    The unseen client does the same with its own training rows, which are unlabelled as all are.
    With `local=FedProx(...)` nobody goes far from the common model.

    Args:
        passes: passes over the client's rows.

    Returns {client name: model}, the unseen client included. Raises as `fit_local`.
    Source: Yu, Bagdasaryan and Shmatikov 2020, arXiv:2002.04758. Taught in chapter 09.
    """
    everyone = replace(federation, clients=federation.everyone, unseen=None)
    return fit_local(model, everyone, rounds=passes, local=replace(local, epochs=1), seed=seed)


@dataclass(frozen=True)
class Ditto:
    """FedAvg, and beside it a model of its own for each client, pulled to the global one.

    In each round a client trains the global model as usual, and sends that update alone. Then it
    takes as many steps with its own model v on loss(v) + mu / 2 |v - w|^2, w the global model it
    got. mu = 0 leaves v alone with the client's rows (local training); a large mu makes v the
    global model. The global model is FedAvg's, to the bit. A client's v waits while the client is
    not drawn. Training two models costs twice the steps.

    Attributes:
        local: the steps on the global model, and, with the pull, on the own one.
        mu: strength of the pull.

    `fit(...).personal` holds the clients' own models.
    Source: Li et al. 2021, algorithm 1, arXiv:2012.04221. Taught in chapter 09.
    """

    local: SGD = field(default_factory=SGD)
    mu: float = 0.1

    def __post_init__(self) -> None:
        if not (math.isfinite(self.mu) and self.mu >= 0):
            raise FedlabError(f"Ditto: mu={self.mu} must be a number and not negative.")
        self._pulled()

    def _pulled(self) -> FedProx:
        return FedProx(**asdict(self.local), mu=self.mu)

    def start(self, weights: torch.Tensor, sizes: np.ndarray) -> dict[str, torch.Tensor]:
        """Everybody's own model begins as the global one."""
        return {"personal": weights.repeat(len(sizes), 1)}

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
        """See RoundSolver. A client whose own model diverges gets the loss nan."""
        where = (store, clients, seed, round_)
        updates, losses = self.local.train(engine, model, weights, *where)
        chosen = torch.from_numpy(clients)
        own = state["personal"][chosen]
        moved, _ = self._pulled().run(engine, model, own, *where, {"anchor": weights})
        losses[~moved.isfinite().all(dim=1)] = torch.nan
        state["personal"][chosen] = own + moved
        return Trained(updates, losses)

    def personal(self, state: dict[str, torch.Tensor]) -> torch.Tensor:
        """See RoundSolver."""
        return state["personal"]
