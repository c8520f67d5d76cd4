"""What is known of each framework without measuring it. Taught in chapter 05."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass

from fedlab_utils.runtimes.tff import INSTALL, status
from fedlab_utils.runtimes.tff.home import interpreter


@dataclass(frozen=True)
class Framework:
    """One row of the table.

    Attributes:
        title: its name in the table.
        module: what is imported when its import is timed.
        needs: the packages whose size on disk counts, with all that they require. Those that
            train with torch count torch.
        get: the command that installs it.
        sees: what the coordinator holds after a round, in the way the course runs it.
        state: what is maintained, as of November 2026.
        one_job: its engine can be started only once in a process, so each job gets its own.
    """

    title: str
    module: str
    needs: tuple[str, ...]
    get: str
    sees: str
    state: str
    one_job: bool = False

    def python(self) -> str:
        """The interpreter that has it, or would have it."""
        if self.module == "tensorflow_federated":
            return str(interpreter(status().folder))
        return sys.executable

    def missing(self) -> str | None:
        """Why it cannot be measured here, with the command that gets it; None if it can."""
        if self.module == "tensorflow_federated":
            found = status()
            return None if found.ready else str(found)
        if importlib.util.find_spec(self.module) is None:
            return f"not installed. To get it: {self.get}"
        return None


FRAMEWORKS = {
    "ours": Framework(
        "fl.fit (this course)",
        "fedlab_utils.federate",
        ("torch", "numpy"),
        "it is here",
        "every update, unless an aggregator hides it (chapters 07 and 08)",
        "one process, for learning and simulation; no network",
    ),
    "pysyft": Framework(
        "PySyft",
        "syft_rds",
        ("syft", "syft-rds", "torch"),
        'pip install "fedlab-utils[syft]"',
        "every bank's answer, which each bank approved; never the rows",
        "maintained; the API of 2020 is gone",
    ),
    "tff": Framework(
        "TensorFlow Federated",
        "tensorflow_federated",
        ("tensorflow-federated", "tensorflow-cpu"),
        INSTALL,
        "sums over clients; the types say so",
        "last release September 2024; Python 3.11 at most",
    ),
    "flower": Framework(
        "Flower (Ray simulation)",
        "flwr",
        ("flwr", "ray", "torch"),
        'pip install "flwr[simulation]"',
        "every update, unless secure aggregation is on",
        "maintained; simulation and real networks",
        one_job=True,
    ),
}
