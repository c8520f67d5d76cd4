"""The round loop. Taught in chapter 03."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from fedlab_utils.data.federation import Federation
from fedlab_utils.errors import DivergedError, FedlabError
from fedlab_utils.federate import checkpoint as checkpoints
from fedlab_utils.federate.aggregators import (
    Aggregator,
    Mean,
    RoundAggregator,
    RoundContext,
    aggregate,
    first_memory,
)
from fedlab_utils.federate.batches import RowStore
from fedlab_utils.federate.history import History, Round
from fedlab_utils.federate.sampling import Poisson, choose_clients
from fedlab_utils.federate.servers import ServerOptimizer, ServerSGD
from fedlab_utils.federate.solvers import (
    SGD,
    Engine,
    LocalSolver,
    RoundSolver,
    Trained,
    train_round,
)
from fedlab_utils.models.dense import DenseAutoencoder
from fedlab_utils.models.flat import flatten, unflatten

ENGINES = ("stacked", "loop")


@dataclass(frozen=True)
class Run:
    """What `fit` returns.

    Attributes:
        model: the trained model, a new one.
        history: what happened in each round.
        personal: {client name: model} if the local solver keeps a model for each client.
    """

    model: nn.Module
    history: History
    personal: dict[str, nn.Module] = field(default_factory=dict)


def fit(
    model: nn.Module,
    federation: Federation,
    *,
    rounds: int,
    local: LocalSolver | RoundSolver | None = None,
    aggregator: Aggregator | RoundAggregator | None = None,
    server: ServerOptimizer | None = None,
    clients_per_round: int | Poisson | None = None,
    seed: int = 0,
    checkpoint: str | Path | None = None,
    engine: Engine = "stacked",
    progress: bool = True,
) -> Run:
    """Train one model on data that stays with its clients.

    Each round: choose clients, send them the weights, let each train on its own rows, combine
    their updates, move the global weights. The unseen client takes no part.

    Args:
        model: start; it is not changed.
        federation: the clients.
        rounds: how many rounds in all, those in the checkpoint included.
        local: what a client does; default `SGD()`.
        aggregator: how updates are combined; default `Mean()`, weighted by training rows.
        server: how the global weights move; default `ServerSGD()`, which adds the update.
        clients_per_round: how many clients, drawn anew each round; `Poisson(rate)` lets each
            decide by its own coin; None means all.
        seed: fixes sampling and shuffling. Same seed, same bits.
        checkpoint: a file written after each round. If it exists the run goes on from there,
            to the same bits as a run without a break.
        engine: "stacked" trains the clients as one batched computation, "loop" one after the
            other; the weights agree.
        progress: show a progress bar.

    Raises:
        FedlabError: settings that make no sense, or a model that does not fit the data.
        DivergedError: a client's weights are not finite; names client and round. The last
            good round is in the checkpoint, if there is one.
        CheckpointError: the checkpoint is damaged or belongs to another run.

    Source: McMahan et al. 2017, arXiv:1602.05629. Taught in chapter 03.
    """
    local, aggregator, server = local or SGD(), aggregator or Mean(), server or ServerSGD()
    check_settings(model, federation, rounds, clients_per_round, engine)
    weights, history = flatten(model), History()
    memory = {"server": server.start(weights), "solver": {}}
    memory["aggregator"] = first_memory(aggregator, weights.numel())
    if isinstance(local, RoundSolver):
        memory["solver"] = local.start(weights, federation.sizes)
    path = None if checkpoint is None else Path(checkpoint)
    mark = ""
    if path is not None:
        settings = (local, aggregator, server, clients_per_round, seed, engine)
        mark = checkpoints.fingerprint(model, federation, settings)
        if path.exists():
            weights, memory, history = checkpoints.load(path, mark)
            if len(history) > rounds:
                raise FedlabError(
                    f"checkpoint {path} already holds {len(history)} rounds, you ask for {rounds}."
                )
    store = RowStore([c.x_train for c in federation], model)
    names = federation.names
    for round_ in progress_bar(range(len(history), rounds), progress):
        began = time.perf_counter()
        clients = choose_clients(len(federation), clients_per_round, seed, round_)
        trained = train_round(
            local, engine, model, weights, store, clients, seed, round_, memory["solver"]
        )
        check_finite(trained, [names[i] for i in clients], round_, local)
        rows = torch.from_numpy(store.sizes[clients]).float()
        taking_part = tuple(names[i] for i in clients)
        context = RoundContext(seed, round_, taking_part, len(names), clients_per_round)
        done = aggregate(aggregator, trained.updates, rows, memory["aggregator"], context)
        if done.epsilon is not None and trained.extra:
            raise FedlabError(
                f"{type(aggregator).__name__} states an epsilon, which does not cover what "
                f"{type(local).__name__} sends beside the updates. Use another local solver, or an "
                f"aggregator without a privacy claim."
            )
        memory["aggregator"] = done.state
        weights, memory["server"] = server.step(weights, done.update, memory["server"])
        plain, beside = 4 * weights.numel() * len(clients), 4 * trained.extra * len(clients)
        history.rounds.append(
            Round(
                round=round_ + 1,
                clients=context.clients,
                loss=mean_loss(trained.losses, rows),
                client_losses=tuple(trained.losses.tolist()),
                bytes_up=beside + (plain if done.bytes_up is None else done.bytes_up),
                bytes_down=beside + (plain if done.bytes_down is None else done.bytes_down),
                seconds=time.perf_counter() - began,
                epsilon=done.epsilon,
            )
        )
        if path is not None:
            checkpoints.save(path, weights, memory, history, mark)
    own = local.personal(memory["solver"]) if isinstance(local, RoundSolver) else None
    personal = {} if own is None else dict(zip(names, own, strict=True))
    return Run(
        unflatten(weights, model), history, {n: unflatten(w, model) for n, w in personal.items()}
    )


def fit_local(
    model: nn.Module,
    federation: Federation,
    *,
    rounds: int,
    local: SGD | None = None,
    seed: int = 0,
) -> dict[str, nn.Module]:
    """What each client gets alone: one model per client, from the same start, never averaged.

    The budget is that of `fit`: rounds x local.epochs passes over the client's own rows.
    Returns {client name: model}. Raises as `fit`. Taught in chapter 02.
    """
    local = local or SGD()
    check_settings(model, federation, rounds, None)
    whole = replace(local, epochs=rounds * local.epochs)
    store = RowStore([c.x_train for c in federation], model)
    clients = np.arange(len(federation))
    weights = flatten(model)
    trained = Trained(*whole.train("stacked", model, weights, store, clients, seed, 0))
    check_finite(trained, federation.names, 0, local)
    return {
        name: unflatten(weights + update, model)
        for name, update in zip(federation.names, trained.updates, strict=True)
    }


def mean_loss(losses: torch.Tensor, rows: torch.Tensor) -> float:
    """Losses [K] weighted by rows [K]; nan for a round in which nobody took part."""
    return float((losses.double() * rows).sum() / rows.double().sum())


def check_settings(
    model: nn.Module,
    federation: Federation,
    rounds: int,
    per_round: int | Poisson | None,
    engine: str = "stacked",
) -> None:
    """Raise FedlabError for settings that make no sense or a model that does not fit the data."""
    if rounds < 0 or int(rounds) != rounds:
        raise FedlabError(f"rounds={rounds} must be a whole number and not negative.")
    choose_clients(len(federation), per_round, 0, 0)  # raises for a number that makes no sense
    if engine not in ENGINES:
        raise FedlabError(f"engine={engine!r}: choose one of {', '.join(ENGINES)}.")
    if isinstance(model, DenseAutoencoder) and federation.clients[0].x_train.ndim > 2:
        raise FedlabError(
            f"a dense autoencoder takes rows [n, d], but those of {federation.name!r} have the "
            f"shape {federation.clients[0].x_train.shape}. Use federation.flattened(), or a model "
            f"of windows or images."
        )
    if isinstance(model, DenseAutoencoder) and model.widths[0] != federation.n_features:
        raise FedlabError(
            f"the model takes {model.widths[0]} features, the federation {federation.name!r} has "
            f"{federation.n_features}. Make it with dense_autoencoder(federation.n_features)."
        )


def check_finite(
    trained: Trained, names: Sequence[str], round_: int, local: LocalSolver | RoundSolver
) -> None:
    """Raise DivergedError with the names of the clients whose update or loss is not finite."""
    finite = trained.updates.isfinite().all(dim=1) & trained.losses.isfinite()
    lost = [name for name, fine in zip(names, finite.tolist(), strict=True) if not fine]
    if not lost:
        return
    shown = ", ".join(lost[:5]) + (f" and {len(lost) - 5} more" if len(lost) > 5 else "")
    raise DivergedError(
        f"round {round_ + 1}: the weights of {shown} are not finite any more ({local}). Use "
        f"a smaller lr, and look at this client's data: a feature on another scale than the other "
        f"clients' is the usual reason. Nothing of this round was used."
    )


def progress_bar(rounds: range, progress: bool) -> Iterable[int]:
    """The rounds, with a bar on the screen if `progress`."""
    if not progress:
        return rounds
    from tqdm import tqdm

    # Silent for two seconds: a run that is over by then needs no bar.
    return tqdm(rounds, desc="rounds", unit="round", delay=2)
