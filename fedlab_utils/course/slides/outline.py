"""What a chapter's slides show, as data: from the cells of its executed notebook.

No cell needs a tag. The tag `slide` puts a cell on a slide of its own, `no-slide` keeps its output
off the slides.
"""

import re
from dataclasses import dataclass, field, replace
from typing import Any

from fedlab_utils.course import notebook as nb
from fedlab_utils.course.slides import sentences, tables

Notebook = Any  # nbformat.NotebookNode

MAX_CODE = 14  # lines of code that a slide has room for
MAX_OUTPUT = 12  # lines of printed output
MAX_TERMS = 3  # sentences in bold beside the first ones
MAX_WORDS = 60  # above a result
MAX_TABLE = 120  # words of a table in Markdown, with those above it


@dataclass(frozen=True)
class Slide:
    """One slide. Texts are Markdown; `answer` and `notes` are hidden at first.

    Attributes:
        title: the heading; `kicker` stands above it in small letters.
        text: what stands under the heading.
        code, printed: a cell and what it printed.
        figure, alt: a PNG as base64, and what it shows in words.
        table: HTML.
        takeaway: one sentence under a result.
        answer: comes with the next key press.
        notes: for the speaker's view.
    """

    title: str
    kicker: str = ""
    text: str = ""
    code: str = ""
    printed: str = ""
    figure: str = ""
    alt: str = ""
    table: str = ""
    takeaway: str = ""
    answer: str = ""
    notes: str = ""


@dataclass
class Section:
    """A part of a chapter under one heading, with its cells."""

    title: str
    cells: list[Any] = field(default_factory=list)


def sections(notebook: Notebook) -> list[Section]:
    """Divide a chapter at its headings; the first part has the chapter's title."""
    parts: list[Section] = []
    for cell in notebook.cells:
        heading = re.match(r"#{1,2} (.+)", cell.source) if cell.cell_type == "markdown" else None
        if heading is not None:
            parts.append(Section(heading[1]))
        elif cell.cell_type == "markdown" and cell.source.startswith("<details><summary>For"):
            parts.append(Section("For instructors"))
        if parts:
            parts[-1].cells.append(cell)
    return parts


def slides(notebook: Notebook) -> list[list[Slide]]:
    """Return a chapter's slides, grouped: what belongs to one section is one group."""
    parts = sections(notebook)
    named = {part.title: part for part in parts}
    groups = [_opening(notebook, _text(named.get("For instructors")))]
    groups += [_section(part) for part in parts if re.match(r"\d+\.\d+ ", part.title)]
    for title, make in (
        ("What we have built", _built),
        ("Check yourself", _questions),
        ("Exercises", _exercises),
    ):
        if title in named:
            groups.append(make(named[title]))
    return [group for group in groups if group]


def _text(part: Section | None) -> str:
    cells = part.cells if part else []
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def _opening(notebook: Notebook, notes: str) -> list[Slide]:
    first = notebook.cells[0].source
    objectives = re.search(r"^You will\n\n(.+?)\n\n", first, flags=re.DOTALL | re.MULTILINE)
    notes = re.sub(r"</?(?:details|summary)[^>]*>", "", notes)
    opening = [Slide(nb.title(notebook), text=nb.question(notebook), notes=notes)]
    return [*opening, Slide("You will", text=objectives[1])] if objectives else opening


def _section(part: Section) -> list[Slide]:
    """The section's first sentences, formula and terms; then its figures, or one other result."""
    prose = _text(part)
    body = sentences.paragraphs(prose)
    lead = sentences.lead(body[0]) if body else ""
    formula = next(iter(sentences.formulas(prose)), "")
    terms = [term for term in sentences.key_sentences(body) if term not in lead][:MAX_TERMS]
    points = "\n".join(f"- {term}" for term in terms)
    first = Slide(part.title, text="\n\n".join(filter(None, [lead, formula, points])))
    shown = [number for number, cell in enumerate(part.cells) if _figure(cell)]
    if not shown:
        tests = (_table, _short)
        shown = [n for test in tests for n, cell in enumerate(part.cells) if test(cell)][:1]
    tagged = [n for n, cell in enumerate(part.cells) if "slide" in _tags(cell)]
    drawn = [
        Slide("", kicker=part.title, text=tables.cut_markdown(table))
        for table in sentences.tables(prose)[:1]
    ]
    results = [_result(part, number) for number in sorted({*shown, *tagged})]
    group = _without_repetition([first, *drawn, *results])
    if len(group) > 1 and not (formula or points):
        # Few words leave room for the first result. A table in Markdown is part of the text.
        both = "\n\n".join(filter(None, [lead, group[1].text]))
        room = MAX_WORDS if group[1] not in drawn else MAX_TABLE
        if len(both.split()) <= room:
            group[:2] = [replace(group[1], title=part.title, kicker="", text=both)]
        elif group[1] not in drawn:
            group[:2] = [replace(group[1], title=part.title, kicker="", text=lead)]
    return group


