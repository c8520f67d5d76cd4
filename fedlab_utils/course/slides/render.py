"""From slides as data to one HTML file for a browser, in which nothing comes from the network."""

import re
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from fedlab_utils.course.slides.outline import Slide


def deck(title: str, groups: list[list[Slide]], kicker: str) -> str:
    """Return the page of a deck: groups stand side by side, the slides of one below each other."""
    make = _Markdown()
    sections = [
        "\n".join(_slide(slide, make, kicker, opening=number == 0) for slide in group)
        for number, group in enumerate(groups)
    ]
    body = "\n".join(f"<section>\n{section}\n</section>" for section in sections)
    page = files(__package__).joinpath("deck.html").read_text(encoding="utf-8")
    return Template(page).substitute(title=escape(title), slides=body)


def index(title: str, decks: dict[str, str]) -> str:
    """Return the page that lists the decks: file -> title."""
    items = "\n".join(
        f'<li><a href="{file}">{escape(name)}</a></li>' for file, name in decks.items()
    )
    page = files(__package__).joinpath("index.html").read_text(encoding="utf-8")
    return Template(page).substitute(title=escape(title), decks=items)


class _Markdown:
    """Markdown with formulas, to HTML; code is coloured by Pygments."""

    def __init__(self) -> None:
        from markdown_it import MarkdownIt
        from mdit_py_plugins.dollarmath import dollarmath_plugin

        self._parser = MarkdownIt("commonmark").enable("table")
        self._parser.use(dollarmath_plugin, renderer=_formula, double_inline=True)

    def __call__(self, text: str) -> str:
        # Links lead away from a slide; their words stay.
        return str(self._parser.render(re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", text)))

    def code(self, source: str) -> str:
        from pygments import highlight
        from pygments.formatters import HtmlFormatter
        from pygments.lexers import PythonLexer

        return str(highlight(source, PythonLexer(), HtmlFormatter(cssclass="code")))


def _formula(content: str, options: dict[str, Any]) -> str:
    left, right = (r"\[", r"\]") if options.get("display_mode") else (r"\(", r"\)")
    return f"{left}{escape(content)}{right}"


def _slide(slide: Slide, make: _Markdown, course: str, *, opening: bool) -> str:
    title_slide = opening and bool(slide.notes)
    parts = []
    if kicker := (course if title_slide else slide.kicker):
        parts.append(f'<div class="kicker">{make(kicker)}</div>')
    if slide.title:
        level = "h1" if title_slide else "h2"
        inline = re.sub(r"^<p>|</p>\s*$", "", make(slide.title))
        parts.append(f"<{level}>{inline}</{level}>")
    if slide.text:
        parts.append(f'<div class="text">{make(slide.text)}</div>')
    if slide.code:
        parts.append(make.code(slide.code))
    if slide.printed:
        parts.append(f'<pre class="printed">{escape(slide.printed)}</pre>')
    if slide.figure:
        image = f'src="data:image/png;base64,{slide.figure.strip()}" alt="{escape(slide.alt)}"'
        parts.append(f"<img {image}>")
    if slide.table:
        size = "narrow" if slide.table.partition("</tr>")[0].count("<th") <= 6 else "wide"
        parts.append(f'<div class="table {size}">{slide.table}</div>')
    if slide.takeaway:
        parts.append(f'<div class="takeaway">{make(slide.takeaway)}</div>')
    if slide.answer:
        parts.append(f'<div class="answer fragment">{make(slide.answer)}</div>')
    if slide.notes:
        parts.append(f'<aside class="notes">{make(slide.notes)}</aside>')
    kind = ' class="opening"' if title_slide else ""
    return f"<section{kind}>{''.join(parts)}</section>"
