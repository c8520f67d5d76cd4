"""A process for a student's code: limited, locked, watched, in a fresh folder, and gone afterwards.

What holds it back, from the inside: the limits and locks of `locks`. From the outside: a watch that
ends it when its memory, its threads or its folder grow too large, and a deadline.
"""

import compileall
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from fedlab_utils.course.assignment import locks
from fedlab_utils.course.assignment.remote import Peer
from fedlab_utils.errors import FedlabError

_POLL = 0.1  # seconds between two looks of the watch
_MAX_THREADS = 64
_PACKAGE = Path(__file__).resolve().parents[2]
# Beside Python itself: its shared libraries, and what numpy and torch read about the processor.
_SYSTEM = {"/usr/lib", "/usr/lib64", "/usr/local/lib", "/lib", "/lib64", "/usr/share/zoneinfo"}
_SYSTEM |= {"/etc/ld.so.cache", "/etc/localtime", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat"}
_SYSTEM |= {"/sys/devices/system/cpu", "/sys/fs/cgroup/cpu.max", "/dev/urandom"}
_LEFT_OUT = shutil.ignore_patterns("exercises", "trials", "__pycache__")


@dataclass(frozen=True)
class Limits:
    """What one exercise of one submission may use."""

    seconds: int = 120
    memory_mb: int = 2048
    disk_mb: int = 64


@dataclass(frozen=True)
class Stage:
    """What the student's processes see of the course: the package without solutions and checks."""

    packages: tuple[str, ...]
    readable: tuple[str, ...]
    locked: bool


@contextmanager
def stage(*, locked: bool = True) -> Iterator[Stage]:
    """Copy the package without its exercises, for as long as the block lasts.

    Args:
        locked: whether processes are locked up; False runs them with limits only.

    Raises FedlabError if this system does not have the locks.
    """
    if locked and (lacking := locks.missing()):
        raise FedlabError(
            f"this system has no {' and no '.join(lacking)}, so a student's code could reach your "
            f"files and the network. Mark on Linux 5.13 or later (a virtual machine or a container "
            f"will do), or say --unlocked if you have read every line that was handed in."
        )
    with tempfile.TemporaryDirectory(prefix="fedlab-stage-") as scratch:
        copy = Path(scratch) / "fedlab_utils"
        shutil.copytree(_PACKAGE, copy, ignore=_LEFT_OUT)
        data = _PACKAGE.parent / "datasets"
        if data.is_dir() and not (copy / "_datasets").exists():
            shutil.copytree(data, copy / "_datasets")
        compileall.compile_dir(scratch, quiet=2)
        homes = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}
        sites = [path for path in sys.path if path and Path(path).is_dir()]
        packages = [path for path in sites if Path(path).name.endswith("-packages")]
        homes |= {sys.prefix + "/pyvenv.cfg", sys.base_prefix + "/lib", *packages, *_SYSTEM}
        forbidden = [*_forbidden(), *(Path(path) / "fedlab_utils" for path in packages)]
        seen = [path for home in homes for path in without(Path(home), forbidden)]
        # Not resolved here, where it is this process: the teacher's environment can hold secrets.
        yield Stage((scratch, *packages), (scratch, "/proc/self", *map(str, seen)), locked)


def _forbidden() -> list[Path]:
    """The folders that hold solutions: this package, and the checkout it lies in."""
    return [_PACKAGE, _PACKAGE.parent / "chapters", _PACKAGE.parent / "tests"]


def without(path: Path, forbidden: Iterable[Path]) -> list[Path]:
    """Return paths that together hold what is in `path`, but nothing of what is forbidden."""
    path = path.resolve()
    inside = [other for other in forbidden if other.is_relative_to(path)]
    if any(path.is_relative_to(other) for other in forbidden):
        return []
    if not inside:
        return [path]
    return [kept for child in path.iterdir() for kept in without(child, inside)]