def _without_repetition(group: list[Slide]) -> list[Slide]:
    """Leave out the words above a result that an earlier slide of the section already says."""
    kept: list[Slide] = []
    for slide in group:
        said = " ".join(old.text for old in kept)
        new = [one for one in sentences.split(slide.text) if one.rstrip(".:") not in said]
        # The words above a result are one line; lists, formulas and tables keep theirs.
        kept.append(slide if "\n" in slide.text else replace(slide, text=" ".join(new)))
    return kept


def _tags(cell: Any) -> list[str]:
    return list(cell.metadata.get("tags", []))


def _result(part: Section, number: int) -> Slide:
    """A slide of one cell: the words above it, its result, the sentence below it."""
    cell = part.cells[number]
    if cell.cell_type == "markdown":
        text = re.sub(r"^#+ .+\n+", "", cell.source)
        return Slide("", kicker=part.title, text=text)
    above = next((c for c in reversed(part.cells[:number]) if c.cell_type == "markdown"), None)
    below = part.cells[number + 1] if number + 1 < len(part.cells) else None
    before = sentences.paragraphs(above.source)[-1:] if above is not None else []
    figure = _figure(cell)
    table = "" if figure else _table(cell)
    plain = not (figure or table)
    return Slide(
        "",
        kicker=part.title,
        text=sentences.tail(before[0]) if before else "",
        code=cell.source if plain else "",
        printed=_printed(cell) if plain else "",
        figure=figure[0] if figure else "",
        alt=figure[1] if figure else "",
        table=table,
        takeaway=sentences.takeaway(_first_paragraph(below)),
    )


def _first_paragraph(cell: Any) -> str:
    """The words below a result; none if another section begins there."""
    if cell is None or cell.cell_type != "markdown" or cell.source.startswith("#"):
        return ""
    return next(iter(sentences.paragraphs(cell.source)), "")


def _figure(cell: Any) -> tuple[str, str] | None:
    if "no-slide" in _tags(cell):
        return None
    for output in cell.get("outputs", []):
        if "image/png" in output.get("data", {}):
            alt = output.get("metadata", {}).get("image/png", {}).get("alt", "")
            return output.data["image/png"], alt
    return None


def _table(cell: Any) -> str:
    if "no-slide" in _tags(cell):
        return ""
    pages = (output.get("data", {}).get("text/html", "") for output in cell.get("outputs", []))
    return tables.cut(next((page for page in pages if "<table" in page), ""))


def _short(cell: Any) -> bool:
    """A cell that fits on a slide together with what it printed."""
    if cell.cell_type != "code" or "no-slide" in _tags(cell) or not (printed := _printed(cell)):
        return False
    return len(cell.source.splitlines()) <= MAX_CODE and len(printed.splitlines()) <= MAX_OUTPUT


def _printed(cell: Any) -> str:
    texts = []
    for output in cell.get("outputs", []):
        data = output.get("data", {})
        texts.append(output.get("text", "" if "text/html" in data else data.get("text/plain", "")))
    return "\n".join(text.rstrip("\n") for text in texts if text.strip())


def _built(part: Section) -> list[Slide]:
    """The bullets, then each table, on slides of their own."""
    prose = re.sub(r"^## .+\n+", "", _text(part))
    found = sentences.tables(prose)
    for table in found:
        prose = prose.replace(table, "")
    drawn = [tables.cut_markdown(table) for table in found]
    bullets = re.split(r"\n(?=- )", re.sub(r"\n{2,}", "\n", prose.strip()))
    half = len(bullets) if len(prose.split()) <= MAX_TABLE else (len(bullets) + 1) // 2
    texts = filter(None, ("\n".join(bullets[:half]), "\n".join(bullets[half:]), *drawn))
    return [
        Slide(part.title if number == 0 else "", part.title if number else "", text=text)
        for number, text in enumerate(texts)
    ]


def _questions(part: Section) -> list[Slide]:
    asked = re.findall(
        r"\*\*(.+?)\*\*\s*<details>\s*<summary>.*?</summary>\s*(.*?)\s*</details>",
        _text(part),
        flags=re.DOTALL,
    )
    return [
        Slide("", kicker=part.title, text=f"**{' '.join(question.split())}**", answer=answer)
        for question, answer in asked
    ]


def _exercises(part: Section) -> list[Slide]:
    asked = re.findall(
        r"\*\*(Exercise \d\d\.\d+)\*\* (\(\w+\))\s+(.+?)(?:\n\n|\Z)", _text(part), flags=re.DOTALL
    )
    lines = [f"- **{name}** {level} {sentences.lead(text, 25)}" for name, level, text in asked]
    return [Slide(part.title, text="\n".join(lines))] if lines else []
