"""A chapter's executed notebook, as a page of the book."""

import base64
import copy
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fedlab_utils.course.book import html, links
from fedlab_utils.course.book.papers import Bibliography

Notebook = Any  # nbformat.NotebookNode

_BADGES = re.compile(r"^\[!\[Open on Binder\].*\n?", flags=re.MULTILINE)


@dataclass(frozen=True)
class Context:
    """What a chapter's page links to: other chapters, sections, papers."""

    pages: Mapping[str, str]  # "03" -> "03_fedavg_from_scratch.ipynb"
    sections: frozenset[str]
    bibliography: Bibliography


def reading(notebook: Notebook) -> str:
    """Return the text of the chapter's "Further reading", or ""."""
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    parts = [text.partition("## Further reading")[2] for text in texts]
    return "\n".join(part for part in parts if part)


def sections(notebook: Notebook) -> list[str]:
    """Return the numbers of the chapter's sections."""
    texts = (cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    return [name for text in texts for name in links.section_names(text)]


def alt_texts(notebook: Notebook) -> dict[str, str]:
    """Return the alternative text of each figure by the SHA-256 of its PNG, in hex."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return {
        hashlib.sha256(base64.b64decode(output.data["image/png"])).hexdigest(): alt
        for output in outputs
        if (alt := output.get("metadata", {}).get("image/png", {}).get("alt"))
    }


def page(notebook: Notebook, context: Context) -> Notebook:
    """Return the book's version: links added, the badges and the Colab cell left out.

    Both are for a notebook that stands alone; a page of the book has launch buttons.
    """
    new = copy.deepcopy(notebook)
    in_reading = False
    for cell in new.cells:
        if cell.cell_type != "markdown":
            for output in cell.get("outputs", []):
                if "text/html" in output.get("data", {}):
                    output.data["text/html"] = html.fill_corners(output.data["text/html"])
            continue
        in_reading = in_reading or cell.source.startswith("## Further reading")
        cell.source = _text(cell.source, context, cite=in_reading)
    new.cells = [cell for cell in new.cells if "colab" not in cell.metadata.get("tags", [])]
    return new


def _text(text: str, context: Context, *, cite: bool) -> str:
    text = links.open_details(_BADGES.sub("", text))
    if cite:
        text = links.cite(text, context.bibliography)
    text = links.link_chapters(text, context.pages)
    text = links.link_sections(text, context.sections)
    return links.name_sections(text)
