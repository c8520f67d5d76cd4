"""`fedlab serve` as a process of its own on this machine, to try it out. Taught in chapter 14."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import requests

from fedlab_utils.errors import FedlabError
from fedlab_utils.runtimes.tff.launch import guard

_START_SECONDS = 120.0


class LocalService:
    """`with LocalService(["--registry", ..., "--model", ..., "--trust", ...]) as service`.

    Args:
        options: of `fedlab serve`; host, port and token are chosen here.

    The process also ends when this one is gone, however it went. Raises FedlabError with the
    process's last words if it does not start.
    """

    def __init__(self, options: Sequence[str]) -> None:
        self._options = list(options)
        self._session = requests.Session()
        self._session.trust_env = False  # a proxy has no business here

    def __enter__(self) -> LocalService:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> LocalService:
        """Start the process; returns itself when the service answers."""
        self._folder = tempfile.TemporaryDirectory(prefix="fedlab-serve-")
        folder = Path(self._folder.name)
        token = secrets.token_urlsafe(32)
        descriptor = os.open(folder / "token", os.O_WRONLY | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(token)
        self._session.headers["Authorization"] = f"Bearer {token}"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"
        self._log = folder / "log.txt"
        command = [sys.executable, "-m", "fedlab_utils.cli", "serve", *self._options]
        command += ["--port", str(port), "--token-file", str(folder / "token")]
        package = str(Path(__file__).resolve().parents[2])
        with self._log.open("wb") as file:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": package, "PYTHONUNBUFFERED": "1"},
            )
        self._guard = guard(self._process.pid)
        try:
            self._wait()
        except BaseException:
            self.close()
            raise
        return self

    def _wait(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                self._session.get(f"{self.address}/health", timeout=1)
                return
            except requests.ConnectionError:
                time.sleep(0.05)
        raise FedlabError(f"the service does not start. It says:\n{self.log()[-500:]}")

    def close(self) -> None:
        """End the process, and remove token and log."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._guard.stdin is not None:
            self._guard.stdin.close()
        self._guard.wait()
        self._folder.cleanup()

    def get(self, path: str) -> requests.Response:
        """GET with the token."""
        return self._session.get(self.address + path, timeout=10)

    def post(self, path: str, body: Any) -> requests.Response:
        """POST JSON with the token."""
        return self._session.post(self.address + path, json=body, timeout=10)

    def memory_mb(self) -> float:
        """Resident memory of the process."""
        return psutil.Process(self._process.pid).memory_info().rss / 1e6

    def log(self) -> str:
        """All it has said."""
        return self._log.read_text(encoding="utf-8", errors="replace")
