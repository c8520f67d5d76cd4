"""The translation file of one chapter: gettext's PO format, read and written by Babel."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fedlab_utils.errors import FedlabError

# Code, formulas, placeholders and addresses: a translation must say the same of them.
_KEPT = re.compile(
    r"\$\$.*?\$\$|`[^`]+`|\$[^$]+\$|\{\{?\w+\}?\}|\]\([^)]+\)|</?\w+", flags=re.DOTALL
)


class Catalogue:
    """The paragraphs of one text in its own words and in those of another language."""

    def __init__(self, path: Path, messages: Any) -> None:
        self.path = path
        self._messages = messages

    @classmethod
    def read(cls, path: Path, language: str) -> Catalogue:
        """Read a translation file; one that does not exist yet is empty.

        Raises FedlabError for a file that is not in the PO format.
        """
        from babel.messages.catalog import Catalog
        from babel.messages.pofile import PoFileError, read_po

        if not path.exists():
            return cls(path, Catalog(language, fuzzy=False))
        try:
            with path.open("rb") as file:
                return cls(path, read_po(file, locale=language, abort_invalid=True))
        except (PoFileError, UnicodeDecodeError, ValueError) as error:
            raise FedlabError(
                f"{path.name} is not a translation file in the PO format: {error}. "
                "Mend the line that the error names, or take the last version that worked."
            ) from error

    def say(self, paragraph: str) -> str:
        """Return the translation of a paragraph; one that has none stays as it is."""
        message = self._messages.get(paragraph)
        if message is None or message.fuzzy or not message.string:
            return paragraph
        return str(message.string)

    def update(self, originals: Iterable[str]) -> None:
        """Take in the paragraphs of the present text: new ones are empty, old ones go.

        The translation of a paragraph that has changed a little is kept and marked as fuzzy: it is
        not used until somebody has read it again and taken the mark away.
        """
        from babel.messages.catalog import Catalog

        template = Catalog()
        for paragraph in originals:
            template.add(paragraph)
        self._messages.update(template, no_fuzzy_matching=False, update_creation_date=False)
        self._messages.obsolete.clear()

    def fill(self, translations: dict[str, str]) -> None:
        """Set the translations of some paragraphs, by the original. Raises KeyError if unknown."""
        for original, text in translations.items():
            message = self._messages.get(original)
            if message is None:
                raise KeyError(original)
            message.string = text
            message.flags.discard("fuzzy")

    def write(self) -> None:
        """Write the file: paragraphs in the order of the text, no dates, lines as they are."""
        from babel.messages.pofile import write_po

        buffer = io.BytesIO()
        write_po(buffer, self._messages, width=0, omit_header=True, no_location=True)
        body = buffer.getvalue().decode().strip("\n")
        head = 'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=utf-8\\n"\n'
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(f"{head}\n{body}\n", encoding="utf-8")

    def problems(self, originals: list[str]) -> list[str]:
        """Say what is missing, left over or not faithful; [] for a translation that is whole."""
        found = []
        for paragraph in originals:
            start = " ".join(paragraph.split())[:60]
            text = self.say(paragraph)
            if text == paragraph:
                found.append(f"{self.path.name}: not translated: {start!r}")
            elif lost := _marks(paragraph) ^ _marks(text):
                what = ", ".join(sorted(lost))
                found.append(f"{self.path.name}: {what} differs in the translation of {start!r}")
        present = set(originals)
        left = [
            message.id for message in self._messages if message.id and message.id not in present
        ]
        found += [f"{self.path.name}: no longer in the text: {text[:60]!r}" for text in left]
        return found


def _marks(text: str) -> set[str]:
    return {" ".join(mark.split()) for mark in _KEPT.findall(text)}
