"""Start and end the processes of Flower, so that none is left behind. Taught in chapter 14."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from fedlab_utils.errors import FedlabError
from fedlab_utils.runtimes.tff.launch import guard

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
# Waits as the guard does. A helper that is about to end may still write, so the folder is removed
# twice a second for some seconds.
_SWEEP = 'cat >/dev/null; for i in 1 2 3 4 5 6 7 8 9; do rm -rf "$1"; sleep 0.5; done'
_GRACE = 5.0  # seconds that a process gets to say goodbye
_PACKAGE = Path(__file__).resolve().parents[3]


def command(name: str) -> str:
    """The path of one of Flower's commands. Raises FedlabError if it is not installed."""
    path = Path(sys.executable).parent / name
    if not path.exists():
        raise FedlabError(f'{path} is missing. Install Flower: pip install "fedlab-utils[flower]"')
    return str(path)


def environment(home: Path, first: Path | None = None) -> dict[str, str]:
    """All that a process gets to know: nothing of the caller's variables but PATH.

    Args:
        home: Flower's own folder; processes of different parties must not share one.
        first: a folder of programs that are found before Flower's own.
    """
    home.mkdir(parents=True, exist_ok=True)
    commands = str(Path(sys.executable).parent)  # Flower starts its helpers by name
    places = [*([] if first is None else [str(first)]), commands, os.environ.get("PATH", "")]
    return {
        "PATH": os.pathsep.join(places),
        "HOME": str(home),
        "FLWR_HOME": str(home),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.1",  # seconds; Flower's default is 1
        "PYTHONPATH": str(_PACKAGE),
        "PYTHONUNBUFFERED": "1",
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1",  # the parties share one machine here
    }


def sweeper(folder: Path) -> subprocess.Popen[bytes]:
    """Start the process that removes a folder when this process is gone, however it went."""
    return subprocess.Popen(
        ["/bin/sh", "-c", _SWEEP, "sweeper", str(folder)],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )


def free_port() -> int:
    """A port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run(arguments: Sequence[str], home: Path, timeout: float = 180) -> str:
    """Run one of Flower's short commands; returns what it says. Raises FedlabError if it fails."""
    done = subprocess.run(
        [command(arguments[0]), *arguments[1:]],
        env=environment(home),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    if done.returncode:
        raise FedlabError(f"{' '.join(arguments[:3])} failed: {plain(done.stdout + done.stderr)}")
    return done.stdout


def has_ended(process: psutil.Process) -> bool:
    """Whether a process has ended, even if nobody has taken note of it yet (a zombie)."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def helper(process: psutil.Process) -> tuple[str, float]:
    """The name of the command a process runs, and its memory in MB; ("", 0) if it has ended."""
    try:
        words = process.cmdline()
        return Path(words[min(1, len(words) - 1)]).name, process.memory_info().rss / 1e6
    except (psutil.NoSuchProcess, psutil.AccessDenied, IndexError):
        return "", 0.0


def plain(text: str) -> str:
    """Text without a terminal's colours."""
    return _COLOUR.sub("", text).strip()


class Service:
    """A long-running process in a session of its own, its words in a file.

    It ends, children included, when `stop` or `kill` is called, and also when this process is gone,
    however it went. `home` and `first` are as in `environment`.
    """

    def __init__(
        self, arguments: Sequence[str], home: Path, log: Path, first: Path | None = None
    ) -> None:
        self.log, self.name = log, arguments[0]
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                [command(arguments[0]), *arguments[1:]],
                env=environment(home, first),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=home,
            )
        self._guard = guard(self._process.pid)

    @property
    def alive(self) -> bool:
        """Whether it is running."""
        return self._process.poll() is None

    def family(self) -> list[psutil.Process]:
        """The process and all that it has started, as far as they live."""
        try:
            top = psutil.Process(self._process.pid)
            return [p for p in (top, *top.children(recursive=True)) if not has_ended(p)]
        except psutil.NoSuchProcess:
            return []

    def stop(self) -> None:
        """Ask it to end, as the system does at shutdown; whoever does not is killed."""
        family = self.family()
        with contextlib.suppress(psutil.NoSuchProcess):
            if family:
                family[0].send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE)
        self._end(family)

    def kill(self) -> None:
        """End it and its children at once, as a power cut would."""
        self._end(self.family())

    def _end(self, family: list[psutil.Process]) -> None:
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()
        psutil.wait_procs(family[1:], timeout=_GRACE)
        if self._guard.stdin is not None and not self._guard.stdin.closed:
            self._guard.stdin.close()
        self._guard.wait()

    def text(self) -> str:
        """All it has said so far, without colours."""
        return plain(self.log.read_text(encoding="utf-8", errors="replace"))

    def wait_for(self, words: str, timeout: float, since: int = 0) -> None:
        """Wait until it says `words` after the first `since` characters of its log.

        Raises FedlabError with its last lines if it ends or stays silent.
        """
        deadline = time.monotonic() + timeout
        while words not in self.text()[since:]:
            if not self.alive or time.monotonic() > deadline:
                state = "has ended" if not self.alive else f"has not said {words!r}"
                last = "\n".join(self.text().splitlines()[-8:])
                raise FedlabError(f"{self.name} {state}. Its last words:\n{last}")
            time.sleep(0.05)
