"""What the slides show of a chapter, as data and as HTML. Without a browser."""

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest

from fedlab_utils.course.build import Course
from fedlab_utils.course.slides import __main__ as command
from fedlab_utils.course.slides import outline, render, sentences, tables

COURSE = Course(Path(__file__).resolve().parents[2])
TABLE = "<style>x</style><table><tbody>" + "<tr><td>1</td></tr>" * 12 + "</tbody></table>"


def code(source: str, *outputs: Any, tags: tuple[str, ...] = ()) -> Any:
    metadata = {"tags": list(tags)} if tags else {}
    return nbformat.v4.new_code_cell(source, outputs=list(outputs), metadata=metadata)


def shown(kind: str, value: str, alt: str = "") -> Any:
    metadata = {kind: {"alt": alt}} if alt else {}
    return nbformat.v4.new_output(
        "display_data", {kind: value, "text/plain": "p"}, metadata=metadata
    )


def printed(text: str) -> Any:
    return nbformat.v4.new_output("stream", text=text)


def notebook(*cells: Any) -> Any:
    texts = (
        nbformat.v4.new_markdown_cell(cell) if isinstance(cell, str) else cell for cell in cells
    )
    return nbformat.v4.new_notebook(cells=list(texts))


CHAPTER = notebook(
    "# 07 · Sums\n*Can it add?*\n\nYou will\n\n- **add** numbers;\n\nYou need: nothing.",
    code("import sys", tags=("colab",)),
    "## 7.1 A ring\n\nNumbers wrap around. They do so in silence. Look:",
    code("1 + 1", printed("2\n")),
    "That is right. And more.",
    "## 7.2 A picture\n\nWe add. A **share** hides it.\n\n$$ a + b $$\n\n"
    "We add. The first of both:",
    code("plot()", shown("image/png", "QUJD", "A rising line.")),
    "It rises.",
    code("plot()", shown("image/png", "QUJE", "Left out."), tags=("no-slide",)),
    "## 7.3 A table\n\nOne. Here it is:",
    code("long\n" * 20, printed("x"), tags=("slide",)),
    code("table", shown("text/html", TABLE)),
    "## What we have built\n\n- A sum.",
    "## Check yourself\n\n**Why a\nring?**\n\n"
    "<details><summary>Answer</summary>\nMasks cancel.\n</details>",
    "## Exercises\n\n**Exercise 07.1** (easy) Write `f`: it adds. Return it.\n\nMore.",
    "<details><summary>For instructors</summary>\n\n- Ask **this**.\n\n</details>",
)


def test_a_chapter_becomes_groups_of_slides() -> None:
    opening, ring, picture, table, built, questions, exercises = outline.slides(CHAPTER)
    assert opening[0].title == "07 · Sums" and opening[0].text == "Can it add?"
    assert "Ask **this**" in opening[0].notes and "<" not in opening[0].notes
    assert opening[1].text == "- **add** numbers;"
    # Few words leave room for the first result.
    (only,) = ring
    assert only.title == "7.1 A ring" and only.text.startswith("Numbers wrap around.")
    assert (only.code, only.printed, only.takeaway) == ("1 + 1", "2", "That is right.")
    first, figure = picture
    assert first.text == "We add. A **share** hides it.\n\n$$ a + b $$"
    assert (figure.figure, figure.alt) == ("QUJD", "A rising line.")
    assert figure.kicker == "7.2 A picture" and figure.text == "The first of both."
    assert figure.takeaway == "It rises."
    tagged, cut = table
    assert tagged.code.startswith("long") and "2 more rows" in cut.table
    assert built[0].text == "- A sum."
    assert questions[0].text == "**Why a ring?**" and questions[0].answer == "Masks cancel."
    assert exercises[0].text == "- **Exercise 07.1** (easy) Write `f`: it adds. Return it."


@pytest.mark.parametrize("name", COURSE.names([]))
def test_every_chapter_makes_a_talk(name: str) -> None:
    book = nbformat.read(COURSE.derived(name, solution=False), as_version=4)
    groups = outline.slides(book)
    everything = [slide for group in groups for slide in group]
    assert 8 <= len(everything) <= 70 and len(groups) >= 6
    assert everything[0].notes and not any(slide.notes for slide in everything[1:])
    numbered = [part.title for part in outline.sections(book) if part.title[0].isdigit()][1:]
    assert [group[0].title for group in groups if group[0].title in numbered] == numbered
    for slide in everything:
        assert slide.text or slide.figure or slide.table or slide.code or slide.answer, slide
        assert not slide.figure or len(slide.alt) > 20
        assert len(slide.text.replace("|", " ").split()) <= 190 and "{{" not in slide.text
        assert len(slide.code.splitlines()) <= outline.MAX_CODE


