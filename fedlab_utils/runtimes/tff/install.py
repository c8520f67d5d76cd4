"""Make the environment of TensorFlow Federated from the verified list. Taught in chapter 05."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from fedlab_utils.errors import FedlabError
from fedlab_utils.runtimes.tff import home as env
from fedlab_utils.runtimes.tff.checks import check_disk, check_platform

_SILENCE = 15.0  # seconds after which a line says that something still happens
_LARGE = re.compile(r"Downloading (\S+) \((\d{2,}(?:\.\d+)? MB)\)")
# Ends at once: at an ordinary exit TensorFlow Federated interrupts its worker and waits for it, for
# ever where interrupts are ignored, as they are in the background of a shell script.
_TRIAL = (
    "import os, tensorflow_federated as t\n"
    "print(t.__version__, t.federated_computation(lambda: 7)(), flush=True)\n"
    "os._exit(0)"
)
Say = Callable[[str], None]


def _print(line: str) -> None:
    print(line, flush=True)


def install(*, force: bool = False, say: Say = _print) -> Path:
    """Make the environment if it is not there yet; return its folder.

    About 0.6 GB are downloaded, 2.2 GB lie on disk afterwards. What an interrupted installation
    left behind is removed by the next one.

    Args:
        force: make it anew even if it is whole.
        say: takes the lines that tell the progress.

    Raises FedlabError that says why it cannot be had here and what to do. Taught in chapter 05.
    """
    check_platform()
    folder = env.environment()
    with _alone(folder):
        found = env.status()
        if found.ready and not force:
            say(f"{found}. Nothing to do.")
            return folder
        began, total = time.monotonic(), len(env.pins())
        check_disk(folder)
        env.remove()
        with _half_made(folder):
            say(f"[1/4] Python 3.11 environment in {folder}")
            make_environment(folder, say)
            say(f"[2/4] {total} packages, about 0.6 GB to download")
            install_packages(folder, total, say)
            say("[3/4] first computation: up to a minute")
            version = try_out(folder)
            say("[4/4] done")
            stamp = {
                "lock": env.lock_hash(),
                "tff": version,
                "python": _version(env.interpreter(folder)),
                "seconds": round(time.monotonic() - began),
                "megabytes": env.megabytes(folder),
            }
            # Renamed into place: a stamp is there as a whole or not at all.
            new = folder / (env.STAMP + ".new")
            new.write_text(json.dumps(stamp, indent=1) + "\n", encoding="utf-8")
            new.replace(folder / env.STAMP)
        say(str(env.status()))
    return folder


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep a second installation out while one is at work."""
    import fcntl

    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f".{folder.name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FedlabError(
                f"another installation into {folder} is at work. Wait until it has finished."
            ) from None
        yield


@contextlib.contextmanager
def _half_made(folder: Path) -> Iterator[None]:
    """Mark the folder as half-made until all is done."""
    folder.mkdir(parents=True)
    mark = folder / env.STARTED
    mark.touch()
    yield
    mark.unlink()


def make_environment(folder: Path, say: Say) -> None:
    """Make an empty environment: with this Python, python3.11 on the PATH, or one that uv brings.

    Raises FedlabError if none of the three can be had.
    """
    failures = []
    for python in filter(None, (sys.executable, shutil.which("python3.11"))):
        probe = "import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, 11))"
        if _run([python, "-c", probe]).returncode == 0:
            done = _run([python, "-m", "venv", str(folder)])
            if done.returncode == 0:
                return
            failures.append(done.stdout)
    with tempfile.TemporaryDirectory() as scratch:
        uv = shutil.which("uv")
        if uv is None:
            say("      no Python 3.11 here: fetching uv, which can bring one")
            done = _run([sys.executable, "-m", "pip", "install", "-q", "--target", scratch, "uv"])
            uv = str(Path(scratch) / "bin" / "uv")
            failures.append(done.stdout)
        if Path(uv).exists():
            say("      uv looks for Python 3.11, or downloads it")
            options = ["--seed", "--allow-existing", "--python", "3.11"]
            done = _run([uv, "venv", *options, str(folder)])
            if done.returncode == 0:
                return
            failures.append(done.stdout)
    raise FedlabError(
        f"no Python 3.11 could be had (this is {platform.python_version()}), and TensorFlow "
        f"Federated runs on no later one. Install it (python.org/downloads, your package manager "
        f"or conda), so that `python3.11` is on the PATH, and run the command again. What was "
        f"tried:\n{_tail(''.join(failures))}"
    )


def install_packages(folder: Path, total: int, say: Say) -> None:
    """Install the pinned versions and nothing else. Raises FedlabError with pip's last words."""
    command = [str(env.interpreter(folder)), "-m", "pip", "install", "--no-deps", "--no-input"]
    command += ["--disable-pip-version-check", "--progress-bar", "off"]
    command += ["-r", str(env.lock())]
    said: list[str] = []
    count, began = 0, time.monotonic()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=_clean_environ()
    )
    try:
        for line in _lines(process):
            if line is None:
                seconds = time.monotonic() - began
                say(f"      still at work: {seconds:.0f} s, {env.megabytes(folder)} MB on disk")
                continue
            said.append(line)
            if line.startswith("Collecting "):
                count += 1
                if count % 10 == 0 or count == total:
                    say(f"      {count} of {total} packages: {line.split()[1]}")
            elif large := _LARGE.search(line):
                say(f"      downloading {large[1]} ({large[2]})")
            elif line.startswith("Installing collected"):
                say("      unpacking 2 GB: a minute or two")
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait()
    if process.returncode:
        raise FedlabError(
            f"pip could not install the packages. What helps most often: with no network or "
            f"behind a proxy set HTTPS_PROXY; with too little disk name a folder elsewhere in "
            f"{env.VARIABLE}; then run the same command again, it goes on from pip's cache. "
            f"pip's last words:\n{_tail(''.join(said))}"
        )


def _lines(process: subprocess.Popen[str]) -> Iterator[str | None]:
    """The process's lines; None whenever it has been silent for a while."""
    assert process.stdout is not None
    with process.stdout, selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            if not selector.select(_SILENCE):
                yield None
            elif line := process.stdout.readline():
                yield line
            else:
                return


def try_out(folder: Path, patience: float = 300.0) -> str:
    """Run one federated computation; return TensorFlow Federated's version. Raises FedlabError."""
    # A file takes the output, since TensorFlow Federated's worker would hold a pipe open.
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [str(env.interpreter(folder)), "-c", _TRIAL],
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**_clean_environ(), "TF_CPP_MIN_LOG_LEVEL": "3"},
        )
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(patience)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        log.seek(0)
        said = log.read()
    last = said.split("\n")[-2:-1]
    if process.returncode or not last or not last[0].endswith(" 7"):
        raise FedlabError(
            f"the packages are installed, but a first computation failed. Run "
            f"`{env.INSTALL} --force`; if it fails again, this machine cannot run it (TensorFlow "
            f"needs a processor with AVX). Last words:\n{_tail(said)}"
        )
    return last[0].split()[0]


def _version(python: Path) -> str:
    code = "import platform; print(platform.python_version())"
    return _run([str(python), "-c", code]).stdout.strip()


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command with its two outputs joined; one that cannot start counts as failed."""
    try:
        return subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            env=_clean_environ(),
        )
    except OSError as error:
        return subprocess.CompletedProcess(command, 127, f"{command[0]}: {error}\n")


def _clean_environ() -> dict[str, str]:
    """Without what would lead another Python to this one's packages."""
    return {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}


def _tail(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-15:])
