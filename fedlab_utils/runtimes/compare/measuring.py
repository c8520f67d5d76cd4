"""Measure each framework on one job, each in a process of its own. Taught in chapter 05.

The job: a dense autoencoder 20-10-5-10-20, 256 rows a client, batches of 32, one epoch. All must
reach the same weights, or the numbers would not be about the same thing.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fedlab_utils.errors import FedlabError
from fedlab_utils.federate import rivals
from fedlab_utils.memory import family_memory
from fedlab_utils.models import dense_autoencoder, flatten
from fedlab_utils.runtimes.compare.frameworks import FRAMEWORKS
from fedlab_utils.runtimes.tff import launch

if TYPE_CHECKING:
    import pandas as pd

WIDTHS = (20, 10, 5, 10, 20)
_HERE = Path(__file__).resolve().parent
_PACKAGE = _HERE.parents[2]
RECORD = _HERE / "recorded.json"


@dataclass(frozen=True)
class Measurement:
    """What one framework took.

    Attributes:
        name: a key of FRAMEWORKS.
        release: version of the first package that it needs.
        megabytes: its packages, with all they require, on disk [MB].
        import_seconds: from a fresh Python.
        first_round: seconds of the first round, which starts or compiles things.
        round_seconds: {number of clients: median seconds of a later round}.
        memory_mb: peak of resident memory, all its processes together [MB].
    """

    name: str
    release: str
    megabytes: float
    import_seconds: float
    first_round: float
    round_seconds: dict[int, float]
    memory_mb: float


def make_job(path: Path, clients: int) -> None:
    """Write the job for so many clients: batches [K, 8, 32, 20] and start weights [P]."""
    rng = np.random.default_rng([0, clients])
    batches = rng.standard_normal((clients, 8, 32, WIDTHS[0]), np.float32)
    start = flatten(dense_autoencoder(WIDTHS[0], hidden=WIDTHS[1], code=WIDTHS[2])).numpy()
    np.savez(path, batches=batches, start=start, widths=WIDTHS, lr=0.05)


def measure(
    names: Sequence[str] = ("ours", "tff"),
    clients: Sequence[int] = (4, 40),
    rounds: int = 3,
    patience: float = 600.0,
    pythons: Mapping[str, str] | None = None,
) -> list[Measurement]:
    """Measure frameworks one after the other.

    Args:
        names: keys of FRAMEWORKS.
        clients: numbers of clients, one job for each.
        rounds: timed rounds of each job, beside a first one.
        patience: seconds that one framework may take.
        pythons: interpreters of frameworks that this one does not have, by name.

    Raises FedlabError for an unknown name, one that is not installed (with the command), one that
    fails or takes too long (with its last words), and one whose weights differ from the first
    one's by more than 1e-5. Taught in chapter 05.
    """
    for name in names:
        if name not in FRAMEWORKS:
            raise FedlabError(f"no framework {name!r}; choose from {', '.join(FRAMEWORKS)}.")
        if name not in (pythons or {}) and (reason := FRAMEWORKS[name].missing()):
            raise FedlabError(f"{FRAMEWORKS[name].title}: {reason}")
    done: list[Measurement] = []
    reference: dict[int, np.ndarray] = {}
    with tempfile.TemporaryDirectory(prefix="fedlab-compare-") as scratch:
        folder = Path(scratch)
        for number in clients:
            make_job(folder / f"job{number}.npz", number)
        for name in names:
            python = (pythons or {}).get(name, FRAMEWORKS[name].python())
            groups = [[k] for k in clients] if FRAMEWORKS[name].one_job else [list(clients)]
            runs = [_one(name, python, folder, group, rounds, patience) for group in groups]
            vectors = [vector for _, weights, _ in runs for vector in weights.values()]
            for number, vector in zip(clients, vectors, strict=True):
                gap = float(np.abs(vector - reference.setdefault(number, vector)).max())
                if not gap < 1e-5:
                    raise FedlabError(f"{name}: its weights differ from {names[0]}'s by {gap:.1e}.")
            facts = runs[0][0]
            each = [times for run, _, _ in runs for times in run["seconds"]]
            later = [statistics.median(times[1:]) for times in each]
            done.append(
                Measurement(
                    name=name,
                    release=facts["release"],
                    megabytes=facts["megabytes"],
                    import_seconds=facts["import"],
                    first_round=facts["seconds"][0][0],
                    round_seconds=dict(zip(clients, later, strict=True)),
                    memory_mb=max(memory for _, _, memory in runs),
                )
            )
    return done


def _one(
    name: str, python: str, folder: Path, clients: Sequence[int], rounds: int, patience: float
) -> tuple[dict[str, Any], dict[str, np.ndarray], float]:
    """Run the child; return its facts, its weights by job, and its peak memory [MB]."""
    framework, result = FRAMEWORKS[name], folder / f"{name}.npz"
    command = [python, str(_HERE / "gauge.py"), name, framework.module]
    command += [",".join(framework.needs), str(Path(rivals.__file__).parent), str(result)]
    command += [str(rounds), *(str(folder / f"job{number}.npz") for number in clients)]
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    environment |= {"TF_CPP_MIN_LOG_LEVEL": "3", "FLWR_TELEMETRY_ENABLED": "0"}
    if name != "tff":  # that Python must not see this one's packages
        environment["PYTHONPATH"] = str(_PACKAGE)
    log = folder / f"{name}.txt"
    with log.open("wb") as file:
        # Helpers outlive their parent and hold its output: a session of its own, and a file.
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=environment,
        )
    guard = launch.guard(process.pid)  # ends it even if this process is killed
    try:
        memory = _watch(process, patience)
    finally:
        guard.communicate()
        process.wait()
    if process.returncode or not result.exists():
        said = log.read_text(errors="replace").strip()[-1500:]
        raise FedlabError(
            f"{name}: it failed or took more than {patience:g} s. Its last words:\n{said}"
        )
    with np.load(result) as data:
        weights = {key: data[key] for key in data.files if key != "facts"}
        return json.loads(str(data["facts"])), weights, memory


def _watch(process: subprocess.Popen[bytes], patience: float) -> float:
    """Wait for the process; return the peak memory of it and its children [MB]."""
    peak, deadline = 0.0, time.monotonic() + patience
    while process.poll() is None and time.monotonic() < deadline:
        peak = max(peak, family_memory(process.pid, above=peak))
        time.sleep(0.05)
    return peak


def to_frame(measurements: Sequence[Measurement]) -> pd.DataFrame:
    """The table: measured columns, what the coordinator sees, what is maintained."""
    import pandas as pd

    rows = []
    for one in measurements:
        framework = FRAMEWORKS[one.name]
        rounds = {f"round, {k} clients [s]": s for k, s in one.round_seconds.items()}
        rows.append(
            {
                "framework": framework.title,
                "release": f"{framework.needs[0]} {one.release}",
                "set-up [MB]": round(one.megabytes),
                "import [s]": round(one.import_seconds, 1),
                "first round [s]": round(one.first_round, 2),
                **{title: float(f"{seconds:.2g}") for title, seconds in rounds.items()},
                "memory [MB]": round(one.memory_mb),
                "the coordinator sees": framework.sees,
                "state": framework.state,
            }
        )
    return pd.DataFrame(rows).set_index("framework")


def record(measurements: Sequence[Measurement]) -> None:
    """Keep measurements, and on what machine they were made, for the chapter.

    Rows of the same machine that are not measured anew stay.
    """
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}"
    rows = {one.name: one for one in measurements}
    if RECORD.exists() and recorded()[0] == machine:
        rows = {one.name: one for one in recorded()[1]} | rows
    ordered = [asdict(rows[name]) for name in FRAMEWORKS if name in rows]
    content = {"machine": machine, "rows": ordered}
    RECORD.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def recorded() -> tuple[str, list[Measurement]]:
    """The kept measurements: (machine, rows)."""
    content = json.loads(RECORD.read_text(encoding="utf-8"))
    rows = []
    for row in content["rows"]:
        seconds = {int(k): s for k, s in row["round_seconds"].items()}
        rows.append(Measurement(**{**row, "round_seconds": seconds}))
    return content["machine"], rows
