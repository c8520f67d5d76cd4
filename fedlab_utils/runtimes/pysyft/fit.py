"""Federated averaging where each client update is a PySyft job. Taught in chapter 04."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from fedlab_utils.errors import FedlabError
from fedlab_utils.federate.aggregators import (
    Aggregator,
    Mean,
    RoundAggregator,
    RoundContext,
    aggregate,
    first_memory,
)
from fedlab_utils.federate.fit import Run, check_settings, mean_loss, progress_bar
from fedlab_utils.federate.history import History, Round
from fedlab_utils.federate.servers import ServerOptimizer, ServerSGD
from fedlab_utils.federate.solvers import SGD
from fedlab_utils.models.flat import flatten, unflatten
from fedlab_utils.runtimes.pysyft.agreed import TRAIN, task_of, with_weights
from fedlab_utils.runtimes.pysyft.federation import Absent, SyftFederation

if TYPE_CHECKING:
    from fedlab_utils.runtimes.pysyft.pair import Release, Review


@dataclass(frozen=True)
class SyftRun(Run):
    """A `Run`, and which banks were missing in which round (`absent`)."""

    absent: tuple[tuple[int, Absent], ...] = ()


def fit_pysyft(
    model: nn.Module,
    banks: SyftFederation,
    *,
    rounds: int,
    local: SGD | None = None,
    aggregator: Aggregator | RoundAggregator | None = None,
    server: ServerOptimizer | None = None,
    review: Review | None = None,
    release: Release | None = None,
    timeout: float = 300.0,
    seed: int = 0,
    progress: bool = True,
) -> SyftRun:
    """`fit`, with every client update computed by a job at the bank.

    In each round the coordinator submits a job with the global weights to every bank; each bank
    reviews and runs it on its private rows, looks at the output, and shares it; the coordinator
    reads it safely and goes on with those that answered. With all banks present, the weights equal
    those of `fit` with the same arguments to 1e-6.

    Args:
        model: start, a DenseAutoencoder; it is not changed.
        banks: an open SyftFederation.
        rounds: how many rounds.
        local, aggregator, server, seed: as in `fit`.
        review, release, timeout: as in `SyftFederation.ask`.
        progress: show a progress bar.

    Raises:
        FedlabError: settings that make no sense, or a model that does not fit the data.
        NobodyAnswered: a round in which no bank gave a usable update.

    Taught in chapter 04.
    """
    local, aggregator, server = local or SGD(), aggregator or Mean(), server or ServerSGD()
    if not isinstance(local, SGD):
        raise FedlabError(f"PySyft jobs here train with SGD, not with {type(local).__name__}.")
    check_settings(model, banks.federation, rounds, None)
    settings = {"lr": local.lr, "epochs": local.epochs, "batch_size": local.batch_size}
    task = task_of({"global": model}, seed=seed, momentum=local.momentum, **settings)
    weights = flatten(model)
    state, memory = server.start(weights), first_memory(aggregator, weights.numel())
    history = History()
    absent: list[tuple[int, Absent]] = []
    for round_ in progress_bar(range(rounds), progress):
        task = with_weights(task, weights)
        tasks = {
            name: {**task, "round": round_, "client": number}
            for number, name in enumerate(banks.names)
        }
        answers = banks.ask(TRAIN, tasks, review=review, release=release, timeout=timeout)
        absent += [(round_ + 1, who) for who in answers.absent]
        arrays = answers.arrays
        updates = torch.stack([torch.from_numpy(a["update"]) for a in arrays.values()])
        losses = torch.tensor([float(a["loss"]) for a in arrays.values()])
        # As published with the data set: a number in the answer could be bent round by round.
        rows = torch.tensor([banks[name].rows for name in arrays], dtype=torch.float32)
        context = RoundContext(seed, round_, tuple(arrays), len(banks))
        done = aggregate(aggregator, updates, rows, memory, context)
        memory = done.state
        weights, state = server.step(weights, done.update, state)
        history.rounds.append(
            Round(
                round=round_ + 1,
                clients=context.clients,
                loss=mean_loss(losses, rows),
                client_losses=tuple(losses.tolist()),
                bytes_up=answers.bytes_up,
                bytes_down=answers.bytes_down,
                seconds=answers.seconds,
                epsilon=done.epsilon,
            )
        )
    return SyftRun(unflatten(weights, model), history, absent=tuple(absent))
