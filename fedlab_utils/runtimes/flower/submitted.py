"""A run on Flower's engine, from the coordinator's desk. Taught in chapter 14."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from fedlab_utils.errors import FedlabError
from fedlab_utils.federate import checkpoint as checkpoints
from fedlab_utils.federate.fit import progress_bar
from fedlab_utils.models.flat import unflatten
from fedlab_utils.runtimes.flower.plan import Plan
from fedlab_utils.runtimes.flower.server import STATUS, WEIGHTS, FlowerRun, fingerprint

if TYPE_CHECKING:
    from fedlab_utils.runtimes.flower.federation import FlowerFederation

SUPERLINK = "superlink"


@dataclass(frozen=True)
class Submitted:
    """A run that the SuperLink has taken."""

    engine: FlowerFederation
    model: nn.Module
    plan: Plan
    output: Path

    def rounds_done(self) -> int:
        """How many rounds are finished."""
        if not (self.output / WEIGHTS).exists():
            return 0
        return len(checkpoints.load(self.output / WEIGHTS, fingerprint(self.model, self.plan))[2])

    def _has_done(self, rounds: int) -> bool:
        return self.rounds_done() >= rounds

    def wait_for_round(self, bank: str, round_: int, timeout: float = 120.0) -> None:
        """Wait until a bank has received its message of a round (1, 2, ...) and is at work."""
        self.engine.service(bank).wait_for(f"ROUND {round_}]", timeout)

    def result(self, *, timeout: float = 600.0, progress: bool = True) -> FlowerRun:
        """Wait for the end, and read the trained model.

        Raises FedlabError if the run failed, the SuperLink has ended, or after `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        for round_ in progress_bar(range(self.plan.rounds), progress):
            self._wait(partial(self._has_done, round_ + 1), deadline)
        self._wait((self.output / STATUS).exists, deadline)
        status = json.loads((self.output / STATUS).read_text(encoding="utf-8"))
        mark = fingerprint(self.model, self.plan)
        weights, _, history = checkpoints.load(self.output / WEIGHTS, mark)
        return FlowerRun(
            unflatten(weights, self.model),
            history,
            absent=tuple((int(r), bank, why) for r, bank, why in status["absent"]),
            asked_again=tuple((int(r), bank) for r, bank in status["asked_again"]),
        )

    def _wait(self, done: Callable[[], bool], deadline: float) -> None:
        while not done():
            if (self.output / STATUS).exists():
                status = json.loads((self.output / STATUS).read_text(encoding="utf-8"))
                if status["state"] == "failed":
                    raise FedlabError(f"the run failed: {status['error']}")
            superlink = self.engine.service(SUPERLINK)
            if not superlink.alive or time.monotonic() > deadline:
                last = "\n".join(superlink.text().splitlines()[-8:])
                raise FedlabError(f"the run does not come to an end. The SuperLink says:\n{last}")
            time.sleep(0.1)
