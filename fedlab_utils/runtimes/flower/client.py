"""The bank's side: a Flower ClientApp around the course's local solver. Taught in chapter 14."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from torch import nn

from fedlab_utils.data.federation import finite_float32
from fedlab_utils.errors import DataError
from fedlab_utils.federate.batches import RowStore
from fedlab_utils.models.flat import flatten
from fedlab_utils.runtimes.flower.messages import Answer, pack, read_instruction
from fedlab_utils.runtimes.flower.plan import Plan

FILE = "bank-file"  # the key of --node-config that names the bank's rows


def write_bank(path: Path, rows: np.ndarray) -> None:
    """Write a bank's training rows [n, ...] where only its own user may read them."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        np.save(file, rows.astype(np.float32), allow_pickle=False)


def read_bank(node_config: Mapping[str, Any]) -> np.ndarray:
    """The training rows of the bank this SuperNode belongs to; never unpickles anything.

    Raises DataError if `--node-config` names no file, or the file holds no finite rows.
    """
    path = node_config.get(FILE)
    if not isinstance(path, str):
        raise DataError(
            f"this SuperNode does not know its rows: start it with --node-config "
            f"'{FILE}=\"/path/to/rows.npy\"'."
        )
    try:
        rows = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"the bank's rows {path} cannot be read: {error}") from error
    if rows.ndim < 2 or not len(rows):
        raise DataError(f"the bank's rows {path} have the shape {rows.shape}, expected [n, d].")
    return finite_float32(rows, path)


def client_app(model: nn.Module, plan: Plan, say: Callable[[str], None] = print) -> ClientApp:
    """The app that each bank runs: read the bank's rows, train, send the change of the weights.

    `model` gives the architecture; its weights come with each message. The rows are found through
    the SuperNode's own `--node-config`, so the coordinator cannot name a file. `say` gets one line
    for each round.
    Taught in chapter 14.
    """
    app = ClientApp()
    parameters = flatten(model).numel()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        order = read_instruction(message.content, parameters)
        rows = read_bank(context.node_config)
        # The solver finds its rows at the bank's number; the other banks have none here.
        nobody = np.empty((0, *rows.shape[1:]), np.float32)
        store = RowStore([*[nobody] * order.client, rows], model)
        updates, losses = plan.local.train(
            "stacked",
            model,
            order.weights,
            store,
            np.array([order.client]),
            order.seed,
            order.round,
        )
        answer = Answer(updates[0], float(losses[0]), len(rows))
        say(f"round {order.round + 1}: trained on {len(rows)} rows, loss {answer.loss:.4f}")
        return Message(pack(answer), reply_to=message)

    return app
