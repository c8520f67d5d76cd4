"""A sum by MPyC, each party a process of its own on this machine. Taught in chapter 07.

MPyC (B. Schoenmakers, https://github.com/lschoe/mpyc) computes on Shamir shares among parties that
all talk to each other. It is made for more than sums: comparisons, products, machine learning.
"""

from __future__ import annotations

import importlib.util
import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fedlab_utils.errors import FedlabError

_PARTY = Path(__file__).with_name("mpyc_party.py")


@dataclass(frozen=True)
class MpycSum:
    """What the parties found out.

    Attributes:
        total: [P] int64, the sum, the same for all parties.
        processes: how many took part.
        bytes_sent: by all parties together, as MPyC counts them.
        seconds: from the first connection to the result, of the slowest party.
        startup_seconds: until the last process had ended, minus the above.
    """

    total: np.ndarray
    processes: int
    bytes_sent: int
    seconds: float
    startup_seconds: float


def mpyc_sum(vectors: Sequence[np.ndarray], bits: int = 32, patience: float = 60.0) -> MpycSum:
    """Add integer vectors [P], one for each of 2 or more processes, with MPyC.

    Each process reads its own vector only, and shares it out among all; they add their shares and
    open the sum. `bits` bounds the sum (signed); `patience` is in seconds. Nothing keeps running
    afterwards, whatever happens.

    Raises FedlabError if MPyC is not installed, for vectors that do not fit together, if a party
    fails (with its last words) or takes too long, or if the parties disagree.
    """
    if importlib.util.find_spec("mpyc") is None:
        raise FedlabError("MPyC is not installed: pip install mpyc")
    rows = [np.asarray(v) for v in vectors]
    if len(rows) < 2 or any(
        r.ndim != 1 or r.shape != rows[0].shape or r.dtype.kind not in "iu" for r in rows
    ):
        raise FedlabError("mpyc_sum: give 2 or more integer vectors of one length.")
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="fedlab-mpyc-") as name, ExitStack() as stack:
        folder = Path(name)
        addresses = [f"-Plocalhost:{port}" for port in _free_ports(len(rows))]
        parties = []
        for i, row in enumerate(rows):
            np.save(folder / f"{i}.npy", row.astype(np.int64))
            log = stack.enter_context((folder / f"{i}.log").open("w"))
            command = [sys.executable, str(_PARTY), str(folder), str(i), str(bits)]
            parties.append(
                stack.enter_context(
                    subprocess.Popen([*command, *addresses, f"-I{i}"], stdout=log, stderr=log)
                )
            )
            stack.callback(parties[-1].kill)  # runs before the process is waited for
        for i, party in enumerate(parties):
            try:
                code = party.wait(max(0.0, patience - (time.perf_counter() - began)))
            except subprocess.TimeoutExpired:
                raise FedlabError(f"MPyC: no result after {patience:g} seconds.") from None
            if code:
                words = (folder / f"{i}.log").read_text().strip()[-1000:]
                raise FedlabError(f"MPyC: party {i} ended with code {code}:\n{words}")
        reports = [json.loads((folder / f"{i}.json").read_text()) for i in range(len(rows))]
        totals = [np.load(folder / f"{i}.total.npy") for i in range(len(rows))]
    if any(not np.array_equal(t, totals[0]) for t in totals):
        raise FedlabError("MPyC: the parties found different sums.")
    seconds = max(r["seconds"] for r in reports)
    return MpycSum(
        total=totals[0],
        processes=len({r["process"] for r in reports}),
        bytes_sent=sum(r["bytes"] for r in reports),
        seconds=seconds,
        startup_seconds=time.perf_counter() - began - seconds,
    )


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
