"""A weighted mean by Flower's SecAgg+, server and clients in this process. Taught in chapter 07.

Flower's own workflow (server) and mod (client) do all the work; only the network between them is
replaced. Each message is still turned into the bytes Flower would send, and counted.
"""

from __future__ import annotations

import importlib.util
import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from fedlab_utils.errors import FedlabError


@dataclass(frozen=True)
class FlowerSum:
    """What Flower's server found out.

    Attributes:
        mean: [P] the weighted mean of the survivors' vectors.
        seconds: of all clients and the server together.
        bytes_up: of all clients' messages, serialised.
        bytes_down: of all the server's messages, serialised; they hold the model.
    """

    mean: np.ndarray
    seconds: float
    bytes_up: int
    bytes_down: int


def flower_mean(
    updates: np.ndarray,
    weights: Sequence[int],
    *,
    threshold: int | None = None,
    clipping_range: float = 8.0,
    silent: Iterable[int] = (),
) -> FlowerSum:
    """Updates [K, P], weights [K] -> the weighted mean by SecAgg+ with everybody as neighbour.

    `silent` numbers the clients (0 to K - 1) that share their secrets, and do not upload. Flower
    clips numbers to `clipping_range` and rounds them at random to steps of 2 clipping_range /
    2^22; here the largest weight is its `max_weight`. Raises FedlabError if Flower is not
    installed, or if the workflow gives up.
    """
    if importlib.util.find_spec("flwr") is None:
        raise FedlabError('Flower is not installed: pip install "flwr>=1.41"')
    from flwr.app import ArrayRecord, ConfigRecord, Context, RecordDict
    from flwr.server.compat.legacy_context import LegacyContext
    from flwr.server.workflow import SecAggPlusWorkflow

    logging.getLogger("flwr").setLevel(logging.ERROR)
    _be_the_server()
    updates = np.asarray(updates, np.float32)
    clients, size = updates.shape
    strategy: Any = _Strategy(clients)  # as much of a strategy, and of a manager, as is asked for
    manager: Any = SimpleNamespace(num_available=lambda: clients)
    own = RecordDict(
        {
            "parameters": ArrayRecord([np.zeros(size, np.float32)]),
            "config": ConfigRecord({"current_round": 1}),
        }
    )
    context = LegacyContext(
        Context(run_id=0, node_id=0, node_config={}, state=own, run_config={}),
        strategy=strategy,
        client_manager=manager,
    )
    workflow = SecAggPlusWorkflow(
        clients,
        threshold or 2 * clients // 3 + 1,
        max_weight=float(max(weights)),
        clipping_range=clipping_range,
    )
    grid = _grid(updates, [int(w) for w in weights], {node + 1 for node in silent})
    began = time.perf_counter()
    workflow(grid, context)
    seconds = time.perf_counter() - began
    if strategy.mean is None:
        raise FedlabError("Flower's SecAgg+ gave up: too few clients are left.")
    return FlowerSum(strategy.mean, seconds, grid.bytes_up, grid.bytes_down)


def _be_the_server() -> None:
    """Messages get their sender from the process they are made in; here that is the server."""
    if importlib.util.find_spec("flwr.supercore.task_identity"):  # not in all versions
        from flwr.supercore.task_identity import TaskIdentity

        TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1


class _Strategy:
    """Ask every client; take what the workflow unmasked."""

    def __init__(self, clients: int) -> None:
        self.clients = clients
        self.mean: np.ndarray | None = None

    def configure_fit(self, server_round: int, parameters: Any, client_manager: Any) -> list:
        from flwr.common import FitIns

        nodes = range(1, self.clients + 1)
        return [(SimpleNamespace(node_id=n), FitIns(parameters, {})) for n in nodes]

    def aggregate_fit(self, server_round: int, results: list, failures: list) -> tuple:
        from flwr.common import parameters_to_ndarrays

        parameters = results[0][1].parameters
        self.mean = parameters_to_ndarrays(parameters)[0]
        return parameters, {}


def _grid(updates: np.ndarray, weights: Sequence[int], silent: set[int]) -> Any:
    """What Flower's server takes for the network: node n is client n - 1."""
    from flwr.app import Context, Message, RecordDict
    from flwr.client.mod import secaggplus_mod
    from flwr.common import Code, FitRes, Status, ndarrays_to_parameters
    from flwr.common.secure_aggregation.secaggplus_constants import RECORD_KEY_CONFIGS, Key, Stage
    from flwr.common.serde import message_from_proto, message_to_proto
    from flwr.compat.common import recorddict_compat

    contexts = {
        n: Context(run_id=0, node_id=n, node_config={}, state=RecordDict(), run_config={})
        for n in range(1, len(updates) + 1)
    }

    def train(message: Any, context: Any) -> Any:
        row = updates[context.node_id - 1]
        result = FitRes(
            Status(Code.OK, ""),
            ndarrays_to_parameters([row]),
            weights[context.node_id - 1],
            {},
        )
        return Message(recorddict_compat.fitres_to_recorddict(result, False), reply_to=message)

    def travelled(message: Any) -> tuple[Any, int]:
        proto = message_to_proto(message)
        size = len(proto.SerializeToString())
        return message_from_proto(proto), size

    class Grid:
        bytes_up = bytes_down = 0

        def send_and_receive(self, messages: Iterable[Any], *, timeout: Any = None) -> list[Any]:
            replies = []
            for sent in messages:
                message, size = travelled(sent)
                self.bytes_down += size
                node = message.metadata.dst_node_id
                stage = message.content.config_records[RECORD_KEY_CONFIGS][Key.STAGE]
                if node in silent and stage not in (Stage.SETUP, Stage.SHARE_KEYS):
                    continue
                reply, size = travelled(secaggplus_mod(message, contexts[node], train))
                self.bytes_up += size
                replies.append(reply)
            return replies

    return Grid()
