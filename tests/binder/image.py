"""Build what Binder would build, as far as that goes without Docker and conda, and run chapters.

    python tests/binder/image.py --home ~/binder 00 01 05

repo2docker's steps for an environment.yml, in its order: its own packages (base.txt), conda's part
of environment.yml, its pip part, the repository, postBuild. pip takes conda's place: it brings the
same version of torch. Then the programs that Binder starts are started, and each chapter runs
beside a JupyterLab server in a control group that may hold 2 GB, which is Binder's limit. Without
the right to make a control group, memory is only measured. The results are JSON lines.

PIP_ARGS in the environment goes to pip, such as another index for PyTorch's CPU build.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
LIMIT = 2 << 30  # bytes: what mybinder.org allows
_CGROUPS = Path("/sys/fs/cgroup")
_CHAPTER = re.compile(r"^(\d\d_\w+): ([\d.]+) s, (\d+) MB$", flags=re.MULTILINE)


def environment(root: Path = ROOT) -> tuple[str, list[str], list[str]]:
    """environment.yml: the version of Python, conda's packages as pip names them, pip's lines.

    Raises ValueError for a conda package that is not known here by its name on PyPI.
    """
    known = {"pytorch-cpu": "torch"}
    parsed = yaml.safe_load((root / "environment.yml").read_text(encoding="utf-8"))
    conda: dict[str, str] = {}
    lines: list[str] = []
    for item in parsed["dependencies"]:
        if isinstance(item, dict):
            lines += item["pip"]
        else:
            name, _, version = item.partition("=")
            conda[name] = version
    python = conda.pop("python")
    conda.pop("pip")
    if unknown := conda.keys() - known.keys():
        raise ValueError(f"environment.yml: what is {', '.join(unknown)} called on PyPI?")
    return python, [f"{known[name]}=={version}" for name, version in conda.items()], lines


def build(home: Path, interpreter: str) -> dict[str, Any]:
    """Build the environment and the repository's copy below `home`; return sizes and seconds."""
    _, conda, pip = environment()
    shutil.rmtree(home, ignore_errors=True)
    # On Binder the repository is the home folder.
    repository, env = home / "jovyan", home / "conda"
    seconds: dict[str, float] = {}

    def step(name: str, *command: str) -> None:
        begin = time.monotonic()
        subprocess.run(command, check=True, cwd=repository, env=environ(home))
        seconds[name] = round(time.monotonic() - begin, 1)

    repository.mkdir(parents=True)
    python = str(env / "bin" / "python")
    install = [python, "-m", "pip", "install", "--quiet", "--no-cache-dir", "--progress-bar=off"]
    install += shlex.split(os.environ.get("PIP_ARGS", ""))
    step("environment", interpreter, "-m", "venv", str(env))
    step("base", *install, "-r", str(HERE / "base.txt"))
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True).stdout.decode()
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (repository / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, repository / name)
    step("conda", *install, *conda)
    # mamba writes the pip part into a file beside environment.yml and gives that to pip.
    (repository / "pip-part.txt").write_text("\n".join(pip) + "\n", encoding="utf-8")
    step("pip", *install, "--no-input", "-r", "pip-part.txt")
    (repository / "pip-part.txt").unlink()
    step("postBuild", "./postBuild")
    check = subprocess.run(
        [python, "-m", "pip", "check"], capture_output=True, text=True, check=False
    )
    parts = {"environment": env, "repository": repository}
    sizes = {name: _megabytes(folder) for name, folder in parts.items()}
    return {"seconds": seconds, "megabytes": sizes, "pip check": check.stdout.strip()}


def environ(home: Path) -> dict[str, str]:
    """The environment variables of a step, and of what Binder starts."""
    kept = ("LANG", "TMPDIR", "PIP_CONFIG_FILE")
    given = {name: os.environ[name] for name in kept if name in os.environ}
    pip = {name: text for name, text in os.environ.items() if name.startswith(("PIP_", "SSL_"))}
    pip.pop("PIP_ARGS", None)
    path = f"{home}/conda/bin:{home}/jovyan/.local/bin:/usr/local/bin:/usr/bin:/bin"
    return {**given, **pip, "HOME": f"{home}/jovyan", "PATH": path, "PYTHONUNBUFFERED": "1"}


