"""The papers that chapters and docstrings cite: `chapters/book/references.bib` and what it lacks.

A chapter's "Further reading" holds authors, title, address and year of each paper. A paper that
references.bib does not have gets its entry from there, so that a new chapter needs no bookkeeping.
"""

import re
from dataclasses import dataclass
from urllib.parse import unquote

_ENTRY = re.compile(r"^@\w+\{([^,\s]+),(.*?)^\}", flags=re.MULTILINE | re.DOTALL)
_FIELD = re.compile(r"^\s*(\w+)\s*=\s*\{(.*)\},?\s*$", flags=re.MULTILINE)
_READING = re.compile(
    r"(?:(?P<authors>[^\[\]();:]+),\s+)?"
    r"\[(?P<title>[^\]]+)\]\((?P<url>[^)\s]+)\)\s*\((?P<year>\d{4})\b"
)
_ARXIV = r"(?:https?://)?(?:www\.)?arxiv\.org/(?:abs|pdf)/|arxiv:\s?"
_DOI = r"(?:https?://)?(?:dx\.)?doi\.org/|doi:\s?"
_IACR = r"(?:https?://)?eprint\.iacr\.org/"
# As a text mentions a paper: an arXiv number, a DOI or a number of the IACR's archive.
MENTION = re.compile(
    rf"(?:{_ARXIV})(?P<arxiv>\d{{4}}\.\d{{4,5}})"
    rf"|(?:{_DOI})(?P<doi>10\.\d{{4,}}/[\w.()/:%-]*\w)"
    rf"|(?:{_IACR})(?P<iacr>\d{{4}}/\d+)",
    flags=re.IGNORECASE,
)


@dataclass(frozen=True)
class Paper:
    """One paper: its key in the bibliography, and the texts that identify it."""

    key: str
    names: frozenset[str]


def identity(mention: str) -> str:
    """Return one text for all ways to write a paper's address: "arxiv:N", "doi:N", "iacr:N".

    Any other address is returned without scheme and closing slash.
    """
    found = MENTION.match(mention)
    if found is None:
        return re.sub(r"^https?://(www\.)?", "", mention).rstrip("/")
    (kind,) = [kind for kind, value in found.groupdict().items() if value]
    return f"{kind}:{unquote(found[kind]).lower()}"


def read_bibliography(text: str) -> list[Paper]:
    """Return the papers of a BibTeX file that has one field a line.

    Raises ValueError if two entries share a key or an address.
    """
    papers: list[Paper] = []
    seen: dict[str, str] = {}
    for key, body in _ENTRY.findall(text):
        fields = dict(_FIELD.findall(body))
        names = {f"arxiv:{fields['eprint']}"} if "eprint" in fields else set()
        names |= {f"doi:{fields['doi'].lower()}"} if "doi" in fields else set()
        names |= {identity(fields["url"])} if "url" in fields else set()
        for name in (f"key {key}", *sorted(names)):
            if name in seen:
                raise ValueError(f"references.bib: {key} and {seen[name]} are both {name}")
            seen[name] = key
        papers.append(Paper(key, frozenset(names)))
    return papers


class Bibliography:
    """The papers of references.bib, and those added from "Further reading"."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._keys: dict[str, str] = {}
        for paper in read_bibliography(text):
            self._keys.update(dict.fromkeys(paper.names, paper.key))
        self._used = set(self._keys.values())

    def key(self, mention: str) -> str | None:
        """Return the key of a paper by its address, as `identity` takes it; None if unknown."""
        return self._keys.get(identity(mention))

    def add_reading(self, markdown: str) -> None:
        """Add the papers that a "Further reading" cites by authors, title, address and year."""
        for item in re.split(r"^- ", markdown, flags=re.MULTILINE):
            for found in _READING.finditer(" ".join(item.split())):
                if found["authors"] and self.key(found["url"]) is None:
                    self._add(found["authors"], found["title"], found["url"], found["year"])

    def _add(self, authors: str, title: str, url: str, year: str) -> None:
        people = bibtex_names(authors)
        surname = people.split(" and ")[0].split(",")[0]
        key = re.sub(r"[^a-z]", "", surname.lower()) + year
        while key in self._used:
            key += "x"
        fields = {"author": people, "title": f"{{{title}}}", "year": year, "url": url}
        lines = "".join(f"  {name} = {{{value}}},\n" for name, value in fields.items())
        self.text += f"\n@misc{{{key},\n{lines}}}\n"
        self._keys[identity(url)] = key
        self._used.add(key)


def bibtex_names(authors: str) -> str:
    """Turn "J. H. Ro, A. Suresh and others" into BibTeX's "Ro, J. H. and Suresh, A. and others"."""
    cleaned = re.sub(r"^[\s\-,]*(?:and\s+)?", "", authors.strip())
    people = []
    for name in re.split(r",\s*(?:and\s+)?|\s+and\s+", cleaned):
        first, _, last = name.strip().rpartition(" ")
        # Initials end with a full stop; everything after the last initial is the surname.
        found = re.match(r"((?:\S+\.[\s-]*)+)\s+(\S.*)$", name.strip())
        if found:
            first, last = found[1], found[2]
        people.append(f"{last}, {first}" if first else last)
    return " and ".join(people)
