"""The built book: no fault while building, nothing from the network, figures described, no dead
link. Without Sphinx these tests are skipped; `make book` installs it."""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from fedlab_utils.course.build import Course

pytestmark = pytest.mark.browser
ROOT = Path(__file__).resolve().parents[2]
LOADS = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}


class Page(HTMLParser):
    """What a page loads, links to and names."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.images: list[dict[str, str]] = []
        self.headings: list[int] = []
        self._in_article = False  # outside is a second title, for print only
        self.feed(text)

    def handle_endtag(self, tag: str) -> None:
        self._in_article = self._in_article and tag != "article"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.ids |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag in LOADS and values.get("rel") not in (
            "canonical",
            "index",
            "search",
            "next",
            "prev",
        ):
            self.loads.append(values.get(LOADS[tag], ""))
        if tag == "img":
            self.images.append(values)
        self._in_article = self._in_article or tag == "article"
        if self._in_article and re.fullmatch(r"h[1-6]", tag):
            self.headings.append(int(tag[1]))


@pytest.fixture(scope="module")
def pages(book: Path) -> dict[Path, Page]:
    return {path: Page(path.read_text(encoding="utf-8")) for path in sorted(book.rglob("*.html"))}


def test_every_chapter_and_page_is_there(book: Path, pages: dict[Path, Page]) -> None:
    names = {path.relative_to(book).as_posix() for path in pages}
    assert {f"chapters/{name}.html" for name in Course(ROOT).names([])} <= names
    assert {"index.html", "results.html", "glossary.html", "references.html"} <= names
    assert {"search.html", "reference/index.html", "reference/fedlab_utils.federate.html"} <= names
    assert (book / "searchindex.js").stat().st_size > 10_000


def test_nothing_is_loaded_from_the_network(book: Path, pages: dict[Path, Page]) -> None:
    outside = [
        (path.name, address)
        for path, page in pages.items()
        for address in page.loads
        if urlsplit(address).netloc
    ]
    assert outside == []
    for style in book.rglob("*.css"):
        text = style.read_text(encoding="utf-8", errors="ignore")
        assert not re.search(r"(?:@import|url\()\s*['\"]?(?:https?:)?//", text), style.name


def test_links_lead_somewhere(book: Path, pages: dict[Path, Page]) -> None:
    broken = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or not (parts.path or parts.fragment):
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchors = pages[target].ids if target in pages else None
            if not target.exists():
                broken.append(f"{path.relative_to(book)}: {link}")
            elif parts.fragment and anchors is not None and unquote(parts.fragment) not in anchors:
                broken.append(f"{path.relative_to(book)}: {link} (no such place)")
    assert broken == []


def test_every_figure_says_what_it_shows(book: Path, pages: dict[Path, Page]) -> None:
    silent, figures = [], 0
    for path, page in pages.items():
        for image in page.images:
            drawn = "_images" in image["src"]
            figures += drawn
            if "alt" not in image or (
                drawn and (len(image["alt"]) < 20 or "_images" in image["alt"])
            ):
                silent.append(f"{path.relative_to(book)}: {image['src']}")
    assert silent == [] and figures >= 20


def test_headings_are_in_order(book: Path, pages: dict[Path, Page]) -> None:
    for path, page in pages.items():
        if path.name == "search.html":  # has no article
            continue
        assert page.headings[:1] == [1] and page.headings.count(1) == 1, path.relative_to(book)
        steps = zip(page.headings, page.headings[1:], strict=False)
        assert all(new <= old + 1 for old, new in steps), path.relative_to(book)


def test_launch_buttons_come_from_the_address_in_pyproject(book: Path) -> None:
    repository = Course(ROOT).repository
    text = (book / "chapters" / "00_welcome.html").read_text(encoding="utf-8")
    where = f"{repository.owner}/{repository.name}"
    notebook = "chapters/00_welcome.ipynb"
    assert f"https://mybinder.org/v2/gh/{where}/main?urlpath=lab/tree/{notebook}" in text
    assert f"https://colab.research.google.com/github/{where}/blob/main/{notebook}" in text


def test_chapters_link_to_each_other_and_cite(book: Path) -> None:
    text = (book / "chapters" / "10_forests_and_one_class.html").read_text(encoding="utf-8")
    assert 'href="07_secure_aggregation.html"' in text and 'href="#section-10-6"' in text
    assert re.search(r'href="\.\./references\.html#id\d+"', text)
    assert "badge_logo" not in text and "google.colab" not in text


def test_the_reference_has_public_names_with_links_and_citations(book: Path) -> None:
    text = (book / "reference" / "fedlab_utils.federate.html").read_text(encoding="utf-8")
    assert 'id="fedlab_utils.federate.fit"' in text and "../references.html#" in text
    assert 'href="#fedlab_utils.federate.RoundAggregator"' in text
    assert "../chapters/03_fedavg_from_scratch.html" in text
    assert ">Args:" not in text and "`" not in re.sub(r"<[^>]+>", "", text).split("Contents")[-1]
