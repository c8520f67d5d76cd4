"""A language's edition of the course: its notebooks and its README."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedlab_utils.course import notebook as nb
from fedlab_utils.course import readme
from fedlab_utils.course.translation.catalogue import Catalogue
from fedlab_utils.course.translation.paragraphs import paragraphs, translate

if TYPE_CHECKING:
    from fedlab_utils.course.checkout import Course

_LINK = re.compile(r"(?P<head>\]\()(?P<target>(?!https?:|mailto:|#)[^)\s]+)(?=[)\s])")


class Edition:
    """What `chapters/src/<language>/` translates, and the files that are made of it."""

    def __init__(self, course: Course, language: str) -> None:
        self.course = course
        self.language = language
        self.folder = course.chapters / language
        self._sources = course.chapters / "src" / language

    def names(self) -> list[str]:
        """Return the chapters that have a translation file."""
        return [name for name in self.course.names([]) if self._file(name).exists()]

    def texts(self) -> list[str]:
        """Return what has a translation file: the chapters, and README."""
        return [*self.names(), *(["README"] if self._file("README").exists() else [])]

    def _file(self, name: str) -> Path:
        return self._sources / f"{name}.po"

    def _source(self, name: str) -> Any:
        return nb.derive(self.course.source(name), self.course.repository, solution=False)

    def catalogue(self, name: str) -> Catalogue:
        """Read the translation file of a chapter or of README."""
        return Catalogue.read(self._file(name), self.language)

    def originals(self, name: str) -> list[str]:
        """Return the paragraphs of a chapter, or of README, that are to be translated."""
        if name == "README":
            return self._readme_originals()
        source = self._source(name)
        return paragraphs(cell.source for cell in source.cells if cell.cell_type == "markdown")

    def notebook(self, name: str, original: Any) -> Any:
        """Return the translation of a chapter's notebook `original`; code and outputs stay."""
        catalogue = self.catalogue(name)
        source = self._source(name)
        translated = copy.deepcopy(original)
        for cell, unfilled in zip(translated.cells, source.cells, strict=True):
            if cell.cell_type == "markdown":
                cell.source = self._relink(translate(unfilled.source, catalogue.say), "../")
        translated.metadata["language"] = self.language
        values = self.course.values(name, source)
        path = f"chapters/{self.language}/{name}.ipynb"
        say = self.catalogue("README").say
        measured = {key: readme.units(text, say) for key, text in values.items()}
        nb.fill(translated, measured | {"badges": self.course.repository.badges(path)})
        return translated

    def files(self) -> dict[Path, str]:
        """Return every file of the edition by its path, made from the built notebooks."""
        import nbformat

        made = {}
        for name in self.names():
            path = self.course.derived(name, solution=False)
            # A notebook that is older than its source is translated when it has been built.
            if path.exists() and not self.course.differs(name, solution=False):
                notebook = self.notebook(name, nbformat.read(path, as_version=4))
                made[self.folder / path.name] = nbformat.writes(notebook).rstrip("\n") + "\n"
        if self._file("README").exists():
            made[self.folder / "README.md"] = self._readme()
        return made

    def write(self) -> None:
        """Write the files that have changed."""
        for path, text in self.files().items():
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                path.write_text(text, encoding="utf-8")

    def problems(self) -> list[str]:
        """Say what is not translated, and which files differ from what would be made now."""
        found = []
        for name in self.texts():
            found += self.catalogue(name).problems(self.originals(name))
        for path, text in self.files().items():
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                found.append(f"{path.relative_to(self.course.root)} differs from its source")
        return found

    # --- README: its prose, and the words in the blocks that the build writes ---

    def _prose(self) -> str:
        text = (self.course.root / "README.md").read_text(encoding="utf-8")
        empty = {name: f"{{{{{name}}}}}" for name in ("badges", "results", "chapters")}
        return readme.rewrite(text, empty)

    def _readme_originals(self) -> list[str]:
        done = self.names()
        words = list(readme.WORDS)
        for line in self.course.lines():
            words += [] if line.name in done else [line.title, line.question]
        words += [record["title"] for record in self.course.headlines()]
        return list(dict.fromkeys(paragraphs([self._prose()]) + words))

    def _readme(self) -> str:
        catalogue = self.catalogue("README")
        done = self.names()
        lines = []
        for line in self.course.lines():
            if line.name in done:
                head = self._source(line.name)
                first = head.cells[0]  # with title and question
                first.source = translate(first.source, self.catalogue(line.name).say)
                lines.append(line.with_words(nb.title(head), nb.question(head)))
            else:
                lines.append(
                    line.with_words(catalogue.say(line.title), catalogue.say(line.question))
                )

        def place(name: str) -> str:
            return f"chapters/{self.language}/{name}.ipynb" if name in done else readme.place(name)

        blocks = readme.blocks(
            lines, self.course.headlines(), self.course.repository, catalogue.say, place
        )
        text = readme.rewrite(translate(self._prose(), catalogue.say), blocks)
        return self._relink(text, "../../")

    def _relink(self, text: str, up: str) -> str:
        """Make relative links right for a file of this edition, `up` from where they were."""

        here, done = f"chapters/{self.language}/", self.names()

        def one(found: re.Match[str]) -> str:
            target = found["target"]
            if target.startswith(here):
                return found["head"] + target.removeprefix(here)
            stem = Path(target.split("#")[0]).stem
            if up == "../" and "/" not in target and stem in done:
                return found[0]
            return f"{found['head']}{up}{target}"

        return _LINK.sub(one, text)


def editions(course: Course) -> list[Edition]:
    """Return the editions of a course: one for each folder with translation files."""
    folders = sorted({path.parent.name for path in (course.chapters / "src").glob("*/*.po")})
    return [Edition(course, language) for language in folders]
