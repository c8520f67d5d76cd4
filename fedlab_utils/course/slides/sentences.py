"""The few sentences of a chapter's prose that a slide has room for."""

import re

# A sentence ends before a capital, code, a formula or bold text, but not after "Fig." or "e.g.".
_END = re.compile(r"(?<=[.!?:])(?<!\be\.g\.)(?<!\bi\.e\.)(?<!\b[A-Z]\.)\s+(?=[A-Z*`$\"“(])")
_WHOLE = re.compile(_END.pattern.replace("[.!?:]", "[.!?]", 1))
_POINTS_BACK = re.compile(r"(?:It|Its|They|This|That|These|Those|Here|\*\*Exercise)\b")
_BLOCK = re.compile(r"^(?:[-*|>#<]|\d+\. |```|\$\$|\(?!\[)")


def paragraphs(text: str) -> list[str]:
    """Return the plain paragraphs of a Markdown text, each on one line: no lists, tables, math.

    A sentence that goes on after a formula is left out: alone it says nothing.
    """
    parts = (part.strip() for part in re.split(r"\n\s*\n", text))
    plain = (" ".join(part.split()) for part in parts if part and not _is_block(part))
    whole = (part if not part[0].islower() else " ".join(split(part)[1:]) for part in plain)
    return [part for part in whole if part]


def _is_block(part: str) -> bool:
    bold = part.startswith("**")
    return bool(_BLOCK.match(part)) and not bold


def formulas(text: str) -> list[str]:
    """Return the displayed formulas of a Markdown text, with their dollars."""
    return re.findall(r"\$\$.+?\$\$", text, flags=re.DOTALL)


def tables(text: str) -> list[str]:
    """Return the tables of a Markdown text."""
    return re.findall(r"(?:^\|.*\|[ ]*\n?){3,}", text, flags=re.MULTILINE)


def key_sentences(parts: list[str], words: int = 32) -> list[str]:
    """Return the sentences that introduce a term or make a point: they have bold text."""
    sentences = (sentence for part in parts for sentence in _WHOLE.split(part))
    return [
        _closed(sentence)
        for sentence in sentences
        if "**" in sentence
        and sentence.count("**") % 2 == 0
        and 3 <= len(sentence.split()) <= words
        and not _POINTS_BACK.match(sentence)
    ]


def split(paragraph: str) -> list[str]:
    """Return the sentences of a paragraph."""
    return [part.strip() for part in _END.split(paragraph) if part.strip()]


def lead(paragraph: str, words: int = 45) -> str:
    """Return the first sentences of a paragraph: at least one, then while they fit in `words`.

    One that only leads on to a cell ("... looks like this:") is left out, unless it is the first.
    """
    kept: list[str] = []
    for sentence in split(paragraph):
        if kept and (len(" ".join([*kept, sentence]).split()) > words or sentence.endswith(":")):
            break
        kept.append(sentence)
    return _closed(" ".join(kept))


def tail(paragraph: str, words: int = 35) -> str:
    """Return the last sentences of a paragraph, which introduce the cell below it."""
    kept: list[str] = []
    for sentence in reversed(split(paragraph)):
        if kept and len(" ".join([sentence, *kept]).split()) > words:
            break
        kept.insert(0, sentence)
    return _closed(" ".join(kept))


def takeaway(paragraph: str, words: int = 35) -> str:
    """Return the first sentence of a paragraph below a result, "" if it leads on or is too long."""
    first = split(paragraph)[:1]
    if not first or first[0].endswith(":") or len(first[0].split()) > words:
        return ""
    return first[0]


def _closed(text: str) -> str:
    return re.sub(r":$", ".", text)
