"""Cut Markdown into the paragraphs that are translated, and put it together again."""

import re
from collections.abc import Callable, Iterable

_BLANK = re.compile(r"(\n[ \t]*(?:\n[ \t]*)+)")
_FENCE = re.compile(r"^(```|~~~|\$\$)", flags=re.MULTILINE)
# What is the same in every language. What remains must hold a word, or there is nothing to say.
_MUTE = re.compile(
    r"^    [^\n]*$|```.*?```|~~~.*?~~~|\$\$.*?\$\$|`[^`]*`|\$[^$\n]+\$|\{\{\w+\}\}|<[^>]*>|https?://\S+",
    flags=re.DOTALL | re.MULTILINE,
)
_WORD = re.compile(r"[A-Za-z]{2,}")


def pieces(text: str) -> list[str]:
    """Cut a Markdown text into paragraphs and the blank lines between them, in turn.

    Joined, the pieces are the text again. A fenced block is one piece, whatever it holds.
    """
    found: list[str] = []
    is_open = False
    for number, piece in enumerate(_BLANK.split(text)):
        if is_open:
            found[-1] += piece
        elif number % 2 and not found[-1]:
            found[-1] = piece  # a text that begins with blank lines
        else:
            found.append(piece)
        if number % 2 == 0:
            is_open ^= bool(len(_FENCE.findall(piece)) % 2)
    return found


def has_words(paragraph: str) -> bool:
    """Tell whether a paragraph holds words of a language, besides code, mathematics and tags."""
    return bool(_WORD.search(_MUTE.sub(" ", paragraph)))


def paragraphs(texts: Iterable[str]) -> list[str]:
    """Return the different paragraphs to translate of some Markdown texts, in their order."""
    found = (piece for text in texts for piece in pieces(text) if has_words(piece))
    return list(dict.fromkeys(found))


def translate(text: str, say: Callable[[str], str]) -> str:
    """Return a Markdown text with each paragraph replaced by what `say` returns for it."""
    return "".join(say(piece) if has_words(piece) else piece for piece in pieces(text))
