"""The course's docstrings, which are plain text with `code`, as the markup that Sphinx reads."""

import re
from collections.abc import Mapping

_CODE = re.compile(r"(`+)(.+?)\1", flags=re.DOTALL)
_SPECIAL = re.compile(r"([*|\\])|(?<=\w)_(?!\w)")
_NAME = re.compile(r"^(?:fl\.)?([A-Za-z_]\w*)((?:\.[a-z_]\w*)?)(?:\([^`]*\))?$")
# In a section; Sphinx would take the first of the names for a type.
_PAIR = re.compile(r"^(\s+)(\w+(?:, \w+)+)(: .*)$")
_ITEM = re.compile(r"^\s*- ")


def to_rst(lines: list[str]) -> list[str]:
    """Return the lines of a docstring as reStructuredText; its sections (Args:) stay as they are.

    Outside of code nothing has a special meaning. An indented block after a blank line is an
    example, and a list needs no blank line before it.
    """
    new: list[str] = []
    example: int | None = None  # the indentation of the text before the example we are in
    for line in lines:
        before = next((old for old in reversed(new) if old.strip()), "")
        above = new[-1] if new else ""
        deeper = _indent(line) - _indent(before)
        item, after_item = bool(_ITEM.match(line)), bool(_ITEM.match(before))
        if example is not None and line.strip() and _indent(line) <= example:
            example = None
        if not (item or after_item) and _starts_example(line, above, before) and example is None:
            example = _indent(before)
            new += [" " * example + "::", ""]
        if item and not after_item and above.strip() and deeper >= 0:
            new.append("")
        new.append(line)
    return _escape([piece for line in new for piece in _one_name_each(line)])


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _starts_example(line: str, above: str, before: str) -> bool:
    """Tell whether a line is deeper than the text before it, with a blank line between them."""
    blank = bool(before) and not above.strip()
    return blank and bool(line.strip()) and _indent(line) > _indent(before)


def _one_name_each(line: str) -> list[str]:
    """Turn "epsilon, delta: what both are" into one line for each; the last has the text."""
    found = _PAIR.match(line)
    if found is None:
        return [line]
    *others, last = found[2].split(", ")
    return [f"{found[1]}{name}: see `{last}`." for name in others] + [f"{found[1]}{last}{found[3]}"]


def _escape(lines: list[str]) -> list[str]:
    """Escape what reStructuredText would read as markup, but not in code and examples."""
    text = "\n".join(lines)
    pieces, position = [], 0
    for found in re.finditer(rf"{_CODE.pattern}|^( *)::\n\n(?:(?:\3 +.*)?\n?)+", text, flags=re.M):
        pieces += [_SPECIAL.sub(r"\\\g<0>", text[position : found.start()]), found[0]]
        position = found.end()
        # Markup must end at a word's end.
        pieces += ["\\ "] if found[1] and re.match(r"[\w=+*]", text[position:]) else []
    pieces.append(_SPECIAL.sub(r"\\\g<0>", text[position:]))
    return "".join(pieces).split("\n")


def target(code: str, names: Mapping[str, str]) -> str | None:
    """Return the full name of what `code` in a docstring names, or None.

    `names` has the full name of each documented function and class by its short one. "fl.fit",
    "fit(model)" and "History.epsilon" are understood.
    """
    found = _NAME.match(code)
    if found is None or found[1] not in names:
        return None
    return names[found[1]] + found[2]
