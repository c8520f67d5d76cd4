"""Child process: import one framework, play its rounds, write down what it took.

Run as `python gauge.py NAME MODULE NEEDS RIVALS RESULT.npz ROUNDS JOB.npz ...`, in the Python that
has the framework; there only numpy and `packaging` are certain to be found. Taught in chapter 05.
"""

from __future__ import annotations

import importlib
import importlib.metadata as metadata
import json
import os
import sys
import time
from pathlib import Path

import numpy as np


def packages(roots: list[str]) -> dict[str, metadata.Distribution]:
    """The installed distributions that `roots` need, themselves included."""
    from packaging.requirements import Requirement

    found: dict[str, metadata.Distribution] = {}
    todo = list(roots)
    while todo:
        name = todo.pop().lower().replace("_", "-")
        if name in found:
            continue
        try:
            found[name] = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # an environment marker or a pinned list left it out
        for line in found[name].requires or []:
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                todo.append(requirement.name)
    return found


def megabytes(distributions: dict[str, metadata.Distribution]) -> float:
    """Size of their files on disk [MB]."""
    total = 0
    for distribution in distributions.values():
        for file in distribution.files or []:
            path = Path(str(distribution.locate_file(file)))
            total += path.stat().st_size if path.is_file() else 0
    return total / 1e6


def main(
    name: str, module: str, needs: str, rivals: str, result: str, rounds: str, *jobs: str
) -> None:
    """Measure and write the result. The first round, which starts things, comes extra."""
    sys.path += [rivals, str(Path(__file__).parent)]
    began = time.perf_counter()
    importlib.import_module(module)
    imported = time.perf_counter() - began
    job_class = importlib.import_module("worker").Job
    adapter = importlib.import_module(f"with_{name}")
    seconds, weights = [], {}
    for i, path in enumerate(jobs):
        play_round = adapter.rounds(job_class.read(path))
        times = []
        for _ in range(1 + int(rounds)):
            began = time.perf_counter()
            weights[f"weights{i}"] = np.asarray(play_round(), dtype=np.float32)
            times.append(time.perf_counter() - began)
        seconds.append(times)
        getattr(play_round, "close", lambda: None)()
    found = packages(needs.split(","))
    size, release = megabytes(found), metadata.version(needs.split(",")[0])
    facts = {"import": imported, "seconds": seconds, "megabytes": size, "release": release}
    np.savez(result, facts=np.array(json.dumps(facts)), **weights)  # type: ignore[arg-type]


if __name__ == "__main__":
    main(*sys.argv[1:])
    sys.stdout.flush()
    os._exit(0)  # an engine's threads may never end; the parent ends what they started
