"""The book in a browser: accessible, quiet, usable by keyboard, on a phone and in the dark."""

from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

pytestmark = pytest.mark.browser
# One of each type; the chapter has every kind of output.
TYPES = [
    *("index.html", "chapters/00_welcome.html", "results.html", "glossary.html"),
    *("references.html", "reference/fedlab_utils.models.html", "search.html"),
]
LARGE = ("results.html", "dark")
PHONE = {"width": 390, "height": 844}


def opened(browser: Any, book: Path, page: str, **options: Any) -> Any:
    """A page of the book; a request that leaves this machine or an error in it fails the test."""
    context = browser.new_context(**options)
    tab = context.new_page()
    tab.faults = []
    tab.on("pageerror", lambda error: tab.faults.append(str(error)))
    tab.on("request", lambda request: _inside(tab, request.url))
    tab.goto((book / page).as_uri())
    tab.wait_for_load_state("load")
    return tab


def _inside(tab: Any, address: str) -> None:
    if not address.startswith(("file:", "data:", "blob:")):
        tab.faults.append(address)


@pytest.mark.parametrize(
    ("page", "mode"),
    # The results are many tables like the one of the index, so one mode is enough of them.
    [(page, mode) for page in TYPES for mode in ("light", "dark") if (page, mode) != LARGE],
)
def test_axe_finds_no_serious_barrier(browser: Any, book: Path, page: str, mode: str) -> None:
    tab = opened(browser, book, page, color_scheme=mode)
    assert tab.evaluate("document.documentElement.dataset.theme") == mode
    tab.evaluate(files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8"))
    # A colour on its way to another is nobody's.
    tab.evaluate("Promise.allSettled(document.getAnimations().map((a) => a.finished))")
    tab.wait_for_timeout(300)
    # What differs in the dark is colours.
    rules = "['color-contrast']" if mode == "dark" else "undefined"
    options = f"{{resultTypes: ['violations'], runOnly: {rules}}}"
    found = tab.evaluate(f"axe.run(document, {options})")["violations"]
    serious = [
        f"{item['id']}: {item['nodes'][0]['html'][:200]}: {item['nodes'][0]['failureSummary']}"
        for item in found
        if item["impact"] in ("serious", "critical")
    ]
    assert serious == [] and tab.faults == []
    tab.context.close()


def test_pages_fit_a_phone(browser: Any, book: Path) -> None:
    for page in [
        *TYPES,
        "reference/fedlab_utils.federate.html",
        "chapters/10_forests_and_one_class.html",
    ]:
        tab = opened(browser, book, page, viewport=PHONE)
        assert tab.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], page
        assert tab.faults == []
        tab.context.close()


def test_formulas_are_set_without_the_network(browser: Any, book: Path) -> None:
    tab = opened(browser, book, "chapters/10_forests_and_one_class.html")
    tab.wait_for_selector("mjx-container", state="attached", timeout=30_000)
    assert tab.locator("mjx-container mjx-assistive-mml").count() > 10  # for screen readers
    assert tab.locator("mjx-merror").count() == 0 and tab.faults == []
    tab.context.close()


@pytest.fixture
def address(book: Path) -> Iterator[str]:
    """The book as a web server has it: a search reads the pages it found to quote them."""
    handler = partial(QuietHandler, directory=str(book))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


def test_search_finds_a_chapter(browser: Any, address: str) -> None:
    context = browser.new_context()
    tab = context.new_page()
    outside = []
    tab.on("request", lambda r: None if r.url.startswith(address) else outside.append(r.url))
    tab.goto(f"{address}search.html?q=isolation+forest")
    tab.wait_for_selector("#search-results li p.context", timeout=30_000)  # a quotation
    found = tab.locator("#search-results li a").evaluate_all("links => links.map(a => a.href)")
    assert any("10_forests_and_one_class" in link for link in found) and outside == []
    context.close()


def test_keyboard_reaches_everything_and_shows_where_it_is(browser: Any, book: Path) -> None:
    tab = opened(browser, book, "chapters/00_welcome.html")
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.textContent").strip() == "Skip to main content"
    tab.keyboard.press("Enter")
    seen = set()
    for _ in range(60):
        tab.keyboard.press("Tab")
        seen.add(
            tab.evaluate(
                """() => {
                    const e = document.activeElement, style = getComputedStyle(e);
                    const visible = style.outlineStyle !== 'none' || style.boxShadow !== 'none';
                    const name = e.tagName === 'SUMMARY' ? e.textContent.trim() : e.tagName;
                    return `${name} ${visible}`;
                }"""
            )
        )
    assert {"A true", "BUTTON true", "Answer true"} <= seen
    assert not any(entry.endswith("false") for entry in seen - {"BODY false"})
    # A folded answer opens by keyboard.
    summary = tab.locator("summary", has_text="Answer").first
    summary.focus()
    tab.keyboard.press("Enter")
    assert summary.evaluate("s => s.parentElement.open")
    tab.context.close()
