"""Binder: what repo2docker will read, and (on request) the whole build and chapters in 2 GB.

The long part runs where FEDLAB_BINDER names a folder for the image (8 GB).
"""

import importlib.util
import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fedlab_utils.course.build import Course

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = Course(ROOT).names([])
HOME = os.environ.get("FEDLAB_BINDER")


def load(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


image = load("binder_image", Path(__file__).with_name("image.py"))


def test_environment_yml_is_read_as_repo2docker_reads_it() -> None:
    python, conda, pip = image.environment()
    assert python == "3.11"  # repo2docker takes x.y
    lock = (ROOT / "requirements" / "core.lock").read_text(encoding="utf-8")
    torch = re.search(r"^torch==.+$", lock, flags=re.MULTILINE)
    assert torch is not None and conda == [torch[0]]
    assert pip == ["-r requirements/core.lock"]


def test_an_unknown_conda_package_is_named(tmp_path: Path) -> None:
    text = "dependencies:\n- python=3.11\n- pip\n- gdal=3\n- pip:\n  - x\n"
    (tmp_path / "environment.yml").write_text(text)
    with pytest.raises(ValueError, match="gdal"):
        image.environment(tmp_path)


def test_post_build_can_be_run_and_names_what_exists() -> None:
    path = ROOT / "postBuild"
    assert path.stat().st_mode & stat.S_IXUSR
    text = path.read_text(encoding="utf-8")
    assert text.startswith("#!/usr/bin/env bash\n") and "set -euo pipefail" in text
    assert subprocess.run(["bash", "-n", str(path)], check=False).returncode == 0
    modules = re.findall(r"python -m (fedlab_utils[\w.]+)", text)
    assert "fedlab_utils.runtimes.tff" in modules
    for module in modules:
        assert importlib.util.find_spec(module) is not None, module


def test_nothing_else_would_change_the_build() -> None:
    """repo2docker prefers a Dockerfile, and reads more files than these two."""
    others = ["Dockerfile", "binder", ".binder", "requirements.txt", "runtime.txt", "apt.txt"]
    others += ["Pipfile", "start", "install.R", "DESCRIPTION", "setup.py", "default.nix"]
    assert not [name for name in others if (ROOT / name).exists()]


def test_the_group_of_limited_memory_ends_what_takes_more() -> None:
    limit = 64 << 20
    with image.group(limit) as folder:
        if folder is None:
            pytest.skip("no right to make a control group here")
        greedy = "x = bytearray(300_000_000)"
        command = f"echo $$ >{folder}/cgroup.procs; exec {sys.executable} -c '{greedy}'"
        done = subprocess.run(["/bin/sh", "-c", command], check=False)
        assert done.returncode != 0 and image.killed(folder) > 0
        small = f"echo $$ >{folder}/cgroup.procs; exec {sys.executable} -c 'x = 1'"
        assert subprocess.run(["/bin/sh", "-c", small], check=False).returncode == 0
    assert not folder.exists()


def test_without_a_group_memory_is_only_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "_CGROUPS", Path("/nowhere"))
    with image.group(1 << 30) as folder:
        assert folder is None


@pytest.fixture(scope="module")
def built() -> Any:
    assert HOME is not None
    home = Path(HOME).expanduser().resolve() / "image"
    interpreter = os.environ.get("FEDLAB_BINDER_PYTHON", sys.executable)
    return home, image.build(home, interpreter)


@pytest.mark.slow
@pytest.mark.skipif(HOME is None, reason="FEDLAB_BINDER names no folder for the image")
def test_the_image_is_built_and_not_too_large(built: Any) -> None:
    _, told = built
    assert sum(told["megabytes"].values()) < 10_000, told


@pytest.mark.slow
@pytest.mark.skipif(HOME is None, reason="FEDLAB_BINDER names no folder for the image")
@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_runs_in_two_gigabytes(built: Any, name: str) -> None:
    home, _ = built
    outcome = image.run(home, name[:2])
    assert outcome["ok"] and outcome["killed"] == 0, outcome
