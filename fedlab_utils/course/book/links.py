"""Links between the chapters, as the book has them: "chapter 03", "section 7.4", papers."""

import re
from collections.abc import Callable, Collection, Mapping

from fedlab_utils.course.book.papers import Bibliography

# What must stay as it is: fenced and inline code, mathematics, links, HTML tags, headings.
_KEPT = (
    r"^```(?!\{glossary).*?^```\s*$|(?<!`)(?P<tick>`{1,2})(?!`).*?(?<!`)(?P=tick)(?!`)|\$\$.*?\$\$"
    r"|\$[^$\n]+(?:\n[^$\n]+)?\$|!?\[[^\]]*\]\([^)]*\)|<[^>\n]+>|^#.*?$"
)
_AND = r"(?:,\s+(?:and\s+)?|\s+(?:to|and|or)\s+)"
_CHAPTERS = rf"\b[Cc]hapters?\s+\d\d(?:{_AND}\d\d\b)*"
_SECTIONS = rf"\b[Ss]ections?\s+\d{{1,2}}\.\d+(?:{_AND}\d{{1,2}}\.\d+)*"
_NUMBERED = re.compile(r"^(#{2,3}) (\d{1,2}\.\d+) ", flags=re.MULTILINE)
_LINK = re.compile(r"\[[^\]]+\]\((https?://[^)\s]+)\)(\s*\(\d{4}\))?")


def replace_outside_code(
    text: str, pattern: str, replacement: Callable[[re.Match[str]], str]
) -> str:
    """Replace a pattern in Markdown, but not in code, mathematics, links, tags and headings."""
    both = re.compile(f"(?P<kept>{_KEPT})|{pattern}", flags=re.MULTILINE | re.DOTALL)
    return both.sub(lambda found: found[0] if found["kept"] else replacement(found), text)


def markdown_link(text: str, page: str) -> str:
    """Return a link in Markdown."""
    return f"[{text}]({page})"


def link_chapters(
    text: str, pages: Mapping[str, str], link: Callable[[str, str], str] = markdown_link
) -> str:
    """Link "chapter 03" and the numbers of "chapters 06 to 08"; `pages`: number -> file.

    A chapter that has no page stays plain text. `link` writes a link of a text to a page.
    """

    def one(found: re.Match[str]) -> str:
        numbers = re.findall(r"\d\d", found[0])
        if len(numbers) == 1:
            page = pages.get(numbers[0])
            return link(" ".join(found[0].split()), page) if page else found[0]
        return re.sub(
            r"\d\d", lambda n: link(n[0], pages[n[0]]) if n[0] in pages else n[0], found[0]
        )

    return replace_outside_code(text, _CHAPTERS, one)


def section_names(text: str) -> list[str]:
    """Return the numbers of the sections that begin in a Markdown text, such as "7.4"."""
    return [number for _, number in _NUMBERED.findall(text)]


def name_sections(text: str) -> str:
    """Put a target before each numbered heading, to which `link_sections` links."""
    return _NUMBERED.sub(lambda found: f"(section-{found[2]})=\n{found[0]}", text)


def link_sections(text: str, known: Collection[str]) -> str:
    """Link "section 7.4" and the numbers of "sections 6.2 and 6.3", if they are `known`."""

    def one(found: re.Match[str]) -> str:
        numbers = re.findall(r"\d+\.\d+", found[0])
        if len(numbers) == 1:
            link = f"{{ref}}`{' '.join(found[0].split())} <section-{numbers[0]}>`"
            return link if numbers[0] in known else found[0]
        return re.sub(
            r"\d+\.\d+",
            lambda n: f"{{ref}}`{n[0]} <section-{n[0]}>`" if n[0] in known else n[0],
            found[0],
        )

    return replace_outside_code(text, _SECTIONS, one)


def cite(text: str, bibliography: Bibliography) -> str:
    """Put a citation after each link to a paper of the bibliography."""

    def one(found: re.Match[str]) -> str:
        key = bibliography.key(found[1])
        return f"{found[0]} {{cite:p}}`{key}`" if key else found[0]

    return _LINK.sub(one, text)


def open_details(text: str) -> str:
    """Let Markdown inside `<details>` be read as Markdown: it needs blank lines around it."""
    text = re.sub(r"(<details[^>]*>\s*<summary>.*?</summary>)\n?", r"\1\n\n", text)
    return text.replace("\n</details>", "\n\n</details>")
