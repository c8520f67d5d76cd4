"""Editions in other languages: the cutting of text, the files, and the course's own editions."""

import shutil
from pathlib import Path

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedlab_utils.course.checkout import Course
from fedlab_utils.course.translation.__main__ import main
from fedlab_utils.course.translation.catalogue import Catalogue
from fedlab_utils.course.translation.edition import Edition, editions
from fedlab_utils.course.translation.paragraphs import has_words, paragraphs, pieces, translate
from fedlab_utils.errors import FedlabError

ROOT = Path(__file__).resolve().parents[3]
COURSE = Course(ROOT)
CHAPTER = """\
# %% [markdown]
# # 01 · Tiny
# *Does it work?*
#
# {{badges}} About {{minutes_run}}.
#
# See [the next](02_next.ipynb), [data](../datasets/README.md) and `x_test`.

# %% tags=["colab"]
# The build writes this cell.

# %%
1 + 1
"""
README = "\n".join(
    f"<!-- {name}:begin -->\n<!-- {name}:end -->" for name in ("badges", "chapters", "results")
)


@given(st.lists(st.sampled_from(["a b", "\n", "\n\n", "```\n", "$$\n", "word", " ", "# "])))
def test_pieces_are_the_text_again(parts: list[str]) -> None:
    text = "".join(parts)
    assert "".join(pieces(text)) == text
    assert translate(text, lambda paragraph: paragraph) == text


def test_a_fenced_block_is_one_piece_and_is_not_translated() -> None:
    text = "One two.\n\n```python\na = 1\n\nb = 2\n```\n\n$$\nx\n\ny\n$$\n\nThree."
    assert paragraphs([text]) == ["One two.", "Three."]
    assert translate(text, str.upper) == text.replace("One two", "ONE TWO").replace(
        "Three", "THREE"
    )


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("A word", True),
        ("`code` only", True),
        ("`code`", False),
        ("    python -m course", False),
        ("{{badges}}", False),
        ("</details>", False),
        ("$a + b$", False),
        ("<summary>Answer</summary>", True),
        ("3.2", False),
    ],
)
def test_what_has_words(text: str, spoken: bool) -> None:
    assert has_words(text) is spoken


def test_a_catalogue_keeps_its_file_and_notices_changes(tmp_path: Path) -> None:
    path = tmp_path / "zh" / "01.po"
    texts = ['# Title\n*A "question"?*', "The server adds up `x` and $y$ of every bank.", "Gone."]
    made = Catalogue.read(path, "zh")
    made.update(texts)
    made.fill({texts[0]: '# 标题\n*一个 "问题"？*', texts[2]: "没了。"})
    made.write()
    again = Catalogue.read(path, "zh")
    assert again.say(texts[0]) == '# 标题\n*一个 "问题"？*'
    assert again.say(texts[1]) == texts[1]
    assert len(again.problems(texts)) == 1 and "not translated" in again.problems(texts)[0]

    again.fill({texts[1]: "服务器把每家银行的 `z` 加起来。"})
    (problem,) = again.problems(texts)
    assert "$y$" in problem and "`x`" in problem and "`z`" in problem
    again.fill({texts[1]: "服务器把每家银行的 `x` 和 $y$ 加起来。"})
    assert again.problems(texts) == []

    # A paragraph that has changed a little, or is gone, is not translated by what was there.
    changed = [texts[0], texts[1].replace("every", "each")]
    assert any("no longer" in line for line in again.problems(changed))
    again.update(changed)
    again.write()
    third = Catalogue.read(path, "zh")
    assert third.say(changed[1]) == changed[1] and "fuzzy" in path.read_text(encoding="utf-8")
    assert "没了" not in path.read_text(encoding="utf-8")
    third.fill({changed[1]: "`x` $y$ 每家银行"})
    assert third.problems(changed) == []


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "01.po"
    path.write_text('msgid "a"\nmsgstr "b\nnonsense\n', encoding="utf-8")
    with pytest.raises(FedlabError, match=r"01\.po is not a translation file"):
        Catalogue.read(path, "zh")


