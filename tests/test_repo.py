"""What must hold for the repository as a whole."""

import math
import re
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import nbformat
import pytest
import yaml

from fedlab_utils.course.build import Course
from fedlab_utils.course.notebook import code_lines

ROOT = Path(__file__).resolve().parents[1]
COURSE = Course(ROOT)
CHAPTERS = COURSE.names([])
TOP = {
    *(".ci", ".gitattributes", ".gitignore", "LICENSE", "Makefile", "README.md"),
    *("chapters", "datasets", "docs", "environment.yml", "fedlab_utils", "postBuild"),
    *("pyproject.toml", "requirements", "tests"),
    # Tools look for these here and nowhere else: GitHub for what is in .github, and GitHub, Zenodo
    # and Zotero for how to cite.
    *(".github", "CITATION.cff"),
}
HEAVY = ["syft", "tensorflow", "flwr", "tenseal", "opacus", "torchvision"]
HEAVY += ["matplotlib", "sklearn", "pandas", "scipy", "IPython"]
# Written in pieces, so that this file does not hold what it forbids.
FORBIDDEN = [
    *("pypi." + "org", "pythonhosted." + "org", "download." + "pytorch", "registry." + "npmjs"),
    *("/wo" + "rk/", "/ro" + "ot/", "/opt/" + "wheels", "/opt/" + "pypi", "ghp" + "_"),
]


