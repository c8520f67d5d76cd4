"""Ask every bank once, whatever happens to its SuperNode meanwhile. Taught in chapter 14.

Flower delivers a message once. If the SuperNode dies with it, nobody will ever answer. So we ask
again as soon as the bank has a new SuperNode: training is a function of the message alone, and
asking twice gives the same update. A bank that stays silent costs one round `patience` seconds;
later rounds do not wait for it until it has a new SuperNode, or answers after all.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from flwr.app import Message, RecordDict
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid

from fedlab_utils.errors import FedlabError

POLL = 0.2  # seconds between two looks for answers
MOST_TRIES = 3
# Not the app's own fault: the process died or the message was lost on the way.
_LOST = {
    ErrorCode.MESSAGE_UNAVAILABLE,
    ErrorCode.REPLY_MESSAGE_UNAVAILABLE,
    ErrorCode.NODE_UNAVAILABLE,
    ErrorCode.CLIENT_APP_CRASHED,
}


class NobodyAnswered(FedlabError):
    """A round in which no bank gave a usable update; says why for each."""


@dataclass(frozen=True)
class Node:
    """A SuperNode: its number, and when it last came online."""

    number: int
    since: str


def online(grid: Grid) -> dict[str, Node]:
    """The SuperNodes that are online, by the name under which they were registered."""
    found: dict[str, Node] = {}
    for info in grid.get_nodes():
        node = Node(info.node_id, info.last_activated_at)
        # Two keys under one name: the newer one counts, the older is of a replaced machine.
        if info.name not in found or node.since > found[info.name].since:
            found[info.name] = node
    return found


@dataclass
class Asker:
    """Asks banks and remembers who stayed silent.

    Attributes:
        grid: Flower's connection to the SuperNodes.
        patience: seconds that a question waits for an answer.
        silent: bank -> its SuperNode (or None) when it last did not answer.
        asked_again: (round, bank) of every question that had to be put again.
    """

    grid: Grid
    patience: float
    silent: dict[str, Node | None] = field(default_factory=dict)
    asked_again: list[tuple[int, str]] = field(default_factory=list)

    def ask(
        self, contents: Mapping[str, RecordDict], round_: int
    ) -> tuple[dict[str, RecordDict], dict[str, str]]:
        """Send each bank its content; returns the answers, and why the others gave none."""
        deadline = time.monotonic() + self.patience
        answers: dict[str, RecordDict] = {}
        failed: dict[str, str] = {}
        sent: dict[str, str] = {}  # message id -> bank
        asked: dict[str, Node] = {}
        tries = dict.fromkeys(contents, 0)
        while True:
            nodes = online(self.grid)
            open_ = [bank for bank in contents if bank not in answers and bank not in failed]
            due = {
                bank: nodes[bank]
                for bank in open_
                if bank in nodes and asked.get(bank) != nodes[bank] and tries[bank] < MOST_TRIES
            }
            self._send({bank: contents[bank] for bank in due}, due, round_, sent)
            for bank, node in due.items():
                asked[bank] = node
                tries[bank] += 1
                if tries[bank] > 1:
                    self.asked_again.append((round_ + 1, bank))
            for reply in self.grid.pull_messages(list(sent)) if sent else ():
                bank = sent.pop(reply.metadata.reply_to_message_id)
                if bank in answers or bank in failed:
                    continue
                if not reply.has_error():
                    answers[bank] = reply.content
                    self.silent.pop(bank, None)
                elif reply.error.code in _LOST:
                    asked.pop(bank, None)
                else:
                    failed[bank] = f"its app failed: {reply.error.reason}"
            open_ = [bank for bank in open_ if bank not in answers and bank not in failed]
            waiting = [bank for bank in open_ if not self._known_silent(bank, asked.get(bank))]
            if not answers:
                waiting = open_  # a round without any answer is of no use
            if not waiting or time.monotonic() > deadline:
                break
            time.sleep(POLL)
        for bank in open_:
            self.silent[bank] = asked.get(bank)
            failed[bank] = (
                f"no answer within {self.patience:g} s" if bank in asked else "no SuperNode online"
            )
        return answers, failed

    def _known_silent(self, bank: str, node: Node | None) -> bool:
        return bank in self.silent and self.silent[bank] == node

    def _send(
        self,
        contents: Mapping[str, RecordDict],
        nodes: Mapping[str, Node],
        round_: int,
        sent: dict[str, str],
    ) -> None:
        if not contents:
            return
        messages = [
            Message(content, nodes[bank].number, "train", group_id=str(round_ + 1))
            for bank, content in contents.items()
        ]
        for bank, number in zip(contents, self.grid.push_messages(messages), strict=True):
            if number is not None:
                sent[number] = bank
