"""A runtime like Colab's, as far as it can be had without Colab, and chapters run in it.

    python tests/colab/runtime.py --python 3.13 --home ~/colab 00 01 03

For each chapter: a clean environment with the versions that Colab has preinstalled
(preinstalled-3.13.txt), then the reader's notebook from its own first cell on, in which only the
repository's address is replaced by a wheel built from this checkout. What the first cell did to the
preinstalled packages is compared version by version. The result is one JSON line a chapter.

What differs from Colab: pip's torch is a build for GPUs, of the same version; packages of Colab's
that neither the course nor what it needs ever names are not there; the memory is this machine's.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fedlab_utils.course.build import Course

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
PYTHONS = ("3.12", "3.13")
# On Colab a module of this name is loaded before the first cell runs.
_START = (
    "import sys, types; sys.modules['google.colab'] = types.ModuleType('google.colab'); "
    "from ipykernel import kernelapp; kernelapp.launch_new_instance()"
)
_VERSIONS = (
    "import json; from importlib.metadata import distributions as d; "
    "print(json.dumps({x.metadata['Name'].lower().replace('_', '-').replace('.', '-'): x.version "
    "for x in d()}))"
)


@dataclass
class Outcome:
    """What one chapter did in such a runtime."""

    chapter: str
    python: str
    ok: bool = False
    seconds: float = 0.0
    error: str = ""
    new: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    lowered: list[str] = field(default_factory=list)


def pins(python: str) -> dict[str, str]:
    """The versions that Colab has preinstalled for this Python, by package."""
    text = (HERE / f"preinstalled-{python}.txt").read_text(encoding="utf-8")
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    return dict(line.split("==", 1) for line in lines)


def find_python(version: str) -> str | None:
    """An interpreter of this version: on the PATH, or of pyenv."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    known = [shutil.which(f"python{version}"), *sorted(pyenv.glob(f"{version}.*/bin/python"))]
    for python in filter(None, known):
        probe = f"import sys, venv; sys.exit({version!r} != '%d.%d' % sys.version_info[:2])"
        done = subprocess.run([str(python), "-c", probe], capture_output=True, check=False)
        if done.returncode == 0:
            return str(python)
    return None


