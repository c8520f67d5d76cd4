"""The build: on a tiny course in a temporary folder, with real kernels."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil
import pytest

from fedlab_utils.course import build as build_module
from fedlab_utils.course.build import Course, main

ROOT = Path(__file__).resolve().parents[2]
README = "\n".join(
    f"<!-- {name}:begin -->\n<!-- {name}:end -->" for name in ("badges", "chapters", "results")
)
CHAPTER = '''\
# %% [markdown]
# # 01 · A tiny chapter
# *Does the build work?*
#
# {{badges}} Read {{minutes_read}}, run {{minutes_run}}, memory {{memory}}.

# %% tags=["colab"]
# The build writes this cell.

# %%
import sys, os
import pandas as pd
from fedlab_utils.course import save_results, show
from fedlab_utils.course.figures import curves
save_results("01", "Tiny table", pd.DataFrame({"AP": [0.123456]}), headline=True)
show(curves({"a": [3, 2, 1]}), name="tiny")

# %%
for i in range(3):
    print(f"\\r{i}", end="")
print(os.getcwd(), object(), "10%|#  | 1/10", file=sys.stderr)

# %% tags=["exercise"]
def double(x):
    """Twice the number."""
    # BEGIN SOLUTION
    # STUB: ...  # double it
    return 2 * x
    # END SOLUTION
answer = double(3)
answer

# %% [markdown] tags=["solution"]
# Only the solution explains.
'''


@pytest.fixture
def root(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "README.md").write_text(README)
    (tmp_path / "chapters" / "src").mkdir(parents=True)
    (tmp_path / "datasets").mkdir()
    (tmp_path / "chapters" / "src" / "01_tiny.py").write_text(CHAPTER)
    return tmp_path


def cells(path: Path) -> dict[str, str]:
    return {cell.id: cell.source for cell in nbformat.read(path, as_version=4).cells}


@pytest.mark.slow
def test_build_from_source_to_readme(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["--root", str(root)]) == 0
    chapters = root / "chapters"
    reader, solution = (
        cells(chapters / "01_tiny.ipynb"),
        cells(chapters / "solutions/01_tiny.ipynb"),
    )

    # Stub and solution differ in the marked lines and the solution's own cell only.
    different = {id for id in reader if reader[id] != solution[id]}
    assert len(different) == 1
    (id,) = different
    assert reader[id].splitlines()[2] == "    ...  # double it"
    assert solution[id].splitlines()[2] == "    return 2 * x"
    assert set(solution) - set(reader) == {list(solution)[-1]}
    assert "github.com/fedlab-course/fedlab" in reader["colab"]

    text = (chapters / "01_tiny.ipynb").read_text()
    assert "{{" not in "".join(reader.values())
    assert "under 1 min" in text and "GB" in text
    executed = nbformat.read(chapters / "01_tiny.ipynb", as_version=4)
    outputs = [output for cell in executed.cells for output in cell.get("outputs", [])]
    for changing in (str(root), "10%|", "at 0x7", "iopub"):
        assert changing not in str(outputs) + str(executed.metadata)
    assert any(o.get("metadata", {}).get("image/png", {}).get("alt") for o in outputs)

    state = json.loads((chapters / "build.json").read_text())["01_tiny"]
    assert state["seconds"] > 0 and state["memory_mb"] > 20
    assert (chapters / "figures" / "tiny.png").stat().st_size < 100_000
    (result,) = (chapters / "results").glob("*.json")
    assert json.loads(result.read_text())["rows"] == [[0.123]]
    readme = (root / "README.md").read_text()
    assert "A tiny chapter" in readme and "Does the build work?" in readme and "0.123" in readme

    # A second run builds nothing, --check agrees, and the README is already what it should be.
    def never(*_: object) -> None:
        raise AssertionError("built again")

    monkeypatch.setattr(build_module, "build", never)
    assert main(["--root", str(root)]) == 0
    assert main(["--root", str(root), "--check"]) == 0
    assert Course(root).readme_text() == readme

    # Any change of source, package or derived file is noticed; --run changes no file.
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    assert main(["--root", str(root), "--run"]) == 0
    assert before == {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    (root / "datasets" / "new.csv").write_text("1")
    assert Course(root).must_run("01_tiny")
    (root / "datasets" / "new.csv").unlink()
    assert not Course(root).must_run("01_tiny")

    # A change of the text alone is taken over without running anything.
    source = chapters / "src" / "01_tiny.py"
    source.write_text(source.read_text().replace("Does the build work?", "Does it build?"))
    assert main(["--root", str(root), "--check"]) == 1
    assert main(["--root", str(root)]) == 0
    assert main(["--root", str(root), "--check"]) == 0
    renewed = nbformat.read(chapters / "01_tiny.ipynb", as_version=4)
    assert "Does it build?" in renewed.cells[0].source
    assert [c.get("outputs") for c in renewed.cells] == [c.get("outputs") for c in executed.cells]
    assert "Does it build?" in (root / "README.md").read_text()
    # Not so a change of the code.
    source.write_text(source.read_text().replace("return 2 * x", "return x * 2"))
    assert Course(root).must_run("01_tiny")
    (chapters / "solutions" / "01_tiny.ipynb").unlink()
    assert main(["--root", str(root), "--check"]) == 1


def test_builds_at_once_keep_each_others_measurements(root: Path) -> None:
    one, other = Course(root).state, Course(root).state
    one.record("01_tiny", [], 1.0, 100.0)
    one.save()
    other.record("02_other", [], 2.0, 200.0)
    other.save()
    fresh = Course(root).state
    assert fresh.measured("01_tiny") == (1.0, 100.0) and fresh.measured("02_other") == (2.0, 200.0)
    assert other.measured("01_tiny") == (1.0, 100.0)


def test_package_files_count_as_inputs(root: Path) -> None:
    module = root / "fedlab_utils" / "x.py"
    module.parent.mkdir()
    module.write_text("a = 1")
    state = Course(root).state
    state.record("01_tiny", [module, Path("/elsewhere/y.py")], 1.04, 123.0)
    state.save()
    fresh = Course(root).state
    assert not fresh.changed("01_tiny") and fresh.measured("01_tiny") == (1.0, 120.0)
    module.write_text("a = 2")
    assert Course(root).state.changed("01_tiny")

    # Files of a runtime count even if another process imports them.
    worker = root / "fedlab_utils" / "runtimes" / "one" / "worker.py"
    worker.parent.mkdir(parents=True)
    worker.write_text("a = 1")
    other = worker.parents[1] / "other" / "worker.py"
    other.parent.mkdir()
    common = worker.parents[1] / "__init__.py"
    state.record("01_tiny", [common, worker.with_name("__init__.py")], 1.0, 1.0)
    state.save()
    other.write_text("a = 1")  # of a runtime that the chapter does not use
    assert not Course(root).state.changed("01_tiny")
    worker.write_text("a = 2")
    assert Course(root).state.changed("01_tiny")


@pytest.mark.slow
def test_a_failing_chapter_is_explained_and_the_others_go_on(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = root / "chapters" / "src"
    (source / "01_tiny.py").write_text("# %% [markdown]\n# # Bad\n\n# %%\n1 / 0  # here\n")
    (source / "02_good.py").write_text("# %% [markdown]\n# # Good\n\n# %%\n1 + 1\n")
    assert main(["--root", str(root)]) == 1
    out, err = capsys.readouterr()
    assert "01_tiny, cell 2 failed" in err and "1 / 0  # here" in err and "ZeroDivisionError" in err
    assert "1 of 2 chapters failed" in err and "02_good:" in out
    assert not (root / "chapters" / "01_tiny.ipynb").exists()
    assert (root / "chapters" / "02_good.ipynb").exists()


def test_names(root: Path) -> None:
    course = Course(root)
    assert course.names(["1"]) == course.names(["01_tiny"]) == course.names([]) == ["01_tiny"]
    with pytest.raises(ValueError, match="no chapter '7'; there are 01_tiny"):
        course.names(["7"])
    assert main(["--root", str(root), "7"]) == 1


def test_a_chapter_that_cannot_run_here_is_named_and_left_out(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FEDLAB_TFF", str(root / "nothing"))
    source = "# %% [markdown]\n# # Far\n\n# %%\n%load_ext fedlab_utils.runtimes.tff\n"
    (root / "chapters" / "src" / "01_tiny.py").write_text(source)
    assert main(["--root", str(root)]) == 0
    told = capsys.readouterr().out
    assert "01_tiny: left out: needs TensorFlow Federated, missing" in told
    assert "python -m fedlab_utils.runtimes.tff install" in told
    assert not (root / "chapters" / "01_tiny.ipynb").exists()


def two_chapters(root: Path, second: str) -> None:
    source = root / "chapters" / "src"
    (source / "02_second.py").write_text(
        CHAPTER.replace("01 · A tiny", "02 · A second").replace("import sys, os", second)
    )
    course = Course(root)
    for name in course.names([]):
        notebook = course.expected(name, solution=False)
        nbformat.write(notebook, course.derived(name, solution=False))


@pytest.mark.slow
def test_run_goes_on_beside_a_chapter_that_fails(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    two_chapters(root, "import sys, os; raise KeyError('broken')")
    assert main(["--root", str(root), "--run", "--jobs", "2"]) == 1
    said = capsys.readouterr()
    assert "02_second, cell 3 failed" in said.err and "KeyError: 'broken'" in said.err
    assert "1 of 2 chapters failed" in said.err
    assert "01_tiny: " in said.out and "0.123" in said.out
    assert "1 chapters in " in said.out and "2 at a time" in said.out


@pytest.mark.slow
def test_an_interrupt_ends_all_kernels(root: Path) -> None:
    two_chapters(root, "import sys, os, time; open('started', 'w').close(); time.sleep(600)")
    command = [sys.executable, "-m", "fedlab_utils.course.build", "--run", "--jobs", "2"]
    process = subprocess.Popen([*command, "--root", str(root)], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (root / "chapters" / "started").exists():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.1)
    family = psutil.Process(process.pid).children(recursive=True)
    assert family
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130 and "Interrupted" in said
    _, alive = psutil.wait_procs(family, timeout=5)
    assert alive == []


@pytest.mark.parametrize(("limit", "jobs"), [(None, 3), (2.0, 1), (0.5, 1), (4.5, 2), (64.0, 3)])
def test_as_many_chapters_as_cores_and_memory_allow(
    monkeypatch: pytest.MonkeyPatch, limit: float | None, jobs: int
) -> None:
    monkeypatch.setattr(build_module, "memory_limit", lambda: limit)
    monkeypatch.setattr(build_module.os, "cpu_count", lambda: 3)
    free = psutil.virtual_memory()._replace(available=20_000_000_000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    assert build_module.jobs_that_fit() == jobs
