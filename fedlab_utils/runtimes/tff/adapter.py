"""Train a federation with TensorFlow Federated's engine. Taught in chapter 05."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import nn

from fedlab_utils.data.federation import Federation
from fedlab_utils.errors import DivergedError, FedlabError
from fedlab_utils.federate import SGD, History, Mean, Round, Run, ServerSGD, choose_clients
from fedlab_utils.federate.fit import check_settings
from fedlab_utils.federate.order import batch_order
from fedlab_utils.models import DenseAutoencoder, flatten, unflatten
from fedlab_utils.runtimes.tff.kernel import TffKernel, ignore
from fedlab_utils.runtimes.tff.shared import shared_kernel

_WORKER = Path(__file__).with_name("worker.py")


@dataclass(frozen=True)
class TffRound:
    """What the coordinator learns in a round.

    Attributes:
        weights: [P] float32 after the round, in the order of `fl.flatten`.
        loss: mean training loss of all clients together.
        clients: who took part.
        seconds: time of the round, without the way from this process to the other.
    """

    weights: torch.Tensor
    loss: float
    clients: tuple[str, ...]
    seconds: float


def fit_tff(
    model: nn.Module,
    federation: Federation,
    *,
    rounds: int,
    local: SGD | None = None,
    aggregator: Mean | None = None,
    server: ServerSGD | None = None,
    clients_per_round: int | None = None,
    seed: int = 0,
    kernel: TffKernel | None = None,
) -> Run:
    """Do what `fl.fit` does, on TensorFlow Federated: same data, same start, same weights.

    A client that shuffles its rows by itself would see them in another order than ours does, and
    mini-batch SGD would end at other weights. So each client's `tf.data.Dataset` holds its rows in
    the order that `batch_order` gives for (seed, round, client, epoch), cut into batches at
    the same places; TensorFlow Federated does not shuffle again. Weights then agree with `fl.fit`
    to rounding errors (tested: 1e-6).

    The history has no `client_losses`: this coordinator sees sums over clients only.

    Args:
        model: a DenseAutoencoder, the start; it is not changed.
        federation: the clients; the unseen one takes no part.
        rounds: how many.
        local: the clients' SGD; default `SGD()`.
        aggregator: `Mean()` (default, by rows) or `Mean(weighted=False)`.
        server: `ServerSGD(lr)`; default adds the update.
        clients_per_round: how many clients, drawn as `fl.fit` draws them; None means all.
        seed: fixes sampling and shuffling.
        kernel: where it runs; default the kernel of the `%%tff` cells.

    Raises FedlabError for a model or settings that have no counterpart there, or if there is no
    environment (with the command that makes it); DivergedError if a client's update is not finite
    (TensorFlow Federated would go on without it, silently); TffError for an error there.
    Taught in chapter 05.
    """
    check_settings(model, federation, rounds, clients_per_round)
    play = tff_rounds(
        model,
        federation,
        local=local,
        aggregator=aggregator,
        server=server,
        clients_per_round=clients_per_round,
        seed=seed,
        kernel=kernel,
    )
    weights, history = flatten(model), History()
    for done in islice(play, int(rounds)):
        weights = done.weights
        size = 4 * weights.numel() * len(done.clients)
        history.rounds.append(
            Round(
                round=len(history) + 1,
                clients=done.clients,
                loss=done.loss,
                client_losses=(),
                bytes_up=size,
                bytes_down=size,
                seconds=done.seconds,
            )
        )
    return Run(unflatten(weights, model), history)


def tff_rounds(
    model: nn.Module,
    federation: Federation,
    *,
    local: SGD | None = None,
    aggregator: Mean | None = None,
    server: ServerSGD | None = None,
    clients_per_round: int | None = None,
    seed: int = 0,
    kernel: TffKernel | None = None,
) -> Iterator[TffRound]:
    """Play rounds without end, one at each step of the iterator; arguments as in `fit_tff`."""
    local, aggregator, server = local or SGD(), aggregator or Mean(), server or ServerSGD()
    for name, value, kind in (
        ("model", model, DenseAutoencoder),
        ("local", local, SGD),
        ("aggregator", aggregator, Mean),
        ("server", server, ServerSGD),
    ):
        if type(value) is not kind:
            raise FedlabError(
                f"fit_tff: {name} is a {type(value).__name__}; only {kind.__name__} has a "
                f"counterpart here. For anything else write a %%tff cell."
            )
    assert isinstance(model, DenseAutoencoder)
    check_settings(model, federation, 0, clients_per_round)
    kernel = kernel or shared_kernel()
    kernel.load_module("fedlab_worker", str(_WORKER))
    kernel.put(
        {
            "_fedlab_job": {
                "rows": [client.x_train for client in federation],
                "start": flatten(model),
                "widths": list(model.widths + model.widths[-2::-1]),
                "activation": model.activation,
                "lr": local.lr,
                "momentum": local.momentum,
                "server_lr": server.lr,
                "weighted": aggregator.weighted,
            }
        }
    )
    kernel.run("_fedlab_job = fedlab_worker.Job(**_fedlab_job)", ignore)
    return _play(kernel, federation, local, clients_per_round, seed)


def _play(
    kernel: TffKernel, federation: Federation, local: SGD, per_round: int | None, seed: int
) -> Iterator[TffRound]:
    round_ = 0
    while True:
        clients = choose_clients(len(federation), per_round, seed, round_)
        orders = [_orders(k, int(federation.sizes[k]), local.epochs, seed, round_) for k in clients]
        asked = {"clients": clients.tolist(), "orders": orders, "batch_size": local.batch_size}
        kernel.put({"_fedlab_asked": asked})
        began = time.perf_counter()
        kernel.run("_fedlab_done = _fedlab_job.round(**_fedlab_asked)", ignore)
        seconds = time.perf_counter() - began
        done = kernel.get("_fedlab_done")["_fedlab_done"]
        rows = int(federation.sizes[clients].sum())
        counted = done["rows"] // local.epochs
        if counted < rows or not math.isfinite(done["loss"]):
            raise DivergedError(
                f"round {round_ + 1}: only {counted} of {rows} rows counted, the loss is "
                f"{done['loss']:.3g} (lr={local.lr}): a client's update was not finite, and "
                f"TensorFlow Federated left it out. Use a smaller lr. Which client it was cannot "
                f"be seen from here: train with fl.fit, which names it."
            )
        names = tuple(federation.names[k] for k in clients)
        yield TffRound(torch.from_numpy(done["weights"]), done["loss"], names, seconds)
        round_ += 1


def _orders(client: int, size: int, epochs: int, seed: int, round_: int) -> np.ndarray:
    """Row numbers [epochs, size] of one client in one round."""
    each = np.arange(epochs)
    who = np.full(epochs, client)
    return batch_order(seed, round_, who, each, size, np.full(epochs, size))
