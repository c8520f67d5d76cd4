"""Runs in the environment of TensorFlow Federated: end what an interrupted cell had begun.

An interrupt stops the cell, not the computation: that goes on in the process worker_binary, and the
next one waits for it. Ending that process is not enough either: the call, still waiting in a
thread, would see a failure that is worth another try, start a new process and compute all of it
again. So the call is cancelled first.

This file must not import the course's package. Taught in chapter 05.
"""

import asyncio
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path


def workers() -> list[int]:
    """Process numbers of the workers that this process has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):  # TFF exists for Linux only
        with suppress(OSError):
            name, rest = path.read_text().rsplit(")", 1)
            if name.endswith("(worker_binary") and int(rest.split()[1]) == os.getpid():
                found.append(int(path.parent.name))
    return found


def release() -> None:
    """Cancel the waiting call and end the worker; the next call starts another worker."""
    tff = sys.modules.get("tensorflow_federated")
    if tff is None:
        return
    # TFF has no public way to cancel. These names are those of the one version that we install.
    runner = getattr(tff.framework.get_context_stack().current, "_async_runner", None)
    loop = getattr(runner, "_event_loop", None)
    if loop is not None:
        loop.call_soon_threadsafe(lambda: [task.cancel() for task in asyncio.all_tasks(loop)])
    for worker in workers():
        with suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)
