"""An interpreter that waits with the libraries loaded, and becomes a new process for each job.

Importing torch takes ten times as long as the training of a small bank. So a bank keeps a worker
that has imported what the agreed scripts need, and forks it for each job. The fork *is* the job: it
has the job's environment, a process group of its own, and is gone at the end with all it knew. The
worker itself never opens a private row and never runs a line of a job.

The banks of a `SyftFederation` share one worker, because they share one machine; real banks have
one each. Taught in chapter 04.
"""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
from pathlib import Path
from typing import BinaryIO, NoReturn

from fedlab_utils.errors import FedlabError

_MESSAGE_BYTES = 1 << 16
KILLED = -signal.SIGKILL


class Worker:
    """The bank's side of the waiting interpreter; it starts with the first job.

    Args:
        environment: the variables that the interpreter itself is started with.
    """

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._line: socket.socket | None = None
        self._lock = threading.Lock()

    def start(self) -> socket.socket:
        """The line to the interpreter, started anew if there is none or it has ended."""
        with self._lock:
            if self._line is None or self._process is None or self._process.poll() is not None:
                ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                with theirs:
                    self._process = subprocess.Popen(
                        [sys.executable, "-m", __name__, str(theirs.fileno())],
                        pass_fds=[theirs.fileno()],
                        env=self.environment,
                        stdin=subprocess.DEVNULL,
                        start_new_session=True,
                    )
                self._line = ours
            return self._line

    def begin(self, folder: Path, environment: dict[str, str], log: BinaryIO) -> WorkerJob:
        """Run `folder`/main.py as a process of its own, its output going to `log`."""
        line = self.start()
        status, theirs = os.pipe()
        order = {"folder": str(folder), "environment": environment}
        try:
            socket.send_fds(line, [json.dumps(order).encode()], [log.fileno(), theirs])
        except BaseException:
            os.close(status)
            raise
        finally:
            os.close(theirs)
        return WorkerJob(status)

    def close(self) -> None:
        """End the interpreter; jobs that are running are not ended by this."""
        with self._lock:
            if self._line is not None:
                self._line.close()
                self._line = None
            if self._process is not None:
                self._process.kill()
                self._process.wait()
                self._process = None


class WorkerJob:
    """A job that runs: its number and, at the end, its exit code come through a pipe."""

    def __init__(self, status: int) -> None:
        self._status = open(status, "rb", buffering=0)  # noqa: SIM115, closed by `close`
        first = self._status.readline()  # waits for the libraries of an interpreter just started
        if not first:
            self._status.close()
            raise FedlabError("the bank's worker could not start a job; its own output says why.")
        self.number = int(first)

    def wait(self, timeout: float) -> int:
        """The exit code, negative for a signal. Raises subprocess.TimeoutExpired."""
        if not select.select([self._status], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired("main.py", timeout)
        return int(self._status.readline() or KILLED)  # nothing: whoever would tell was killed

    def stop(self) -> None:
        """End the job and all processes it started, if there are any left."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.number, signal.SIGKILL)

    def close(self) -> None:
        """Wait no longer."""
        self._status.close()


def serve(line: socket.socket) -> None:
    """Fork for each order that comes, until the other end is closed."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody here waits for them
    while True:
        message, descriptors, _, _ = socket.recv_fds(line, _MESSAGE_BYTES, 2)
        if not message:
            return
        if os.fork() == 0:
            line.close()
            _watch(json.loads(message), *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _watch(order: dict, log: int, status: int) -> NoReturn:
    """Fork the job, and tell its number and its exit code."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    begun, ready = os.pipe()
    job = os.fork()
    if job == 0:
        os.setsid()
        os.write(ready, b".")  # from now on the whole group can be ended
        for descriptor in (begun, ready, status):
            os.close(descriptor)
        _be_the_job(order, log)
    os.read(begun, 1)
    os.write(status, b"%d\n" % job)
    code = os.waitstatus_to_exitcode(os.waitpid(job, 0)[1])
    with contextlib.suppress(BrokenPipeError):
        os.write(status, b"%d\n" % code)
    os._exit(0)


def _be_the_job(order: dict, log: int) -> NoReturn:
    code = 1
    try:
        null = os.open(os.devnull, os.O_RDONLY)
        for descriptor, standard in ((null, 0), (log, 1), (log, 2)):
            os.dup2(descriptor, standard)
        os.close(log)
        os.environ.clear()
        os.environ.update(order["environment"])
        os.chdir(order["folder"])
        sys.argv, sys.path[0] = ["main.py"], order["folder"]
        runpy.run_path("main.py", run_name="__main__")
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code & 0xFF)


def load() -> None:
    """Import what the agreed scripts need."""
    import torch

    import fedlab_utils.detect.metrics
    import fedlab_utils.federate
    import fedlab_utils.runtimes.pysyft.bank  # noqa: F401

    torch.set_num_threads(1)  # in a fork, threads of the worker would not exist
    # An optimiser's first step imports as much again (torch's compiler), so it is taken here. No
    # `backward`: its engine may not be forked.
    nothing = torch.nn.Parameter(torch.zeros(1))
    nothing.grad = torch.zeros(1)
    torch.optim.SGD([nothing], lr=1.0).step()


def main() -> None:
    """Load the libraries, then wait for orders."""
    load()
    serve(socket.socket(fileno=int(sys.argv[1])))


if __name__ == "__main__":
    main()
