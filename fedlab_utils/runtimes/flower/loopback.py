"""Flower without a network: every message is made, turned into bytes and read back, in one process.

Flower's own simulation needs Ray, 20 seconds to start and some hundred megabytes. What we want to
see first is smaller: do our apps speak Flower's language, and are the weights those of `fit`?
So this grid hands each message to the ClientApp at once. No SuperLink takes part, and no
SuperNode; those come in `federation`. Taught in chapter 14.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.node_pb2 import NodeInfo
from flwr.serverapp import Grid
from flwr.supercore.run import Run as FlowerRunInfo
from flwr.supercore.task_identity import TaskIdentity
from torch import nn

from fedlab_utils.data.federation import Federation
from fedlab_utils.errors import FedlabError
from fedlab_utils.federate.fit import check_settings
from fedlab_utils.runtimes.flower.client import FILE, client_app, write_bank
from fedlab_utils.runtimes.flower.plan import Plan
from fedlab_utils.runtimes.flower.server import FlowerRun, run_rounds


class LoopbackGrid(Grid):
    """What the ServerApp takes for the network: bank k is the SuperNode number k + 2.

    Args:
        app: the ClientApp that every bank runs.
        node_configs: bank name -> what its SuperNode would get as `--node-config`.
        silent: (round, bank) pairs, rounds from 1; the bank gets the message and never answers.
    """

    def __init__(
        self,
        app: ClientApp,
        node_configs: Mapping[str, Mapping[str, Any]],
        silent: Collection[tuple[int, str]] = (),
    ) -> None:
        self.app, self.silent = app, set(silent)
        self.banks = {number: bank for number, bank in enumerate(node_configs, start=2)}
        self.contexts = {
            number: Context(0, number, dict(node_configs[bank]), RecordDict(), {})
            for number, bank in self.banks.items()
        }
        self.replies: dict[str, Message] = {}
        # A message gets its sender from the process it is made in, which here is the server's.
        TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1

    def get_node_ids(self) -> Iterable[int]:
        """All banks are always there."""
        return list(self.banks)

    def get_nodes(self) -> Iterable[NodeInfo]:
        """All banks, with their names."""
        return [NodeInfo(node_id=number, name=bank) for number, bank in self.banks.items()]

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Deliver at once, and keep the answers."""
        numbers = []
        for message in messages:
            message.metadata.__dict__["_message_id"] = message.object_id
            number, node = message.metadata.message_id, message.metadata.dst_node_id
            arrived = _travel(message)
            numbers.append(number)
            if (int(arrived.metadata.group_id), self.banks[node]) not in self.silent:
                self.replies[number] = _travel(self.app(arrived, self.contexts[node]))
        return numbers

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """The answers to these messages that have come in."""
        return [self.replies.pop(number) for number in message_ids if number in self.replies]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Both at once."""
        return self.pull_messages(self.push_messages(messages))

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """Flower's old way to make a message."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def set_run(self, run: FlowerRunInfo) -> None:
        """There is one run only."""

    @property
    def run(self) -> FlowerRunInfo:
        """There is one run only."""
        return FlowerRunInfo.create_empty(1)


def fit_flower(
    model: nn.Module,
    federation: Federation,
    plan: Plan,
    *,
    silent: Collection[tuple[int, str]] = (),
) -> FlowerRun:
    """`fit` by Flower's messages in this process; with all banks present the weights are the same.

    Args:
        model: the start; it is not changed.
        federation: the banks of the plan, in its order.
        plan: the settings.
        silent: (round, bank) pairs, rounds from 1: who does not answer.

    Raises FedlabError as `fit` does, and NobodyAnswered. Taught in chapter 14.
    """
    check_banks(model, federation, plan)
    with tempfile.TemporaryDirectory() as folder:
        configs = {}
        for number, client in enumerate(federation):
            path = Path(folder) / f"{number}.npy"
            write_bank(path, client.x_train)
            configs[client.name] = {FILE: str(path)}
        grid = LoopbackGrid(client_app(model, plan, _nothing), configs, silent)
        return run_rounds(grid, model, plan, say=_nothing)


def check_banks(model: nn.Module, federation: Federation, plan: Plan) -> None:
    """Raises FedlabError if the plan is for other banks, or the model for other features."""
    if plan.banks != federation.names:
        raise FedlabError(
            f"the plan is for {', '.join(plan.banks)}, the federation has "
            f"{', '.join(federation.names)}. Make it with Plan(banks=federation.names, ...)."
        )
    check_settings(model, federation, plan.rounds, plan.clients_per_round)


def _travel(message: Message) -> Message:
    """Through the bytes that Flower would send, and back."""
    proto = message_to_proto(message)
    return message_from_proto(type(proto).FromString(proto.SerializeToString()))


def _nothing(line: str) -> None:
    """Nobody listens."""
