"""Colab: the first cell, the wheel it installs, and (on request) whole chapters in its runtime.

The long part runs where FEDLAB_COLAB names a folder for the environments (12 GB for both Pythons).
"""

import importlib.util
import os
import re
import shutil
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import nbformat
import pytest
from packaging.requirements import Requirement

from fedlab_utils.course.build import Course
from fedlab_utils.course.links import repository

ROOT = Path(__file__).resolve().parents[2]
COURSE = Course(ROOT)
CHAPTERS = COURSE.names([])
HOME = os.environ.get("FEDLAB_COLAB")


def load(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


runtime = load("colab_runtime", Path(__file__).with_name("runtime.py"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found: Path = runtime.build_wheel(tmp_path_factory.mktemp("wheel"))
    return found


def first_cell(name: str) -> Any:
    notebook = COURSE.expected(name, solution=False)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert "colab" in cells[0].metadata.tags, "the first code cell prepares Colab"
    return cells[0]


@pytest.mark.parametrize("name", CHAPTERS)
def test_the_first_cell_installs_from_the_repository_and_asks_for_known_extras(name: str) -> None:
    cell = first_cell(name)
    address = repository(ROOT).address
    assert f'    %pip install --quiet "fedlab-utils @ git+{address}"' in cell.source.splitlines()
    changed = runtime.with_wheel(cell.source, Path("/wheels/fedlab_utils-0-py3-none-any.whl"))
    assert "git+" not in changed and '@ file:///wheels/fedlab_utils-0-py3-none-any.whl"' in changed
    added = [line for line in cell.source.splitlines() if "fedlab_utils.course.add" in line]
    extras = added[0].split("fedlab_utils.course.add ")[1].split() if added else []
    import tomllib

    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert set(extras) <= set(tomllib.loads(text)["project"]["optional-dependencies"])


NEEDS = {
    r"privacy import .*\bhe\b|import (dp_accounting|opacus|tenseal|phe|mpyc)\b": "privacy",
    r"runtimes\.flower|fl\.runtimes\.flower": "flower",
    r"runtimes\.pysyft|import syft": "syft",
    r"import onnxruntime|write_onnx": "onnx",
    r"LocalService\(": "serve",
}


@pytest.mark.parametrize("name", COURSE.names([]))
def test_the_first_cell_asks_for_what_the_chapter_uses(name: str) -> None:
    code = "\n".join(
        cell.source
        for cell in nbformat.read(COURSE.derived(name, solution=True), as_version=4).cells
        if cell.cell_type == "code"
    )
    added = re.findall(r"fedlab_utils\.course\.add (.+)", first_cell(name).source)
    extras = set(added[0].split()) if added else set()
    wanted = {extra for pattern, extra in NEEDS.items() if re.search(pattern, code)}
    assert wanted <= extras


def test_a_cell_that_installs_from_elsewhere_is_noticed() -> None:
    with pytest.raises(ValueError, match="address"):
        runtime.with_wheel("%pip install fedlab-utils", Path("x.whl"))


def test_the_wheel_holds_what_chapters_need_and_nothing_of_the_course(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        lock = archive.read("fedlab_utils/_requirements/tff.lock")
        (metadata,) = [name for name in names if name.endswith(".dist-info/METADATA")]
        wants = archive.read(metadata).decode()
    data = {
        path.relative_to(ROOT / "datasets").as_posix()
        for path in (ROOT / "datasets").rglob("*")
        if path.is_file()
    }
    assert {f"fedlab_utils/_datasets/{name}" for name in data} <= set(names)
    assert lock == (ROOT / "requirements" / "tff.lock").read_bytes()
    package = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "fedlab_utils").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert package <= set(names)
    assert not [name for name in names if name.startswith(("chapters", "tests"))]
    assert wheel.stat().st_size < 5_000_000
    core = [
        Requirement(line.removeprefix("Requires-Dist: "))
        for line in wants.splitlines()
        if line.startswith("Requires-Dist: ") and "extra ==" not in line
    ]
    assert "numpy" in {requirement.name for requirement in core}
    for requirement in core:
        # An upper bound or a pin could make pip replace what Colab ships.
        assert {one.operator for one in requirement.specifier} == {">="}, str(requirement)


@pytest.mark.parametrize("python", runtime.PYTHONS)
def test_what_colab_ships_is_enough_for_the_core(python: str, wheel: Path) -> None:
    """Without this, the first cell would have to replace a preinstalled package by a newer one."""
    pins = runtime.pins(python)
    assert len(pins) > 100 and pins["numpy"].startswith("2.")
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = [name for name in archive.namelist() if name.endswith("METADATA")]
        wants = archive.read(metadata).decode()
    for line in wants.splitlines():
        if line.startswith("Requires-Dist: ") and "extra ==" not in line:
            requirement = Requirement(line.removeprefix("Requires-Dist: "))
            assert requirement.specifier.contains(pins[requirement.name]), (line, pins)


def test_replaced_packages_are_told() -> None:
    before = {"numpy": "2.1.3", "attrs": "26.1.0", "rich": "13.9", "gone": "1"}
    after = {"numpy": "2.1.3", "attrs": "23.2.0", "rich": "14.0", "fedlab-utils": "0.1.0"}
    told = runtime.compare(before, after)
    assert told["new"] == ["fedlab-utils 0.1.0"]
    assert told["changed"] == ["attrs 26.1.0 -> 23.2.0", "rich 13.9 -> 14.0"]
    assert told["lowered"] == ["attrs 26.1.0 -> 23.2.0", "gone is gone"]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    assert HOME is not None
    home = Path(HOME).expanduser().resolve()
    home.mkdir(parents=True, exist_ok=True)
    # Beside the base environments: what is linked cannot lie on another disk.
    made = home / f"test-{os.getpid()}"
    made.mkdir()
    yield made
    shutil.rmtree(made)


@pytest.mark.slow
@pytest.mark.skipif(HOME is None, reason="FEDLAB_COLAB names no folder for the environments")
@pytest.mark.parametrize("name", CHAPTERS)
@pytest.mark.parametrize("python", runtime.PYTHONS)
def test_a_chapter_runs_on_colab(python: str, name: str, folder: Path, wheel: Path) -> None:
    if runtime.find_python(python) is None:
        pytest.skip(f"there is no Python {python} here")
    base = runtime.make_base(python, folder.parent / f"base-{python}")
    scratch = folder / f"{python}-{name}"
    try:
        outcome = runtime.run_chapter(name, python, base, wheel, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    assert outcome.ok, outcome.error
    assert outcome.lowered == [] and outcome.changed == []