class Sandbox:
    """A running process: `peer` speaks to it; `stopped` says why the watch has ended it, or ""."""

    def __init__(self, process: subprocess.Popen[bytes], peer: Peer, folder: Path) -> None:
        self.peer = peer
        self.stopped = ""
        self._process, self._folder = process, folder

    def watch(self, limits: Limits, done: threading.Event) -> None:
        """End the process when it takes too much; returns when `done` is set or it has ended."""
        import psutil

        while not done.wait(_POLL) and self._process.poll() is None:
            try:
                family = [psutil.Process(self._process.pid)]
                family += family[0].children(recursive=True)
                memory = sum(one.memory_info().rss for one in family)
                threads = sum(one.num_threads() for one in family)
            except psutil.Error:
                continue
            if memory > limits.memory_mb << 20:
                self.stop(f"it took more than {limits.memory_mb} MB of memory")
            elif threads > _MAX_THREADS:
                self.stop(f"it started more than {_MAX_THREADS} threads")
            elif _size(self._folder) > limits.disk_mb << 20:
                self.stop(f"it wrote more than {limits.disk_mb} MB")

    def stop(self, reason: str) -> None:
        """End the process and everything that it has started."""
        self.stopped = self.stopped or reason
        _end(self._process)

    def died(self) -> str:
        """Say how the process ended by itself; "" if it is still there."""
        # The pipe may close a moment before the process can be asked.
        for _ in range(20):
            if (code := self._process.poll()) is not None:
                break
            time.sleep(0.05)
        else:
            return ""
        return f"it ended by the signal {-code}" if code < 0 else f"it ended with the code {code}"


@contextmanager
def start(stage: Stage, limits: Limits) -> Iterator[Sandbox]:
    """Start a process for a student's code in a fresh folder; both are gone after the block."""
    to_child, from_child = os.pipe(), os.pipe()
    with tempfile.TemporaryDirectory(prefix="fedlab-student-") as folder:
        launch = Path(stage.packages[0]) / "fedlab_utils" / "course" / "assignment" / "launch.py"
        command = [sys.executable, "-I", "-B", str(launch), str(to_child[0]), str(from_child[1])]
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=_environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(to_child[0], from_child[1]),
            start_new_session=True,
        )
        os.close(to_child[0])
        os.close(from_child[1])
        deadline = time.monotonic() + limits.seconds
        box = Sandbox(process, Peer(from_child[0], to_child[1], deadline), Path(folder))
        done = threading.Event()
        watch = threading.Thread(target=box.watch, args=(limits, done), daemon=True)
        try:
            with open(to_child[1], "wb", closefd=False) as pipe:
                pipe.write(_settings(stage, limits, folder))
            os.set_blocking(to_child[1], False)
            watch.start()
            yield box
        finally:
            done.set()
            _end(process)
            os.close(to_child[1])
            os.close(from_child[0])
            if watch.ident is not None:
                watch.join()


def _settings(stage: Stage, limits: Limits, folder: str) -> bytes:
    own = {"seconds": limits.seconds, "memory_mb": limits.memory_mb, "disk_mb": limits.disk_mb}
    settings = {"limits": own, "locked": stage.locked, "folder": folder}
    settings |= {"readable": stage.readable, "packages": stage.packages}
    return json.dumps(settings).encode() + b"\n"


def _environment(folder: str) -> dict[str, str]:
    """Nothing of the teacher's environment, but what Python and the libraries need."""
    own = {"HOME": folder, "TMPDIR": folder, "MPLCONFIGDIR": folder, "MPLBACKEND": "agg"}
    own |= {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONHASHSEED": "0"}
    return own | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the process, and what it has started where it is not locked up."""
    import psutil

    family: list[psutil.Process] = []
    with suppress(psutil.Error):
        family = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    for child in family:
        with suppress(psutil.Error):
            child.kill()
    process.wait()


def _size(folder: Path) -> int:
    total = 0
    for root, _, files in os.walk(folder):
        for name in files:
            with suppress(OSError):  # gone between two looks
                total += os.lstat(os.path.join(root, name)).st_blocks * 512
    return total
