"""Repairs of the pages that Sphinx and its theme write, most for readers who listen to them."""

import re

_TOGGLE = '<span class="toctree-toggle"'
_SIDE_BAR = 'class="bd-sidebar-primary bd-sidebar"'
# What a screen reader needs, by what the theme writes instead.
_REPAIRS = {
    # The button that opens a part of the table of contents has no name.
    f"<summary>{_TOGGLE}": f'<summary aria-label="Show or hide its pages">{_TOGGLE}',
    # Roles that are not allowed where they are.
    '<div role="list" class="citation-list">': '<div class="citation-list">',
    ' role="doc-biblioentry"': "",
    # A table of a chapter whose corner is empty.
    '<th class="head"><p></p></th>': '<td class="head"></td>',
    # The side bar's title and search field belong to a landmark.
    f"{_SIDE_BAR}>": f'{_SIDE_BAR} role="region" aria-label="The book">',
}
_SIGNATURE = re.compile(r'<dt class="sig .*?</dt>', flags=re.DOTALL)
# A number and its spread belong on one line, in tables of HTML and of Markdown.
_SPREAD = re.compile(r"(<td[^>]*>(?:<p>)?[\d.,]+) ± ([\d.,]+(?:</p>)?</td>)")
_EMPTY_HEAD = re.compile(r"<th([^>]*)>(?:\s|&nbsp;)*</th>")


def repair(page: str) -> str:
    """Return a page whose names and roles are right, whose signatures are no definition lists, and
    in whose tables a number and its spread stay on one line.
    """
    for old, new in _REPAIRS.items():
        page = page.replace(old, new)
    page = _SPREAD.sub("\\1\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}\\2", page)
    return _SIGNATURE.sub(_lines, page)


def _lines(signature: re.Match[str]) -> str:
    text = signature[0]
    for old, new in (("<dl>", '<span class="sig-lines">'), ("</dl>", "</span>")):
        text = text.replace(old, new)
    return text.replace("<dd>", '<span class="sig-line">').replace("</dd>", "</span>")


def fill_corners(table: str) -> str:
    """Return an HTML table whose empty heading cells are ordinary cells."""
    return _EMPTY_HEAD.sub(r"<td\1></td>", table)