def tracked() -> list[Path]:
    """The files that git tracks or would track; in an exported copy, all that are not ignored."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return [path for name in done.stdout.split("\0") if name and (path := ROOT / name).exists()]
    ignored = {
        ".venv",
        ".git",
        "build",
        "__pycache__",
        ".pytest_cache",
        ".mypy_cache",
        ".ruff_cache",
    }
    files = (path for path in ROOT.rglob("*") if path.is_file())
    return [path for path in files if not ignored & set(path.relative_to(ROOT).parts)]


TRACKED = tracked()


def test_no_registry_host_and_no_path_of_a_machine() -> None:
    found = []
    for path in TRACKED:
        text = path.read_bytes().decode("utf-8", errors="ignore")
        found += [f"{path.relative_to(ROOT)}: {word}" for word in FORBIDDEN if word in text]
    assert found == []


def test_the_top_level_is_tidy() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in TRACKED} <= TOP


def test_modules_are_short() -> None:
    sizes = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in TRACKED
        if path.suffix == ".py" and "fedlab_utils" in path.parts
    }
    assert {name: lines for name, lines in sizes.items() if lines > 300} == {}


def test_import_is_light_and_quick() -> None:
    code = (
        "import time, torch, numpy, sys; before = set(sys.modules); t = time.perf_counter();"
        "import fedlab_utils; t = time.perf_counter() - t;"
        f"heavy = [m for m in {HEAVY} if m in sys.modules and m not in before];"
        "print(t, *heavy)"
    )
    begin = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    seconds, *heavy = done.stdout.split()
    assert heavy == [] and float(seconds) < 1.5, (seconds, time.perf_counter() - begin)


def pins(name: str) -> dict[str, str]:
    lines = (ROOT / "requirements" / name).read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if line and not line.startswith("#")]
    return dict(line.split("==", 1) for line in kept)


def test_environment_yml_installs_what_the_tests_use() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    conda = [item for item in environment["dependencies"] if isinstance(item, str)]
    (pip,) = [item["pip"] for item in environment["dependencies"] if isinstance(item, dict)]
    assert pip == ["-r requirements/core.lock"] and "pip" in conda
    core, dev = pins("core.lock"), pins("dev.lock")
    assert core.items() <= dev.items()
    assert dev.items() <= pins("book.lock").items()  # both live in one environment
    # conda's torch must be the version that the lock asks for, or pip fetches another one.
    (torch,) = [item for item in conda if item.startswith("pytorch-cpu=")]
    assert torch.split("=", 1)[1] == core["torch"]
    (python,) = [item for item in conda if item.startswith("python=")]
    assert python in ("python=3.11", "python=3.12", "python=3.13")


def test_locks_are_plain() -> None:
    for name in ("core.lock", "dev.lock", "book.lock"):
        assert not any(re.match("nvidia|cuda|triton|fedlab", package) for package in pins(name))
        text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
        assert "--hash" not in text and "index-url" not in text and " @ " not in text


def test_this_environment_is_the_locked_one() -> None:
    """The versions that run these tests are the pinned ones (environment markers aside)."""
    from importlib.metadata import version

    for package in ("numpy", "torch", "scikit-learn", "pandas", "matplotlib", "jupyterlab"):
        assert version(package).split("+")[0] == pins("core.lock")[package]


def test_readme_agrees_with_build_and_results() -> None:
    assert (ROOT / "README.md").read_text(encoding="utf-8") == COURSE.readme_text()
    for target in re.findall(r"\]\(((?!https?:|#)[^)]+)\)", COURSE.readme_text()):
        assert (ROOT / target).exists(), target


def test_there_are_chapters() -> None:
    assert "00_welcome" in CHAPTERS
    numbers = [name[:2] for name in CHAPTERS]
    assert all(number.isdigit() for number in numbers)
    assert len(set(numbers)) == len(numbers)


def notebooks(name: str) -> list[Any]:
    paths = [COURSE.derived(name, solution=solution) for solution in (False, True)]
    return [nbformat.read(path, as_version=4) for path in paths]


def outputs(notebook: Any) -> list[Any]:
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


@pytest.mark.parametrize("name", CHAPTERS)
def test_derived_notebooks_agree_with_their_source(name: str) -> None:
    assert COURSE.problems(name) == []


@pytest.mark.parametrize("name", CHAPTERS)
def test_what_the_build_measured_is_within_the_budget_of_a_chapter(name: str) -> None:
    """On a busy machine a build takes longer: build again on an idle one before you publish it."""
    seconds, megabytes = COURSE.state.measured(name) or (math.inf, math.inf)
    assert seconds <= 90 and megabytes <= 1500


@pytest.mark.parametrize("name", CHAPTERS)
def test_outputs_hold_no_error_and_every_figure_has_alt_text(name: str) -> None:
    for notebook in notebooks(name):
        nbformat.validate(notebook)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                assert cell.execution_count, f"{name}: a cell was not executed: {cell.source}"
        for output in outputs(notebook):
            assert output.output_type != "error"
            assert output.get("name") != "stderr", output.text
            if "image/png" in output.get("data", {}):
                alt = output.metadata.get("image/png", {}).get("alt")
                assert alt, f"{name}: a figure has no alt text"


@pytest.mark.parametrize("name", CHAPTERS)
def test_exercises_are_open_for_the_reader_and_right_in_the_solution(name: str) -> None:
    # A table's style says "text-align: right".
    reader, solution = (
        "".join(map(str, outputs(notebook))).replace("text-align: right", "")
        for notebook in notebooks(name)
    )
    asked = len(re.findall(r"[✓✗○] Exercise \d\d\.\d+", solution))
    assert asked >= 4  # two exercises; each verdict stands there as text and as HTML
    assert "not attempted yet" not in solution and ": wrong" not in solution
    assert ": right" not in reader and ": wrong" not in reader


@pytest.mark.parametrize("name", CHAPTERS)
def test_cells_are_short(name: str) -> None:
    _, solution = notebooks(name)
    sizes = [len(code_lines(cell.source)) for cell in solution.cells if cell.cell_type == "code"]
    assert max(sizes) <= 25 and median(sizes) <= 6


@pytest.mark.parametrize("name", CHAPTERS)
def test_chapters_use_public_names_only(name: str) -> None:
    text = COURSE.source(name).read_text(encoding="utf-8")
    assert not re.search(r"\b(?:import|from)\s+[\w.]*\b_[a-z]|\bfl\.(?:\w+\.)*_[a-z]", text)


@pytest.mark.parametrize("name", CHAPTERS)
def test_chapters_keep_the_frame(name: str) -> None:
    text = COURSE.source(name).read_text(encoding="utf-8")
    frame = ["{{badges}}", "{{minutes_read}}", "{{minutes_run}}", "{{memory}}", 'tags=["colab"']
    frame += ["You will", "You need", "## What we have built", "## Check yourself", "<details>"]
    frame += ["## Exercises", "## Further reading", "For instructors"]
    assert [part for part in frame if part not in text] == []
    assert re.search(r"^# ## \d+\.1 ", text, flags=re.MULTILINE), "sections are numbered N.1, N.2"