def test_sentences() -> None:
    assert (
        sentences.lead("One two. Three, e.g. `x`. Four looks like this:")
        == "One two. Three, e.g. `x`."
    )
    assert sentences.lead("Only this leads on:") == "Only this leads on."
    assert sentences.lead("A b c. D e f. G h i.", words=6) == "A b c. D e f."
    assert sentences.tail("A b c. D e f. G h i:", words=6) == "D e f. G h i."
    assert sentences.takeaway("It is so. More.") == "It is so."
    assert sentences.takeaway("And now:") == "" == sentences.takeaway("long " * 50)
    text = (
        "First *one*.\n\n- a list\n\n$$ x $$\n\nwhere it goes on. Then B.\n\n| a |\n|---|\n| 1 |\n"
    )
    assert sentences.paragraphs(text) == ["First *one*.", "Then B."]
    assert sentences.formulas(text) == ["$$ x $$"]
    assert sentences.tables(text) == ["| a |\n|---|\n| 1 |\n"]
    found = sentences.key_sentences(
        ["A **b** c. It is **d**. Plain. **E** f g:", "**Exercise 1** g."]
    )
    assert found == ["A **b** c.", "**E** f g."]


def test_tables_are_cut() -> None:
    assert tables.cut("no table") == ""
    short = '<table border="1"><tr><th>&nbsp;</th><th>a</th></tr></table>'
    assert tables.cut(f"<div>{short}</div>") == short.replace("<th>&nbsp;</th>", "<td></td>")
    long = tables.cut(TABLE)
    assert (
        long.count("<tr") == tables.MAX_ROWS and "and 2 more rows" in long and "style" not in long
    )


def test_markdown_tables_are_cut() -> None:
    head = "| a | b |\n| --- | --- |\n"
    assert tables.cut_markdown(head + "| 1 | 2 |\n") == head + "| 1 | 2 |"
    long = tables.cut_markdown(head + "| 1 | 2 |\n" * 13)
    assert long.count("| 1 |") == tables.MAX_ROWS and long.endswith(
        "\n\nand 3 more rows in the chapter"
    )
    wordy = tables.cut_markdown(head + f"| {'word ' * 60} | x |\n" * 4)
    assert wordy.count("| x |") == 2 and "and 2 more rows" in wordy


def test_a_deck_is_one_page_of_local_parts() -> None:
    page = render.deck("07 · A < B", outline.slides(CHAPTER), "The course")
    assert "<title>07 · A &lt; B</title>" in page and page.count('<section class="opening">') == 1
    assert 'alt="A rising line."' in page and re.search(r"\\\[\s*a \+ b\s*\\\]", page)
    assert '<div class="answer fragment">' in page and '<aside class="notes">' in page
    assert not re.search(r"""(?:src|href)=["'](?:https?:)?//""", page)
    link = render.deck("T", [[outline.Slide("", text="see [chapter 03](03.ipynb)")]], "")
    assert "see chapter 03" in link and "<a " not in link
    listed = render.index("The course", {"07.html": "07 · Sums"})
    assert '<a href="07.html">07 · Sums</a>' in listed


def test_the_command_makes_decks_with_their_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder, file in (("reveal/dist", "reveal.js"), ("reveal/plugin/notes", "notes.js")):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / file).write_text("//")
    fonts = tmp_path / "mathjax" / "output" / "chtml" / "fonts"
    fonts.mkdir(parents=True)
    (tmp_path / "mathjax" / "tex-chtml.js").write_text("//")
    parts = {"sphinx_revealjs": "reveal", "sphinx-mathjax-offline": "mathjax"}
    monkeypatch.setattr(command, "folder_in", lambda package, below: tmp_path / parts[package])
    made = command.make(COURSE, ["00_welcome"], tmp_path / "slides")
    assert [path.name for path in made] == ["00_welcome.html"]
    page = made[0].read_text(encoding="utf-8")
    for part in re.findall(
        r'(?:src|href)="(assets/(?:reveal/dist/reveal.js|mathjax|deck)[^"]*)"', page
    ):
        assert (tmp_path / "slides" / part).exists(), part
    monkeypatch.setattr(command, "folder_in", lambda package, below: None)
    assert command.main(["00", "--root", str(COURSE.root)]) == 1
    assert "run `make slides`" in capsys.readouterr().err


def test_folders_in_packages() -> None:
    assert command.folder_in("fedlab_utils", "course") == Path(command.__file__).parents[1]
    assert command.folder_in("no_such_package", "x") is None
