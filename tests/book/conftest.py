"""The book, the slides and a browser, made once for all tests that look at them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fedlab_utils.course.book.__main__ import missing

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
COMMAND = "run `make browser`; Chromium comes from the system: apt-get install chromium"


def lacking(reason: str) -> None:
    """Skip, or fail where FEDLAB_REQUIRE_BROWSER is set."""
    if os.environ.get("FEDLAB_REQUIRE_BROWSER"):
        pytest.fail(f"{reason}: {COMMAND}")
    pytest.skip(f"{reason}: {COMMAND}")


@pytest.fixture(scope="session")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The book's pages, built as `make book` does: a warning is an error."""
    if absent := missing():
        lacking(f"the book needs {', '.join(absent)}")
    folder = tmp_path_factory.mktemp("book")
    command = [sys.executable, "-m", "fedlab_utils.course.book", "--folder", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "html"


@pytest.fixture(scope="session")
def slides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The slides of all chapters."""
    from fedlab_utils.course.build import Course
    from fedlab_utils.course.slides.__main__ import make

    folder = tmp_path_factory.mktemp("slides")
    course = Course(ROOT)
    try:
        make(course, course.names([]), folder)
    except (FileNotFoundError, ImportError) as reason:
        lacking(str(reason))
    return folder


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium, driven by Playwright; nothing is kept of it."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        lacking("playwright is not installed")
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUM)), None)
    if path is None:
        lacking("no Chromium is installed")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield chromium
        chromium.close()
