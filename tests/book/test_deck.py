"""The slides in a browser: everything fits, formulas are set, nothing comes from the network."""

from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.browser
LEAST = 0.6  # of the usual size; 34 px is the usual size
STATE = """[...document.querySelectorAll('.slides > section > section')].map((section) => {
  const before = section.parentElement.style.display;
  section.parentElement.style.display = section.style.display = 'block';
  const fits = section.scrollHeight <= 702 && section.scrollWidth <= section.clientWidth + 2;
  section.parentElement.style.display = before; section.style.display = '';
  return {fits, size: Number(section.dataset.size), text: section.textContent.slice(0, 60)};
})"""


def test_slides_fit_and_are_large_enough(browser: Any, slides: Path) -> None:
    tab = browser.new_page(viewport={"width": 1280, "height": 720})
    outside: list[str] = []
    tab.on(
        "request", lambda r: None if r.url.startswith(("file:", "data:")) else outside.append(r.url)
    )
    tab.on("pageerror", lambda error: outside.append(str(error)))
    for path in sorted(slides.glob("[0-9]*.html")):
        tab.goto(path.as_uri())
        tab.wait_for_selector("body[data-ready]", timeout=60_000)
        found = tab.evaluate(STATE)
        assert len(found) >= 8
        assert [s for s in found if not s["fits"] or s["size"] < LEAST] == [], path.name
        assert tab.locator("mjx-merror").count() == 0
    assert outside == []
    tab.close()


def test_a_talk_by_keyboard(browser: Any, slides: Path) -> None:
    tab = browser.new_page(viewport={"width": 1280, "height": 720})
    tab.goto((slides / "00_welcome.html").as_uri())
    tab.wait_for_selector("body[data-ready]", timeout=60_000)
    assert tab.locator("section.present h1").inner_text() == "00 · Welcome"
    shown = []
    for _ in range(60):
        tab.keyboard.press("Space")
        shown.append(tab.evaluate("Reveal.getCurrentSlide().innerText.slice(0, 30)"))
    assert any("What we have built" in text for text in shown)
    assert tab.evaluate("Reveal.isLastSlide()")
    images = tab.locator(".slides img")
    assert images.count() >= 1 and all(len(i.get_attribute("alt")) > 20 for i in images.all())
    tab.close()