def test_an_unknown_paragraph_cannot_be_filled(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        Catalogue.read(tmp_path / "01.po", "zh").fill({"nobody": "没有人"})


@pytest.fixture
def tiny(tmp_path: Path) -> Course:
    """A course of two chapters; the first is built, as far as an edition looks at it."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "README.md").write_text(f"# Course\n\n[data](datasets/README.md)\n\n{README}\n")
    source = tmp_path / "chapters" / "src"
    source.mkdir(parents=True)
    (tmp_path / "datasets").mkdir()
    (source / "01_tiny.py").write_text(CHAPTER)
    (source / "02_next.py").write_text(CHAPTER.replace("01 · Tiny", "02 · Next"))
    course = Course(tmp_path)
    for name in course.names([]):
        course.state.record(name, [], 30.0, 500.0)
        notebook = course.expected(name, solution=False)
        notebook.cells[-1].execution_count = 1
        notebook.cells[-1].outputs = [nbformat.v4.new_output("stream", text="2\n")]
        nbformat.write(notebook, course.derived(name, solution=False))
    course.state.save()
    return course


def test_an_edition_from_start_to_end(tiny: Course, capsys: pytest.CaptureFixture[str]) -> None:
    root = ["--root", str(tiny.root)]
    assert editions(tiny) == []
    assert main(["01", "README", *root]) == 1
    assert "not translated: '# 01 · Tiny" in capsys.readouterr().out
    (edition,) = editions(tiny)
    assert edition.language == "zh" and edition.texts() == ["01_tiny", "README"]

    words = {
        "# 01 · Tiny\n*Does it work?*": "# 01 · 小\n*行吗？*",
        "{{badges}} About {{minutes_run}}.": "{{badges}} 约 {{minutes_run}}。",
        "See [the next](02_next.ipynb), [data](../datasets/README.md) and `x_test`.": (
            "见[下一章](02_next.ipynb)、[数据](../datasets/README.md)和 `x_test`。"
        ),
    }
    for name in edition.texts():
        catalogue = edition.catalogue(name)
        catalogue.fill(
            words if name != "README" else {t: f"中文 {t}" for t in edition.originals("README")}
        )
        catalogue.write()
    assert any("differs from its source" in line for line in edition.problems())
    assert main(root) == 0
    assert edition.problems() == []

    original = nbformat.read(tiny.derived("01_tiny", solution=False), as_version=4)
    translated = nbformat.read(tiny.chapters / "zh" / "01_tiny.ipynb", as_version=4)
    text = "\n".join(cell.source for cell in translated.cells)
    # The next chapter has no translation; the data lie one folder further up.
    assert "(../02_next.ipynb)" in text and "(../../datasets/README.md)" in text
    assert "chapters/zh/01_tiny.ipynb" in text and "中文 under 1 min" in text
    assert code(translated) == code(original)
    readme = (tiny.chapters / "zh" / "README.md").read_text(encoding="utf-8")
    assert "[01 · 小](01_tiny.ipynb)" in readme and "(../../chapters/02_next.ipynb)" in readme
    assert "中文 02 · Next" in readme and "](../../datasets/README.md)" in readme

    # A sentence that the original gains is noticed.
    source = tiny.source("01_tiny")
    source.write_text(source.read_text().replace("Does it work?", "Does it work at all?"))
    assert any("Does it work at all" in line for line in edition.problems())


def test_the_command_names_what_it_cannot_find(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["99", "--root", str(ROOT)]) == 1
    assert "no chapter '99'" in capsys.readouterr().err


def code(notebook: nbformat.NotebookNode) -> list[tuple[str, str, object]]:
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [(cell.id, cell.source, cell.outputs) for cell in cells]


# --- the course's own editions ---


def test_the_chinese_edition_has_what_it_promises() -> None:
    texts = {text[:2] for text in Edition(COURSE, "zh").texts()}
    assert {"00", "01", "02", "03", "04", "05", "10", "RE"} <= texts


@pytest.mark.parametrize("edition", editions(COURSE), ids=lambda edition: edition.language)
def test_no_paragraph_is_left_behind(edition: Edition) -> None:
    assert edition.problems() == []


@pytest.mark.parametrize("edition", editions(COURSE), ids=lambda edition: edition.language)
def test_code_and_outputs_are_those_of_the_original(edition: Edition) -> None:
    for name in edition.names():
        path = edition.folder / f"{name}.ipynb"
        translated = nbformat.read(path, as_version=4)
        nbformat.validate(translated)
        original = nbformat.read(COURSE.derived(name, solution=False), as_version=4)
        assert code(translated) == code(original)


def test_the_chinese_text_is_chinese() -> None:
    edition = Edition(COURSE, "zh")
    for name in edition.texts():
        catalogue = edition.catalogue(name)
        for paragraph in edition.originals(name):
            text = catalogue.say(paragraph)
            assert any("一" <= sign <= "鿿" for sign in text), (name, text)
