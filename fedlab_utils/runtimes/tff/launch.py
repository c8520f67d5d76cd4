"""Start the kernel's process, and the guard that ends it. Taught in chapter 05."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

# Waits for its standard input to close, which happens when the process that holds the other end
# is gone, however it went; then kills the session and removes its folder.
_GUARD = 'cat >/dev/null; kill -s KILL -- "-$1" 2>/dev/null; [ -z "$2" ] || rm -rf "$2"'
_ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "3",  # no remarks on missing GPUs
    "TF_ENABLE_ONEDNN_OPTS": "0",  # sums in a fixed order
    "CUDA_VISIBLE_DEVICES": "-1",
    "JAX_PLATFORMS": "cpu",
    "GRPC_VERBOSITY": "NONE",
    "MALLOC_ARENA_MAX": "2",  # else each of many threads keeps memory of its own: 90 MB in all
}


def kernel(python: str, connection: str, folder: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start a Jupyter kernel in a session of its own, its words in a file."""
    command = [python, "-m", "ipykernel_launcher", "-f", connection]
    hidden = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "MPLBACKEND")
    environment = {k: v for k, v in os.environ.items() if k not in hidden}
    # The reader's own IPython profile is meant for the reader's own Python.
    environment |= {**_ENVIRONMENT, "IPYTHONDIR": str(folder / "ipython")}
    with log.open("wb") as file:
        return subprocess.Popen(
            [*command, "--HistoryManager.enabled=False"],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=environment,
        )


def guard(session: int, folder: Path | None = None) -> subprocess.Popen[bytes]:
    """Start the process that kills a session when this process is gone, or closes the pipe.

    It then removes the folder, if one is given.
    """
    return subprocess.Popen(
        ["/bin/sh", "-c", _GUARD, "guard", str(session), str(folder or "")],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
