"""Several global models, and each client trains the one that suits it. Taught in chapter 09."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from fedlab_utils.data.federation import Federation
from fedlab_utils.errors import FedlabError
from fedlab_utils.federate.aggregators import Aggregator, Mean
from fedlab_utils.federate.batches import RowStore
from fedlab_utils.federate.fit import check_finite, check_settings, mean_loss, progress_bar
from fedlab_utils.federate.history import History, Round
from fedlab_utils.federate.sampling import Poisson, choose_clients
from fedlab_utils.federate.servers import ServerOptimizer, ServerSGD
from fedlab_utils.federate.solvers import SGD, Engine, LocalSolver, Trained
from fedlab_utils.models.flat import flatten, unflatten


@dataclass(frozen=True)
class ClusteredRun:
    """What `fit_clustered` returns.

    Attributes:
        models: the trained models, one for each cluster.
        cluster: {client name: number of the cluster whose model suits it best in the end}.
        chosen: per round, {client name: cluster} of those that took part.
        history: what happened in each round.
    """

    models: tuple[nn.Module, ...]
    cluster: dict[str, int]
    chosen: tuple[dict[str, int], ...]
    history: History

    @property
    def personal(self) -> dict[str, nn.Module]:
        """{client name: the model of its cluster}, the unseen client included."""
        return {name: self.models[number] for name, number in self.cluster.items()}


def fit_clustered(
    models: Sequence[nn.Module],
    federation: Federation,
    *,
    rounds: int,
    local: LocalSolver | None = None,
    aggregator: Aggregator | None = None,
    server: ServerOptimizer | None = None,
    clients_per_round: int | Poisson | None = None,
    seed: int = 0,
    engine: Engine = "stacked",
    progress: bool = True,
) -> ClusteredRun:
    """IFCA: each round each client takes the model with the lowest loss on its rows, and trains it.

    The server combines, for each model, the updates of those that chose it. Models that nobody
    chose stay as they are. With one model this is `fit`, to the bit. A client gets all models in
    each round, so as many times the bytes come down; as many go up as in `fit`.

    Args:
        models: the starts, one for each cluster, of one architecture. They must differ, or all
            clients take the first; see `split_by_updates`.
        others: as in `fit`.

    The unseen client takes no part, and picks its cluster by its own training rows in the end.
    Raises as `fit`. Source: Ghosh et al. 2020, arXiv:2006.04088 (model averaging variant).
    Taught in chapter 09.
    """
    local, aggregator, server = local or SGD(), aggregator or Mean(), server or ServerSGD()
    if not models:
        raise FedlabError("fit_clustered: give at least one model to start from.")
    for model in models:
        check_settings(model, federation, rounds, clients_per_round, engine)
    pattern = models[0]
    centres = [flatten(model) for model in models]
    if any(len(w) != len(centres[0]) for w in centres):
        raise FedlabError("fit_clustered: the models have different numbers of parameters.")
    memory = [server.start(w) for w in centres]
    store = RowStore([c.x_train for c in federation], pattern)
    history, chosen = History(), []
    for round_ in progress_bar(range(rounds), progress):
        began = time.perf_counter()
        clients = choose_clients(len(federation), clients_per_round, seed, round_)
        names = tuple(federation.names[i] for i in clients)
        choice = _choose(centres, pattern, [store.of(k) for k in clients])
        starts = torch.stack(centres)[choice]
        trained = Trained(*local.train(engine, pattern, starts, store, clients, seed, round_))
        check_finite(trained, names, round_, local)
        rows = torch.from_numpy(store.sizes[clients]).float()
        for c in np.unique(choice):
            mine = torch.from_numpy(choice == c)
            update = aggregator.aggregate(trained.updates[mine], rows[mine])
            centres[c], memory[c] = server.step(centres[c], update, memory[c])
        chosen.append(dict(zip(names, choice.tolist(), strict=True)))
        size = 4 * starts.shape[1] * len(clients)
        history.rounds.append(
            Round(
                round=round_ + 1,
                clients=names,
                loss=mean_loss(trained.losses, rows),
                client_losses=tuple(trained.losses.tolist()),
                bytes_up=size,
                bytes_down=size * len(centres),
                seconds=time.perf_counter() - began,
            )
        )
    final = _choose(centres, pattern, [torch.from_numpy(c.x_train) for c in federation.everyone])
    return ClusteredRun(
        tuple(unflatten(w, pattern) for w in centres),
        dict(zip([c.name for c in federation.everyone], final.tolist(), strict=True)),
        tuple(chosen),
        history,
    )


def _choose(
    centres: Sequence[torch.Tensor], pattern: nn.Module, parts: Sequence[torch.Tensor]
) -> np.ndarray:
    """The number [K] of the model with the lowest mean loss on each client's rows."""
    if len(centres) == 1 or not parts:
        return np.zeros(len(parts), dtype=np.int64)
    losses = []
    with torch.no_grad():
        for weights in centres:
            model, rows = unflatten(weights, pattern), torch.cat(list(parts))
            errors = (model(rows) - rows).square().flatten(1).mean(dim=1).double()
            losses.append([float(e.mean()) for e in errors.split([len(x) for x in parts])])
    return np.argmin(losses, axis=0)


def similar_clients(updates: torch.Tensor, clusters: int) -> np.ndarray:
    """Group clients whose updates [K, P] point the same way: cluster numbers [K], from 0.

    Average linkage on 1 - cosine; the clusters are numbered by their first client. Raises
    FedlabError for a number of clusters that K clients cannot fill.
    Source: Briggs, Fan and Andras 2020, arXiv:2004.11791. Taught in chapter 09.
    """
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import pdist

    if not 1 <= clusters <= len(updates):
        raise FedlabError(f"clusters={clusters}: {len(updates)} clients make 1 to {len(updates)}.")
    if clusters == 1:
        return np.zeros(len(updates), dtype=np.int64)
    tree = linkage(pdist(updates.double().numpy(), "cosine"), "average")
    labels = fcluster(tree, clusters, "maxclust")
    _, first = np.unique(labels, return_index=True)
    order = np.argsort(np.argsort(first))
    return order[labels - 1]


def split_by_updates(
    model: nn.Module, federation: Federation, clusters: int, *, local: SGD, seed: int = 0
) -> tuple[list[nn.Module], np.ndarray]:
    """Starts for `fit_clustered`: one round from `model`, then the mean update of similar clients.

    Let `model` be one that has been trained for a while; from a random start the first updates of
    all clients point the same way. Returns the models and each client's cluster [K].
    Taught in chapter 09.
    """
    weights, clients = flatten(model), np.arange(len(federation))
    store = RowStore([c.x_train for c in federation], model)
    # A round of its own: a number that no round of a run has, so no order of rows is used twice.
    updates, _ = local.train("stacked", model, weights, store, clients, seed, 1 << 30)
    labels = similar_clients(updates, clusters)
    rows = torch.from_numpy(store.sizes).float()
    groups = [torch.from_numpy(labels == c) for c in range(labels.max() + 1)]
    moved = [weights + Mean().aggregate(updates[g], rows[g]) for g in groups]
    return [unflatten(w, model) for w in moved], labels
