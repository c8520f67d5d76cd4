"""The source that the book is built from: links, docstrings, pages. Without Sphinx."""

import inspect
import json
from pathlib import Path

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fedlab_utils
from fedlab_utils.course.book import __main__ as command
from fedlab_utils.course.book import api, chapter, docstrings, html, links, pages
from fedlab_utils.course.book.papers import Bibliography
from fedlab_utils.course.book.prepare import prepare
from fedlab_utils.course.build import Course

ROOT = Path(__file__).resolve().parents[2]
COURSE = Course(ROOT)
PAGES = {"03": "03_fedavg.ipynb", "07": "07_secure.ipynb"}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    (folder / "old.md").write_text("from an earlier build")
    prepare(COURSE, folder)
    return folder


@pytest.mark.parametrize(
    ("text", "linked"),
    [
        ("see chapter 03.", "see [chapter 03](03_fedavg.ipynb)."),
        ("Chapters 03 to 07", "Chapters [03](03_fedavg.ipynb) to [07](07_secure.ipynb)"),
        (
            "chapters 03, 99 and\n07",
            "chapters [03](03_fedavg.ipynb), 99 and\n[07](07_secure.ipynb)",
        ),
        ("chapter\n03", "[chapter 03](03_fedavg.ipynb)"),
        ("chapter 99", "chapter 99"),
        ("`chapter 03`", "`chapter 03`"),
        ("$chapter 03$ and [chapter 03](x)", "$chapter 03$ and [chapter 03](x)"),
        ("# chapter 03", "# chapter 03"),
        ("```\nchapter 03\n```\nchapter 03", "```\nchapter 03\n```\n[chapter 03](03_fedavg.ipynb)"),
        ('<a title="chapter 03">', '<a title="chapter 03">'),
    ],
)
def test_chapters_are_linked_in_prose_only(text: str, linked: str) -> None:
    assert links.link_chapters(text, PAGES) == linked


def test_sections_are_named_and_linked() -> None:
    text = "## 7.4 Masks\nSection 7.4, sections 7.4 and 7.9, section 9.9."
    assert links.section_names(text) == ["7.4"]
    assert links.name_sections(text).startswith("(section-7.4)=\n## 7.4 Masks\n")
    assert links.link_sections(text, {"7.4"}) == (
        "## 7.4 Masks\n{ref}`Section 7.4 <section-7.4>`, sections {ref}`7.4 <section-7.4>` and "
        "7.9, section 9.9."
    )


@given(st.text(alphabet="chapter 03\n`$#[]()<>*", max_size=60))
def test_linking_changes_nothing_but_links(text: str) -> None:
    linked = links.link_chapters(text, PAGES)
    undone = linked.replace("](03_fedavg.ipynb)", "").replace("[chapter 03", "chapter 03")
    assert undone.split() == text.split() or "[" in text  # brackets of the text itself aside


def test_details_are_read_as_markdown() -> None:
    text = "<details><summary>Answer</summary>\nIt is `x`.\n</details>"
    assert (
        links.open_details(text) == "<details><summary>Answer</summary>\n\nIt is `x`.\n\n</details>"
    )


def test_a_page_has_links_and_citations_and_no_badges() -> None:
    cells = [
        nbformat.v4.new_markdown_cell("# 07 · T\n[![Open on Binder](b)](c)\n\nsee section 7.1"),
        nbformat.v4.new_code_cell("import sys", metadata={"tags": ["colab"]}),
        nbformat.v4.new_markdown_cell("## 7.1 S\nchapter 03"),
        nbformat.v4.new_code_cell(
            "x",
            outputs=[
                nbformat.v4.new_output("display_data", {"text/html": "<th></th><th>a</th>"}),
                nbformat.v4.new_output(
                    "display_data",
                    {"image/png": "aGVsbG8="},
                    metadata={"image/png": {"alt": "A curve."}},
                ),
            ],
        ),
        nbformat.v4.new_markdown_cell(
            "## Further reading\n- A, [P](https://arxiv.org/abs/1602.05629) (2017)."
        ),
    ]
    notebook = nbformat.v4.new_notebook(cells=cells)
    text = (ROOT / "chapters" / "book" / "references.bib").read_text(encoding="utf-8")
    context = chapter.Context(PAGES, frozenset(chapter.sections(notebook)), Bibliography(text))
    page = chapter.page(notebook, context)
    first, second, code, last = page.cells
    assert "Binder" not in first.source and "{ref}`section 7.1 <section-7.1>`" in first.source
    assert second.source == "(section-7.1)=\n## 7.1 S\n[chapter 03](03_fedavg.ipynb)"
    assert code.outputs[0].data["text/html"] == "<td></td><th>a</th>"
    assert last.source.endswith("(2017) {cite:p}`mcmahan2017`.")
    assert len(notebook.cells) == 5 and "Binder" in notebook.cells[0].source  # the original is kept
    # The SHA-256 of "hello".
    digest = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    assert chapter.alt_texts(notebook) == {digest: "A curve."}


