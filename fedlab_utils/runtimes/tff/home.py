"""Where the environment of TensorFlow Federated is, and whether it is whole. Taught in chapter 05.

Its folder is the one in the environment variable FEDLAB_TFF, or else in the user's cache. A stamp
file, written last, says from which versions it was made: without it the environment is half-made.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedlab_utils.errors import FedlabError

VARIABLE = "FEDLAB_TFF"
INSTALL = "python -m fedlab_utils.runtimes.tff install"
READY, OUTDATED, INCOMPLETE, MISSING = "ready", "outdated", "incomplete", "missing"
STAMP = "fedlab-tff.json"
STARTED = "fedlab-tff.incomplete"

_PACKAGE = Path(__file__).resolve().parents[2]
# In a checkout the lock lies beside the package; in an installed wheel, inside it.
LOCKS = (
    _PACKAGE.parent / "requirements" / "tff.lock",
    _PACKAGE / "_requirements" / "tff.lock",
)


@dataclass(frozen=True)
class Status:
    """What is in the environment's folder.

    Attributes:
        state: "ready", "outdated" (made from another lock), "incomplete" or "missing".
        folder: where it is or would be.
        stamp: what the stamp says: versions, seconds to make it, megabytes; {} without one.
    """

    state: str
    folder: Path
    stamp: dict[str, Any]

    @property
    def ready(self) -> bool:
        """Whether `%%tff` cells can run."""
        return self.state == READY

    def __str__(self) -> str:
        if self.ready:
            return (
                f"ready: {self.folder} (TensorFlow Federated {self.stamp['tff']}, Python "
                f"{self.stamp['python']}, {self.stamp['megabytes']} MB)"
            )
        meaning = {
            OUTDATED: "made from another list of versions",
            INCOMPLETE: "its installation did not come to an end",
            MISSING: "there is no environment yet",
        }[self.state]
        return f"{self.state}: {self.folder}: {meaning}. Run: {INSTALL}"


def environment() -> Path:
    """The folder of the environment, made or not: FEDLAB_TFF, or one in the user's cache."""
    if named := os.environ.get(VARIABLE):
        return Path(named).expanduser().absolute()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "fedlab-tff"


def interpreter(folder: Path) -> Path:
    """The Python of an environment."""
    return folder / "bin" / "python"


def status() -> Status:
    """Look at the environment without starting it. Taught in chapter 05."""
    folder = environment()
    if not interpreter(folder).exists():
        begun = (folder / STARTED).exists()
        return Status(INCOMPLETE if begun else MISSING, folder, {})
    try:
        stamp = json.loads((folder / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return Status(INCOMPLETE, folder, {})
    return Status(READY if stamp.get("lock") == lock_hash() else OUTDATED, folder, stamp)


def require() -> Path:
    """The environment's Python. Raises FedlabError with the command to run if it is not ready."""
    found = status()
    if not found.ready:
        raise FedlabError(
            f"TensorFlow Federated cannot be used: {found}\nIn a notebook put an exclamation mark "
            f"before the command. It downloads 0.6 GB, takes some minutes, and is needed once."
        )
    return interpreter(found.folder)


def lock() -> Path:
    """The file with the pinned versions. Raises FedlabError if the package was cut short."""
    for path in LOCKS:
        if path.is_file():
            return path
    raise FedlabError(
        f"the list of versions is missing; looked for {' and '.join(map(str, LOCKS))}. Install "
        f"the package again, or run from a complete clone."
    )


def pins() -> list[str]:
    """The pinned versions, "name==version", sorted; comments left out."""
    lines = (line.partition("#")[0].strip() for line in lock().read_text("utf-8").splitlines())
    return sorted(line for line in lines if line)


def lock_hash() -> str:
    """sha256 of the pins: a comment in the lock makes no environment outdated."""
    return hashlib.sha256("\n".join(pins()).encode()).hexdigest()


def remove() -> bool:
    """Delete the environment; tell whether there was one.

    Raises FedlabError, and deletes nothing, if the folder holds something else.
    """
    folder = environment()
    if not folder.exists():
        return False
    ours = any((folder / name).is_file() for name in (STAMP, STARTED))
    if not ours and any(folder.iterdir()):
        raise FedlabError(
            f"{folder} is not an environment that this command has made: it has neither {STAMP} "
            f"nor {STARTED}. Nothing was deleted. Name another folder in {VARIABLE}."
        )
    # The stamp goes first: what an interrupted deletion leaves behind must not look whole.
    (folder / STARTED).touch()
    (folder / STAMP).unlink(missing_ok=True)
    shutil.rmtree(folder)
    return True


def megabytes(folder: Path) -> int:
    """Size of a folder on disk [MB]; links are not followed. The folder may change meanwhile."""
    total = 0
    for root, _, files in os.walk(folder):
        for name in files:
            with contextlib.suppress(FileNotFoundError):  # pip has just renamed it
                total += os.lstat(os.path.join(root, name)).st_size
    return round(total / 1e6)
