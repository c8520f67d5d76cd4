"""Build the book into build/book: `python -m fedlab_utils.course.book`, or `make book`."""

import argparse
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

from fedlab_utils.course.book.prepare import prepare
from fedlab_utils.course.build import Course

NEEDS = ("sphinx", "myst_nb", "sphinx_book_theme", "sphinxcontrib.bibtex", "sphinx-mathjax-offline")


def missing() -> list[str]:
    """Return the modules of the extra `book` that are not installed."""
    return [name for name in NEEDS if not _installed(name)]


def _installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # its parent package is not there
        return False


def build(course: Course, folder: Path) -> int:
    """Write the book's source into `folder`/source and its pages into `folder`/html.

    Every warning is an error: a broken link, a reference to nothing, a page in no table of
    contents. Returns Sphinx's exit code.
    """
    prepare(course, folder / "source")
    shutil.rmtree(folder / "html", ignore_errors=True)
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-n", "-W", "--keep-going", "-q"]
    command += ["-j", "auto", "-d", str(folder / "doctrees")]
    return subprocess.call([*command, str(folder / "source"), str(folder / "html")])


def main(arguments: list[str] | None = None) -> int:
    """Build the book; return 0 if it has no fault, else 1."""
    parser = argparse.ArgumentParser(prog="python -m fedlab_utils.course.book")
    parser.add_argument("--root", type=Path, default=Path.cwd(), help="the checkout (default: .)")
    parser.add_argument("--folder", type=Path, help="where to build (default: ROOT/build/book)")
    options = parser.parse_args(arguments)
    if lacking := missing():
        print(f"The book needs {', '.join(lacking)}: run `make book`.", file=sys.stderr)
        return 1
    folder = options.folder or options.root / "build" / "book"
    try:
        failed = build(Course(options.root), folder.resolve())
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{'The book has the faults above' if failed else 'The book'}: {folder}/html/index.html")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
