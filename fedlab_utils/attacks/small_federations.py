"""Many small federations at once, for membership inference against federated training.

Taught in chapter 15.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from fedlab_utils.attacks.membership import TrainMany
from fedlab_utils.errors import FedlabError
from fedlab_utils.federate.aggregators import (
    Aggregator,
    Mean,
    RoundAggregator,
    RoundContext,
    aggregate,
    first_memory,
)
from fedlab_utils.federate.batches import RowStore
from fedlab_utils.federate.solvers import SGD, LocalSolver
from fedlab_utils.models.flat import flatten, unflatten


def federated_trainer(
    model: nn.Module,
    *,
    clients: int = 5,
    rounds: int = 5,
    local: LocalSolver | None = None,
    aggregator: Aggregator | RoundAggregator | None = None,
) -> TrainMany:
    """A `train_many` in which each part is divided among clients that train a common model.

    It is `fit` for every part, with all clients of all parts trained side by side. What is attacked
    is the model after the last round: everybody sees it, whatever hides the updates.

    Args:
        model: the start of every training, known to the attacker.
        clients: members of each federation; they get equally many rows, to one.
        rounds, local, aggregator: as in `fit`; the local solver must be one without a memory.

    Raises FedlabError if a part has fewer rows than clients. Taught in chapter 15.
    """
    solver, combine = local or SGD(), aggregator or Mean()
    names = tuple(f"client {i}" for i in range(1, clients + 1))

    def train_many(parts: Sequence[np.ndarray], seed: int) -> list[nn.Module]:
        if min(map(len, parts)) < clients:
            raise FedlabError(f"federated_trainer: a part has fewer rows than {clients} clients.")
        store = RowStore(
            [piece for part in parts for piece in np.array_split(part, clients)], model
        )
        everyone = np.arange(clients * len(parts))
        weights = flatten(model).repeat(len(parts), 1)
        memory = [first_memory(combine, weights.shape[1]) for _ in parts]
        rows = torch.from_numpy(store.sizes).float().view(len(parts), clients)
        for round_ in range(rounds):
            own = weights.repeat_interleave(clients, dim=0)
            updates, _ = solver.train("stacked", model, own, store, everyone, seed, round_)
            context = RoundContext(seed, round_, names, clients)
            for i, part in enumerate(updates.view(len(parts), clients, -1)):
                done = aggregate(combine, part, rows[i], memory[i], context)
                weights[i] += done.update
                memory[i] = done.state
        return [unflatten(row, model) for row in weights]

    return train_many
