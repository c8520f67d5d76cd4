"""Let the banks' helpers take turns, so that a small machine holds them. Taught in chapter 14.

Flower starts a process of 250 MB, `flwr-clientapp`, for each message a SuperNode gets. On machines
of their own the banks train side by side. Where they share one, all those processes at once may
not fit. A SuperNode finds the program by its name, so a program of that name which comes first in
the SuperNode's PATH can wait for a lock and then become the real one.
"""

from __future__ import annotations

from pathlib import Path

HELPER = "flwr-clientapp"
# `exec` keeps the lock's descriptor open, so the system frees the lock when the helper has ended,
# however it went. python3 is the caller's own, which `environment` puts next in PATH.
_WAIT = """#!/usr/bin/env python3
import fcntl
import os
import sys

lock = os.open({lock!r}, os.O_RDWR | os.O_CREAT, 0o600)
os.set_inheritable(lock, True)
fcntl.flock(lock, fcntl.LOCK_EX)
os.execv({real!r}, [{real!r}, *sys.argv[1:]])
"""


def write_turns(folder: Path, real: str) -> Path:
    """Write the waiting program into `folder` (made if need be) and return the folder.

    Args:
        folder: is to be first in the PATH of every SuperNode that takes part.
        real: path of Flower's own `flwr-clientapp`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / HELPER
    program.write_text(_WAIT.format(lock=str(folder / "lock"), real=real), encoding="utf-8")
    program.chmod(0o700)
    return folder