def build_wheel(folder: Path) -> Path:
    """Build the package's wheel from this checkout; return its file."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    # A copy, since building leaves files behind.
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "fedlab"
        ignore = shutil.ignore_patterns(".git", ".venv", "chapters", "tests", "__pycache__")
        shutil.copytree(ROOT, source, ignore=ignore)
        subprocess.run([*command, "--wheel-dir", str(folder), str(source)], check=True)
    (wheel,) = folder.glob("fedlab_utils-*.whl")
    return wheel


def make_base(python: str, folder: Path) -> Path:
    """Make the environment with what Colab has preinstalled, unless it is there already."""
    stamp = folder / "fedlab-colab.txt"
    wanted = (HERE / f"preinstalled-{python}.txt").read_text(encoding="utf-8")
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return folder
    interpreter = find_python(python)
    if interpreter is None:
        raise SystemExit(f"there is no Python {python} here")
    subprocess.run([interpreter, "-m", "venv", "--clear", str(folder)], check=True)
    command = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "-r"]
    subprocess.run([*command, str(HERE / f"preinstalled-{python}.txt")], check=True)
    stamp.write_text(wanted, encoding="utf-8")
    return folder


def versions(python: Path) -> dict[str, str]:
    """The installed versions of an environment, by package."""
    done = subprocess.run([str(python), "-I", "-c", _VERSIONS], capture_output=True, check=True)
    return dict(json.loads(done.stdout))


def compare(before: dict[str, str], after: dict[str, str]) -> dict[str, list[str]]:
    """Which packages are new, changed, and which of the changed are lower than before."""
    from packaging.version import Version

    told: dict[str, list[str]] = {"new": [], "changed": [], "lowered": []}
    for name, version in sorted(after.items()):
        if name not in before:
            told["new"].append(f"{name} {version}")
        elif version != before[name]:
            told["changed"].append(f"{name} {before[name]} -> {version}")
            if Version(version) < Version(before[name]):
                told["lowered"].append(f"{name} {before[name]} -> {version}")
    told["lowered"] += [f"{name} is gone" for name in sorted(before.keys() - after.keys())]
    return told


def with_wheel(source: str, wheel: Path) -> str:
    """The first cell, asking for this wheel where it asks for the repository."""
    changed = re.sub(r"@ git\+https://[^\"\s]+", f"@ file://{wheel}", source)
    if changed == source:
        raise ValueError("the first cell does not install from the repository's address")
    return changed


@contextmanager
def _kernel(python: Path) -> Iterator[str]:
    """Make a Jupyter kernel of that interpreter known under a name, as long as the block lasts."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "kernels" / "colab"
        folder.mkdir(parents=True)
        argv = [str(python), "-c", _START, "-f", "{connection_file}"]
        spec = {"argv": argv, "display_name": "Colab", "language": "python"}
        (folder / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
        known = os.environ.get("JUPYTER_PATH")
        os.environ["JUPYTER_PATH"] = scratch
        try:
            yield "colab"
        finally:
            os.environ.pop("JUPYTER_PATH")
            if known is not None:
                os.environ["JUPYTER_PATH"] = known


def run_chapter(name: str, python: str, base: Path, wheel: Path, scratch: Path) -> Outcome:
    """Run a reader's notebook in a copy of the base environment, as a reader on Colab would."""
    import nbformat
    from nbclient import NotebookClient

    outcome = Outcome(name, python)
    runtime, content = scratch / "runtime", scratch / "content"
    content.mkdir(parents=True)
    # Links instead of copies: pip replaces files and does not write into them.
    shutil.copytree(base, runtime, symlinks=True, copy_function=os.link)
    interpreter = runtime / "bin" / "python"
    before = versions(interpreter)
    notebook: Any = Course(ROOT).expected(name, solution=False)
    first = next(cell for cell in notebook.cells if "colab" in cell.metadata.get("tags", []))
    first.source = with_wheel(first.source, wheel)
    kept = {"LANG", "PATH", "PIP_CONFIG_FILE", "PYENV_ROOT", "TMPDIR", "FEDLAB_TFF"}
    kept |= {name for name in os.environ if name.lower().startswith(("pip_", "ssl_", "https_"))}
    environment = {name: os.environ[name] for name in kept & os.environ.keys()}
    environment |= {"HOME": str(content), "PATH": f"{runtime}/bin:{environment['PATH']}"}
    if "%%tff" in json.dumps(notebook):
        # The chapter's text asks for this command, which a reader runs by hand.
        command = "import subprocess, sys\nsubprocess.run([sys.executable, '-m', "
        command += "'fedlab_utils.runtimes.tff', 'install'], check=True)"
        after_first = notebook.cells.index(first) + 1
        notebook.cells.insert(after_first, nbformat.v4.new_code_cell(command))
    begin = time.monotonic()
    with _kernel(interpreter) as name:
        resources = {"metadata": {"path": str(content)}}
        client = NotebookClient(notebook, timeout=1800, kernel_name=name, resources=resources)
        try:
            client.execute(env=environment)
            outcome.ok = True
        except Exception as error:  # whatever stops a notebook is what is asked for
            outcome.error = re.sub(r"\x1b\[[0-9;]*m", "", str(error))[-3000:]
    outcome.seconds = round(time.monotonic() - begin, 1)
    told = compare(before, versions(interpreter))
    outcome.new, outcome.changed, outcome.lowered = told["new"], told["changed"], told["lowered"]
    return outcome


def main() -> int:
    """Run the chapters that the command line names, and print what became of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("chapters", nargs="+", help="numbers of chapters")
    parser.add_argument("--python", choices=PYTHONS, default=PYTHONS[-1])
    parser.add_argument("--home", type=Path, required=True, help="keeps the base environments")
    options = parser.parse_args()
    home = options.home.resolve()
    home.mkdir(parents=True, exist_ok=True)
    base = make_base(options.python, home / f"base-{options.python}")
    failed = 0
    # Beside the base environments, since links do not cross file systems.
    with tempfile.TemporaryDirectory(dir=home) as scratch:
        wheel = build_wheel(Path(scratch) / "wheel")
        for name in Course(ROOT).names(options.chapters):
            folder = Path(scratch) / name
            outcome = run_chapter(name, options.python, base, wheel, folder)
            shutil.rmtree(folder)
            print(json.dumps(asdict(outcome)), flush=True)
            failed += not outcome.ok or bool(outcome.lowered)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
