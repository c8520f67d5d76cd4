"""Make the slides in build/slides: `python -m fedlab_utils.course.slides`, or `make slides`."""

import argparse
import importlib.util
import shutil
import sys
from pathlib import Path

from fedlab_utils.course import notebook as nb
from fedlab_utils.course.build import Course
from fedlab_utils.course.slides import outline, render

KICKER = "Federated anomaly detection, hands on"
# reveal.js and MathJax come from packages of the registry that pip uses.
REVEAL = ("sphinx_revealjs", "_static/revealjs")
MATHJAX = ("sphinx-mathjax-offline", "static/mathjax")


def folder_in(package: str, below: str) -> Path | None:
    """Return a folder inside an installed package, without importing it; None if it is absent."""
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        return None
    return Path(next(iter(found.submodule_search_locations))) / below


def make(course: Course, names: list[str], target: Path) -> list[Path]:
    """Write one deck for each chapter into `target`, with all they need; return their files.

    Raises FileNotFoundError if reveal.js or MathJax is not installed.
    """
    import nbformat

    reveal, mathjax = folder_in(*REVEAL), folder_in(*MATHJAX)
    if reveal is None or mathjax is None:
        raise FileNotFoundError("The slides need the extra `book`: run `make slides`.")
    assets = target / "assets"
    shutil.rmtree(target, ignore_errors=True)
    for part in ("dist", "plugin/notes"):
        shutil.copytree(
            reveal / part, assets / "reveal" / part, ignore=shutil.ignore_patterns("*.map")
        )
    fonts = Path("output") / "chtml" / "fonts"
    shutil.copytree(mathjax / fonts, assets / "mathjax" / fonts)
    shutil.copy(mathjax / "tex-chtml.js", assets / "mathjax")
    for name in ("deck.css", "deck.js"):
        shutil.copy(Path(__file__).with_name(name), assets)
    decks = {}
    for name in names:
        notebook = nbformat.read(course.derived(name, solution=False), as_version=4)
        title = nb.title(notebook)
        page = render.deck(title, outline.slides(notebook), KICKER)
        (target / f"{name}.html").write_text(page, encoding="utf-8")
        decks[f"{name}.html"] = title
    (target / "index.html").write_text(render.index(KICKER, decks), encoding="utf-8")
    return [target / file for file in decks]


def main(arguments: list[str] | None = None) -> int:
    """Make the slides of all chapters, or of those that are named; return 0 if all went well."""
    parser = argparse.ArgumentParser(prog="python -m fedlab_utils.course.slides")
    parser.add_argument("chapters", nargs="*", help="numbers or names (default: all)")
    parser.add_argument("--root", type=Path, default=Path.cwd(), help="the checkout (default: .)")
    options = parser.parse_args(arguments)
    target = options.root / "build" / "slides"
    try:
        course = Course(options.root)
        made = make(course, course.names(options.chapters), target)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{len(made)} decks: {target}/index.html")
    return 0


if __name__ == "__main__":
    sys.exit(main())
