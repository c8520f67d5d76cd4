"""A learner in JupyterLab: opens a chapter, runs all cells, solves an exercise, sees it turn green,
and waits for a longer training.

Chapter 05 needs the environment of TensorFlow Federated and is long, as is 03: both are run where
FEDLAB_LONG_BROWSER is set.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

from fedlab_utils.course.build import Course
from fedlab_utils.runtimes import tff
from tests.book.lab import Notebook, lab

COURSE = Course(Path(__file__).resolve().parents[2])
GREEN = "rgb(0, 102, 77)"
LONG = pytest.mark.skipif(
    not os.environ.get("FEDLAB_LONG_BROWSER"), reason="set FEDLAB_LONG_BROWSER=1"
)
pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def address(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with lab(tmp_path_factory.mktemp("lab")) as found:
        yield found


def cells(name: str, *, solution: bool) -> dict[str, Any]:
    notebook = nbformat.read(COURSE.derived(name, solution=solution), as_version=4)
    return {cell.id: cell for cell in notebook.cells if cell.cell_type == "code"}


@pytest.mark.parametrize(
    ("number", "seconds"),
    [
        ("00", 120),
        ("01", 300),
        pytest.param("03", 600, marks=LONG),
        pytest.param("05", 900, marks=LONG),
    ],
)
def test_a_learner_runs_a_chapter_and_solves_it(
    browser: Any, address: str, number: str, seconds: float
) -> None:
    if number == "05" and not tff.status().ready:
        pytest.skip(f"needs TensorFlow Federated, {tff.status()}")
    (name,) = COURSE.names([number])
    reader, solution = cells(name, solution=False), cells(name, solution=True)
    from playwright.sync_api import expect

    notebook = Notebook(browser, address, f"{name}.ipynb")
    notebook.run_all(seconds)
    assert notebook.errors() == []
    figures = sum("image/png" in o.get("data", {}) for c in reader.values() for o in c.outputs)
    images = notebook.page.locator(".jp-RenderedImage img")
    expect(images).to_have_count(figures)
    assert figures >= 1
    assert notebook.page.locator("details", has_text="Figure in words").count() == figures
    assert all(images.evaluate_all("all => all.map((i) => i.complete && i.naturalWidth > 200)"))
    assert "not attempted yet" in notebook.page.locator(".jp-Notebook").inner_text()

    exercises = [id for id, cell in reader.items() if "exercise" in cell.metadata.get("tags", [])]
    for id in exercises:
        check = reader[id].source.splitlines()[-1]  # check("00.1", banks)
        done = notebook.replace_and_run(check, solution[id].source, 60)
        verdict = done.locator(".jp-OutputArea-output p")
        assert ": right" in verdict.inner_text(), (id, verdict.inner_text())
        assert verdict.evaluate("p => getComputedStyle(p).color") == GREEN
    assert notebook.errors() == []
    if number == "00":
        _train_longer(notebook)
    notebook.page.close()


def _train_longer(notebook: Notebook) -> None:
    """Exercise 00.4: the learner trains again, and a progress bar shows that it goes on."""
    assert notebook.page.evaluate("window.bars") == 0  # each cell of the chapter is quick
    again = "again = fl.fit(model, federation, rounds=1500, local=fl.SGD(lr=0.2, momentum=0.9))"
    notebook.replace_and_start('hint("00.1")', again)
    notebook.page.wait_for_function("window.bars > 0", timeout=60_000)
    assert "rounds:" in notebook.page.locator(".jp-Notebook").inner_text()
