"""A Jupyter kernel in the environment of TensorFlow Federated. Taught in chapter 05.

TensorFlow Federated starts a process named worker_binary that outlives its parent and keeps its
output open. So the kernel gets a session of its own, and all of it is killed when it stops, when
this process ends, and, by a guard, even when this process is killed.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import queue
import re
import signal
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from fedlab_utils.errors import FedlabError
from fedlab_utils.runtimes.tff import launch, release, values
from fedlab_utils.runtimes.tff.home import require

_START = 120.0  # seconds that a kernel may take to answer first
_INTERRUPT = 10.0  # seconds that a cell may take to stop after an interrupt
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_LOAD = """
import importlib.util as _u, sys as _s
def _fedlab_module(name, path):
    spec = _u.spec_from_file_location(name, path)
    _s.modules[name] = module = _u.module_from_spec(spec)
    spec.loader.exec_module(module)
"""
Message = dict[str, Any]
Show = Callable[[str, Message], None]


class TffError(FedlabError):
    """An error that code raised in the environment of TensorFlow Federated.

    Attributes:
        name: the error's class there.
        message: its text.
        traceback: its lines, as a notebook shows them.
    """

    def __init__(self, name: str, message: str, traceback: Iterable[str] = ()) -> None:
        super().__init__(f"{name}: {message}")
        self.name, self.message, self.traceback = name, message, list(traceback)

    def _render_traceback_(self) -> list[str]:
        """What IPython shows: the traceback over there, not the one of the messenger here."""
        return self.traceback or [str(self)]


def ignore(kind: str, content: Message) -> None:
    """Show nothing."""


class TffKernel:
    """One kernel; its variables stay from call to call. Use it in a `with` block, or `stop` it.

    Args:
        python: the environment's Python; default the one that `install` made.

    Raises FedlabError, with the command to run, if there is none, and if the kernel does not
    start. Taught in chapter 05.
    """

    def __init__(self, python: str | Path | None = None) -> None:
        from jupyter_client.blocking.client import BlockingKernelClient

        python = require() if python is None else python
        self._folder = tempfile.TemporaryDirectory(prefix="fedlab-tff-")
        folder = Path(self._folder.name)
        self._log, self._values = folder / "log.txt", folder / "values.npz"
        self._client = BlockingKernelClient(transport="ipc")
        self._client.connection_file = str(folder / "kernel.json")
        self._client.ip = str(folder / "socket")
        self._client.write_connection_file()
        self._process = launch.kernel(str(python), self._client.connection_file, folder, self._log)
        self._guard = launch.guard(self._process.pid, folder)
        atexit.register(self.stop)
        try:
            self._client.start_channels(hb=False)
            self._wait_until_ready()
            self.run(_LOAD, ignore)
            self.load_module("fedlab_values", values.__file__)
            self.load_module("fedlab_release", release.__file__)
        except BaseException:
            self.stop()
            raise

    def _wait_until_ready(self) -> None:
        """A kernel may answer on one channel before another: ask until both have spoken."""
        deadline = time.monotonic() + _START
        while time.monotonic() < deadline:
            self._client.kernel_info()
            if self._next(self._client.get_shell_msg, 1.0) and self._next(
                self._client.get_iopub_msg, 1.0
            ):
                return
        raise FedlabError(
            f"the kernel of TensorFlow Federated gave no answer in {_START:g} s. Its last words:\n"
            f"{self._last_words()}"
        )

    def _next(self, get: Callable[..., Any], seconds: float) -> Message | None:
        """A channel's next message, or None. Raises TffError if the kernel is dead."""
        try:
            return get(timeout=seconds)
        except queue.Empty:
            if self._process.poll() is None:
                return None
        words = self._last_words()
        self.stop()
        raise TffError(
            "DeadKernel",
            f"the process of TensorFlow Federated has ended (memory is the usual reason). The next "
            f"cell starts a new one; its variables are lost. Last words:\n{words}",
        )

    def _last_words(self) -> str:
        return self._log.read_text(errors="replace").strip()[-1500:] if self._log.exists() else ""

    @property
    def alive(self) -> bool:
        """Whether it can run code."""
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        """Number of its process, which is also that of its session."""
        return self._process.pid

    def run(self, code: str, show: Show | None = None) -> None:
        """Run code there; its outputs are shown here while it runs.

        `show` takes (kind, content) of each output message; default: as the outputs of the
        current cell. A KeyboardInterrupt here interrupts the code there, and is raised again.
        Raises TffError if the code fails or the process dies.
        """
        from fedlab_utils.runtimes.tff.outputs import in_cell

        show = show or in_cell
        if not self.alive:
            raise TffError("DeadKernel", "this kernel was stopped; start another one.")
        asked = self._client.execute(code, silent=show is ignore, allow_stdin=False)
        interrupted, deadline = False, float("inf")
        while True:
            try:
                if self._listen(asked, show):
                    break
                if time.monotonic() > deadline:
                    self.stop()
                    break
            except KeyboardInterrupt:
                if interrupted:  # twice: the reader is in earnest
                    self.stop()
                    raise
                interrupted, deadline = True, time.monotonic() + _INTERRUPT
                self.interrupt()
        if interrupted:
            if self.alive:
                self._conclude_interrupted(asked)
            lost = (
                "" if self.alive else "It did not stop, so it was killed; its variables are lost."
            )
            raise KeyboardInterrupt(lost)
        self._conclude(asked)

    def _listen(self, asked: str, show: Show) -> bool:
        """Handle one message; tell whether the code has come to its end."""
        message = self._next(self._client.get_iopub_msg, 0.5)
        if message is None or message["parent_header"].get("msg_id") != asked:
            return False
        kind, content = message["msg_type"], message["content"]
        if kind == "status":
            return content["execution_state"] == "idle"
        if kind not in ("error", "execute_input"):  # an error is raised, not shown
            show(kind, content)
        return False

    def _conclude(self, asked: str) -> None:
        """Raise what the reply says."""
        while True:
            message = self._next(self._client.get_shell_msg, 1.0)
            if message is not None and message["parent_header"].get("msg_id") == asked:
                break
        reply = message["content"]
        if reply["status"] != "ok":
            name = reply.get("ename", "Aborted")
            text = _ANSI.sub("", reply.get("evalue", ""))
            raise TffError(name, text, reply.get("traceback", ()))

    def _conclude_interrupted(self, asked: str) -> None:
        """Take the reply, whatever it says, and end the computation that the code has begun."""
        with contextlib.suppress(TffError):
            self._conclude(asked)
        with contextlib.suppress(TffError):
            self.run("_s.modules['fedlab_release'].release()", ignore)

    def put(self, named: dict[str, Any]) -> None:
        """Give variables there these values. Raises ValueError for one that cannot cross."""
        values.save(self._values, named)
        self.run(
            f"globals().update(_s.modules['fedlab_values'].load({str(self._values)!r}))", ignore
        )

    def get(self, *names: str) -> dict[str, Any]:
        """The values of names or expressions there. Raises TffError for one that cannot cross."""
        picked = "{" + ", ".join(f"{name!r}: {name}" for name in names) + "}"
        path = str(self._values)
        self.run(f"_s.modules['fedlab_values'].save({path!r}, {picked})", ignore)
        return values.load(path)

    def load_module(self, name: str, path: str) -> None:
        """Import a file there under a name. It must not need this package."""
        self.run(f"_fedlab_module({name!r}, {path!r}); import {name}", ignore)

    def interrupt(self) -> None:
        """Interrupt the running code; the variables stay.

        The worker does not get the signal: it may hold nothing that anybody waits for, or a
        computation that is to be ended in good order (see `release`).
        """
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGINT)

    def stop(self) -> None:
        """End the kernel and all that it started. Doing it twice does no harm."""
        guard = self.__dict__.pop("_guard", None)
        if guard is None:
            return
        atexit.unregister(self.stop)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        guard.kill()
        guard.wait()
        guard.stdin.close()
        self._client.stop_channels()
        self._folder.cleanup()

    def __enter__(self) -> TffKernel:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