def _megabytes(folder: Path) -> int:
    total = 0
    for root, _, files in os.walk(folder):
        total += sum(os.lstat(os.path.join(root, name)).st_size for name in files)
    return round(total / 1e6)


@contextmanager
def group(limit: int) -> Iterator[Path | None]:
    """Make a control group that may hold `limit` bytes, of either version; None if not allowed."""
    version_1 = (_CGROUPS / "memory").is_dir()
    folder = (_CGROUPS / "memory" if version_1 else _CGROUPS) / f"fedlab-{os.getpid()}"
    try:
        folder.mkdir()
        names = ["memory.limit_in_bytes"] if version_1 else ["memory.max"]
        for name in names:
            (folder / name).write_text(str(limit))
        swap = folder / ("memory.memsw.limit_in_bytes" if version_1 else "memory.swap.max")
        with suppress(OSError):  # a system without swap
            swap.write_text(str(limit) if version_1 else "0")
    except OSError:
        with suppress(OSError):
            folder.rmdir()
        yield None
        return
    try:
        yield folder
    finally:
        for pid in (folder / "cgroup.procs").read_text().split():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        for _ in range(50):
            with suppress(OSError):
                folder.rmdir()
                break
            time.sleep(0.1)


def killed(folder: Path) -> int:
    """How often the system has ended a process of the group for want of memory."""
    for name in ("memory.oom_control", "memory.events"):
        if (folder / name).exists():
            found = re.search(r"^oom_kill (\d+)$", (folder / name).read_text(), flags=re.MULTILINE)
            return int(found[1]) if found else 0
    return 0


def run(home: Path, chapter: str, limit: int = LIMIT) -> dict[str, Any]:
    """Run a chapter's notebook beside a server, both within the limit; return what was measured."""
    port = 18_888 + os.getpid() % 1000
    server = f"jupyter lab --no-browser --allow-root --ServerApp.port={port}"
    chapters = f"python -m fedlab_utils.course.build --run {chapter}"
    inside = f"{server} >server.log 2>&1 & sleep 5; exec {chapters}"
    outcome: dict[str, Any] = {"chapter": chapter}
    with group(limit) as folder:
        outcome["limit"] = None if folder is None else limit
        enter = "" if folder is None else f"echo $$ >{shlex.quote(str(folder))}/cgroup.procs; "
        process = subprocess.Popen(
            ["/bin/sh", "-c", enter + inside],
            cwd=home / "jovyan",
            env=environ(home),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            # The server keeps no hold of this pipe: its output goes into a file.
            said, _ = process.communicate(timeout=1800)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        outcome["killed"] = 0 if folder is None else killed(folder)
    found = _CHAPTER.search(said)
    outcome["ok"] = process.returncode == 0 and found is not None
    if found is not None:
        outcome |= {"seconds": float(found[2]), "memory_mb": int(found[3])}
    if not outcome["ok"]:
        outcome["error"] = said[-2000:]
    return outcome


def main() -> int:
    """Build, start Binder's programs, run the chapters that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("chapters", nargs="*", help="numbers of chapters")
    parser.add_argument("--home", type=Path, required=True, help="the image is made in there")
    parser.add_argument("--python", default=sys.executable, help="of environment.yml's version")
    parser.add_argument("--keep", action="store_true", help="take the image that is there")
    options = parser.parse_args()
    home = options.home.resolve() / "image"
    if not (options.keep and (home / "conda").is_dir()):
        print(json.dumps(build(home, options.python)), flush=True)
    for program in ("jupyter-lab", "jupyterhub-singleuser", "jupyter-notebook"):
        command = [str(home / "conda" / "bin" / program), "--version"]
        done = subprocess.run(
            command, env=environ(home), cwd=home / "jovyan", capture_output=True, text=True
        )
        print(json.dumps({"program": program, "version": done.stdout.strip()}), flush=True)
    failed = 0
    for chapter in options.chapters:
        outcome = run(home, chapter)
        print(json.dumps(outcome), flush=True)
        failed += not outcome["ok"]
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
