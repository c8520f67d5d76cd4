"""The bibliography: every paper that is cited is in it, whichever way its address is written."""

import re
from pathlib import Path

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedlab_utils.course.book import chapter
from fedlab_utils.course.book.papers import (
    MENTION,
    Bibliography,
    bibtex_names,
    identity,
    read_bibliography,
)
from fedlab_utils.course.build import Course

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "chapters" / "book" / "references.bib").read_text(encoding="utf-8")


def test_the_bibliography_reads_and_has_facts() -> None:
    papers = read_bibliography(TEXT)
    assert len(papers) == TEXT.count("\n@") >= 100
    assert all(paper.names for paper in papers)  # each has an address
    keys = re.findall(r"^@\w+\{(.+),$", TEXT, flags=re.MULTILINE)
    assert keys == sorted(keys) and not re.search(r"abstract|note", TEXT, flags=re.IGNORECASE)


def test_every_paper_that_a_docstring_names_is_in_the_bibliography() -> None:
    known = Bibliography(TEXT)
    unknown = {
        f"{path.relative_to(ROOT)}: {found[0]}"
        for path in (ROOT / "fedlab_utils").rglob("*.py")
        for found in MENTION.finditer(path.read_text(encoding="utf-8"))
        if known.key(found[0]) is None and "/book/" not in path.as_posix()
    }
    assert unknown == set(), "add them to chapters/book/references.bib"


@pytest.mark.parametrize("name", Course(ROOT).names([]))
def test_every_paper_of_a_further_reading_gets_an_entry(name: str) -> None:
    path = Course(ROOT).derived(name, solution=False)
    reading = chapter.reading(nbformat.read(path, as_version=4))
    known = Bibliography(TEXT)
    known.add_reading(reading)
    for mention in MENTION.finditer(reading):
        assert known.key(mention[0]), f"{name}: {mention[0]}"


def test_a_new_paper_is_added_from_the_reading_list() -> None:
    known = Bibliography("@misc{doe2020,\n  title = {T},\n  url = {https://a.org/b/},\n}\n")
    known.add_reading(
        "- J. H. Ro, Z.-H. Zhou and others, [Fed\n  JAX](https://arxiv.org/abs/1234.56789) (2021), "
        "and F. Ng, [P](https://x.org/p) (2024): more.\n"
        "- A. Doe, [Old](http://www.a.org/b) (2020).\n"
        "- PyTorch, [No year](https://pytorch.org): not a paper."
    )
    assert known.key("arXiv:1234.56789") == "ro2021" and known.key("https://x.org/p/") == "ng2024"
    assert "author = {Ro, J. H. and Zhou, Z.-H. and others}" in known.text
    assert "title = {{Fed JAX}}" in known.text and "year = {2021}" in known.text
    assert known.text.count("@misc") == 3 and "pytorch" not in known.text
    assert [paper.key for paper in read_bibliography(known.text)] == ["doe2020", "ro2021", "ng2024"]


def test_two_papers_of_one_author_and_year_get_two_keys() -> None:
    known = Bibliography("")
    known.add_reading("- A. Li, [X](https://x.org) (2021).\n- B. Li, [Y](https://y.org) (2021).")
    assert len({known.key("https://x.org"), known.key("https://y.org")}) == 2


def test_a_paper_that_is_there_twice_is_refused() -> None:
    one = "@misc{a,\n  eprint = {1234.5678},\n}\n"
    with pytest.raises(ValueError, match=r"b and a are both arxiv:1234\.5678"):
        read_bibliography(one + one.replace("{a,", "{b,"))
    with pytest.raises(ValueError, match="key a"):
        read_bibliography(one + one.replace("1234", "1235"))


@given(st.from_regex(r"\d{4}\.\d{4,5}", fullmatch=True))
def test_an_arxiv_number_is_the_same_paper_in_every_spelling(number: str) -> None:
    forms = (
        "arXiv:",
        "arXiv: ",
        "https://arxiv.org/abs/",
        "http://www.arxiv.org/pdf/",
        "arxiv.org/abs/",
    )
    assert {identity(form + number) for form in forms} == {f"arxiv:{number}"}


@pytest.mark.parametrize(
    ("mention", "name"),
    [
        ("doi:10.1145/3133956.3133982", "doi:10.1145/3133956.3133982"),
        ("https://doi.org/10.1016/0002-9149%2889%2990524-9", "doi:10.1016/0002-9149(89)90524-9"),
        ("doi.org/10.1109/TKDE.2021.3112126", "doi:10.1109/tkde.2021.3112126"),
        ("https://eprint.iacr.org/2017/281", "iacr:2017/281"),
        ("https://www.usenix.org/a/b/", "usenix.org/a/b"),
    ],
)
def test_addresses(mention: str, name: str) -> None:
    assert identity(mention) == name


def test_a_mention_ends_before_the_full_stop() -> None:
    text = "see doi:10.1007/978-3-319-70694-8_15. And (https://doi.org/10.1109/ICDM.2008.17)."
    assert [found["doi"] for found in MENTION.finditer(text)] == [
        "10.1007/978-3-319-70694-8_15",
        "10.1109/ICDM.2008.17",
    ]


@pytest.mark.parametrize(
    ("written", "bibtex"),
    [
        ("C. Dwork and A. Roth", "Dwork, C. and Roth, A."),
        (", and G. Andrew and others", "Andrew, G. and others"),
        ("A. Roy Chowdhury, L. van der Maaten", "Roy Chowdhury, A. and van der Maaten, L."),
        ("OpenMined", "OpenMined"),
        ("Vargaftik and others", "Vargaftik and others"),
    ],
)
def test_names(written: str, bibtex: str) -> None:
    assert bibtex_names(written) == bibtex
