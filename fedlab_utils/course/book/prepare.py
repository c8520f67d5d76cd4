"""Write the book's source into a folder: chapters, pages of the run, API, bibliography."""

import json
import shutil
from pathlib import Path

import fedlab_utils
from fedlab_utils.course.book import api, chapter, links, pages
from fedlab_utils.course.book.papers import Bibliography
from fedlab_utils.course.build import Course

PACKAGE = Path(fedlab_utils.__file__).parent


def prepare(course: Course, target: Path) -> None:
    """Write the source of the book of `course` into `target`, which is made anew.

    The chapters are those that have an executed notebook; Markdown pages, style and settings come
    from chapters/book. Raises ValueError for a broken references.bib.
    """
    import nbformat

    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(course.chapters / "book", target)
    names = [name for name in course.names([]) if course.derived(name, solution=False).exists()]
    notebooks = {
        name: nbformat.read(course.derived(name, solution=False), as_version=4) for name in names
    }
    bibliography = Bibliography((target / "references.bib").read_text(encoding="utf-8"))
    for notebook in notebooks.values():
        bibliography.add_reading(chapter.reading(notebook))
    _write(target / "references.bib", bibliography.text)

    files = {name[:2]: f"{name}.ipynb" for name in notebooks}
    sections = frozenset(s for notebook in notebooks.values() for s in chapter.sections(notebook))
    context = chapter.Context(files, sections, bibliography)
    for name, notebook in notebooks.items():
        _write(
            target / "chapters" / f"{name}.ipynb", nbformat.writes(chapter.page(notebook, context))
        )

    written = {path: path.read_text(encoding="utf-8") for path in sorted(target.glob("*.md"))}
    below = {number: f"chapters/{file}" for number, file in files.items()}
    for path, text in written.items():
        _write(path, links.link_chapters(text, below))
    _write(target / "chapters-table.txt", pages.chapters_table(course, notebooks))
    _write(target / "results.md", pages.results_page(course, notebooks))
    found = api.packages(PACKAGE)
    for package, parts in found.items():
        _write(target / "reference" / f"{package}.md", api.package_page(package, parts))
    _write(target / "reference" / "index.md", api.index_page(found, fedlab_utils))
    facts = {
        "address": course.repository.address,
        "version": fedlab_utils.__version__,
        "figures": {f"chapters/{n}": chapter.alt_texts(nb) for n, nb in notebooks.items()},
        "pages": {number: f"/chapters/{n}" for number, n in ((n[:2], n) for n in notebooks)},
        "names": api.full_names(found),
        "sources": api.sources(PACKAGE),
    }
    _write(target / "book.json", json.dumps(facts, indent=1))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