@pytest.mark.parametrize(
    ("text", "rst"),
    [
        ("Returns a|b and *c* of x_.", r"Returns a\|b and \*c\* of x\_."),
        ("Uses `a|b` as is.", "Uses `a|b` as is."),
        ("Give `fewest`=1.", r"Give `fewest`\ =1."),
        ("Do:\n\n    a * b\n\nThen c.", "Do:\n\n::\n\n    a * b\n\nThen c."),
        ("Kinds:\n- one\n- two", "Kinds:\n\n- one\n- two"),
        ("Args:\n    a, b: both.", "Args:\n    a: see `b`.\n    b: both."),
        ("Args:\n    a: one\n        more.", "Args:\n    a: one\n        more."),
    ],
)
def test_docstrings_become_markup(text: str, rst: str) -> None:
    assert "\n".join(docstrings.to_rst(text.split("\n"))) == rst


def test_code_in_a_docstring_finds_what_it_names() -> None:
    names = {"fit": "p.federate.fit", "History": "p.federate.History"}
    assert docstrings.target("fit", names) == "p.federate.fit"
    assert docstrings.target("fl.fit(model, x=1)", names) == "p.federate.fit"
    assert docstrings.target("History.epsilon", names) == "p.federate.History.epsilon"
    assert docstrings.target("fits", names) is None and docstrings.target("a fit", names) is None


def test_pages_are_mended_for_screen_readers() -> None:
    page = (
        '<summary><span class="toctree-toggle" role="presentation"></span></summary>'
        '<dt class="sig sig-object py"><dl>\n<dd>a</dd>\n</dl></dt><dl><dt>t</dt><dd>d</dd></dl>'
    )
    mended = html.repair(page)
    assert mended.startswith('<summary aria-label="')
    assert '<span class="sig-lines">\n<span class="sig-line">a</span>\n</span></dt>' in mended
    assert mended.endswith("<dl><dt>t</dt><dd>d</dd></dl>")
    assert (
        html.fill_corners("<th>&nbsp;</th><th> </th><th>x</th>") == "<td></td><td></td><th>x</th>"
    )


def test_a_number_and_its_spread_stay_on_one_line() -> None:
    page = '<td>0.4 ± 0.1</td><td class="x"><p>1,200 ± 3</p></td><td>a ± b</td><p>1 ± 2</p>'
    assert html.repair(page) == page.replace(" ± ", "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}", 2)


def test_the_reference_covers_the_public_names(source: Path) -> None:
    found = api.packages(Path(fedlab_utils.__file__).parent)
    documented = {name for parts in found.values() for part in parts for name in part.names}
    assert set(fedlab_utils.__all__) <= documented
    assert not any("exercises" in package or "rivals.with" in package for package in found)
    index = (source / "reference" / "index.md").read_text(encoding="utf-8")
    for name in fedlab_utils.__all__:
        assert f"`fl.{name} <fedlab_utils." in index
    page = (source / "reference" / "fedlab_utils.federate.md").read_text(encoding="utf-8")
    assert ".. autofunction:: fedlab_utils.federate.fit" in page
    assert ".. autoclass:: fedlab_utils.federate.History\n   :members:" in page
    names = api.full_names(found)
    assert names["fit"] == "fedlab_utils.federate.fit" and "Client" not in names  # there are two
    assert all(
        inspect.getdoc(api.resolve(full)) for name, full in names.items() if name[0].islower()
    )


def test_the_source_of_the_book(source: Path) -> None:
    names = COURSE.names([])
    assert not (source / "old.md").exists()
    written = {path.name for path in (source / "chapters").iterdir()}
    assert written == {f"{name}.ipynb" for name in names}
    facts = json.loads((source / "book.json").read_text(encoding="utf-8"))
    assert facts["address"] == COURSE.repository.address
    assert set(facts["figures"]) == {f"chapters/{name}" for name in names}
    table = (source / "chapters-table.txt").read_text(encoding="utf-8")
    assert all(f"(chapters/{name}.ipynb)" in table for name in names)
    glossary = (source / "glossary.md").read_text(encoding="utf-8")
    assert "[chapter 07](chapters/07_secure_aggregation.ipynb)" in glossary


def test_results_hold_every_saved_table(source: Path) -> None:
    text = (source / "results.md").read_text(encoding="utf-8")
    for path in COURSE.results.glob("*.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        assert f"### {record['title']}\n" in text
    assert "0.037" in text or "±" in text
    only = {
        "01_centralised_baseline": nbformat.read(
            COURSE.derived("01_centralised_baseline", solution=False), as_version=4
        )
    }
    assert "## 02 ·" not in pages.results_page(COURSE, only)


def test_glossary_is_sorted_and_short() -> None:
    text = (ROOT / "chapters" / "book" / "glossary.md").read_text(encoding="utf-8")
    body = text.split("```{glossary}\n")[1].split("```")[0]
    entries = [block.split("\n") for block in body.strip().split("\n\n")]
    terms = [entry[0] for entry in entries]
    assert terms == sorted(terms, key=str.lower) and len(terms) >= 40
    assert all("(chapter " in " ".join(entry).replace("\n", " ") for entry in entries)


def test_the_command_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(command, "NEEDS", ("json", "no_such_module", "no_such.sub"))
    assert command.main([]) == 1
    assert "needs no_such_module, no_such.sub: run `make book`" in capsys.readouterr().err
    monkeypatch.setattr(command, "NEEDS", ())
    monkeypatch.setattr(command.subprocess, "call", lambda arguments: int("-W" not in arguments))
    assert command.main(["--root", str(ROOT), "--folder", str(tmp_path)]) == 0
    assert "html/index.html" in capsys.readouterr().out
    assert command.main(["--root", str(tmp_path)]) == 1  # no checkout
