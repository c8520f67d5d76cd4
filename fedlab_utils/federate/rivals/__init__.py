"""Other frameworks in the benchmark, each in a process of its own. Taught in chapter 03.

A framework gets every advantage: its batches are laid out beforehand, its engine keeps running
between rounds, its first round is not counted, and only the round itself is timed, in its own
process.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType

import numpy as np

from fedlab_utils.errors import FedlabError

# name: (module that must import, how to get it); Flower simulates with Ray, which is an extra
RIVALS = {
    "flower": ("ray", 'pip install "flwr[simulation]"'),
    "fedjax": ("fedjax", "pip install fedjax"),
    "pfl": ("pfl", "pip install pfl"),
    "tff": (
        "tensorflow_federated",
        "make an environment of its own, with Python 3.11 on Linux x86-64 (tensorflow-federated "
        "0.87.0, tensorflow-cpu 2.14.1, jax and jaxlib 0.4.20, numpy 1.25.2), and name its "
        "Python with --tff-python PATH",
    ),
}
_WORKER = Path(__file__).with_name("worker.py")


class Rival:
    """One framework, started on a job and asked for rounds. Use it in a `with` block.

    Args:
        name: one of RIVALS.
        python: the interpreter that has the framework; default this one.
        batches: [K, S, B, d] float32, each client's steps in the order of training.
        start: [P] weights that every round starts from.
        widths: of the layers, for example (20, 10, 5, 10, 20).
        lr: local learning rate.
        patience: seconds to wait for the start and for each round.

    Raises FedlabError for an unknown name, a framework that this interpreter does not have (with
    the command that installs it), and one that fails or hangs (with the end of what it said).
    """

    def __init__(
        self,
        name: str,
        batches: np.ndarray,
        start: np.ndarray,
        widths: tuple[int, ...],
        lr: float,
        python: str = sys.executable,
        patience: float = 300.0,
    ) -> None:
        require(name, python)
        self.name, self.patience = name, patience
        self._folder = tempfile.TemporaryDirectory(prefix="fedlab-bench-")
        folder = Path(self._folder.name)
        self._out, self._log = folder / "weights.npy", folder / "log.txt"
        np.savez(folder / "job.npz", batches=batches, start=start, widths=widths, lr=lr)
        with self._log.open("w") as log:
            # A session of its own: Ray and TFF start helpers that outlive their parent, and only
            # the whole group can be ended. Their output goes to a file, since a pipe held by a
            # helper never ends.
            self._process = subprocess.Popen(
                [python, str(_WORKER), name, str(folder / "job.npz"), str(self._out)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        try:
            self._answer()
        except BaseException:
            self.close()
            raise

    def round(self) -> tuple[np.ndarray, float]:
        """Play one round from the start weights: new weights [P] and the seconds it took."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # _answer says why
            self._process.stdin.write("round\n")
            self._process.stdin.flush()
        seconds = float(self._answer().split()[1])
        return np.load(self._out), seconds

    def _answer(self) -> str:
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            ready = selector.select(self.patience)
        line = self._process.stdout.readline() if ready else ""
        if not line:
            what = "ended" if ready else f"said nothing for {self.patience:g} s"
            said = self._log.read_text(errors="replace").strip()[-2000:]
            raise FedlabError(f"{self.name}: its process {what}. Its last words:\n{said}")
        return line

    def close(self) -> None:
        """End the process and all that it started."""
        for sent in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, sent)
            deadline = time.monotonic() + 3
            while sent == signal.SIGTERM and time.monotonic() < deadline:
                if self._process.poll() is not None:
                    break
                time.sleep(0.05)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        self._folder.cleanup()

    def __enter__(self) -> Rival:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def require(name: str, python: str = sys.executable) -> None:
    """Raise FedlabError, with what to do, if `python` has no framework `name`."""
    if name not in RIVALS:
        raise FedlabError(f"no framework {name!r}; choose from {', '.join(RIVALS)}.")
    module, install = RIVALS[name]
    look = f"import importlib.util as u, sys; sys.exit(u.find_spec({module!r}) is None)"
    try:
        missing = subprocess.run([python, "-c", look], capture_output=True, check=False).returncode
    except OSError as error:
        raise FedlabError(f"{name}: cannot run {python}: {error}") from error
    if missing:
        raise FedlabError(f"{name} is not installed for {python}. To get it: {install}.")
