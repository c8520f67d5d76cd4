"""CITATION.cff is valid and agrees with the project; the contributor's files hold true."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# The schema of version 1.2.0: citation-file-format.github.io/1.2.0/schema.json.
REQUIRED = {"authors", "cff-version", "message", "title"}
ALLOWED = REQUIRED | {"abstract", "commit", "contact", "date-released", "doi", "identifiers"}
ALLOWED |= {"keywords", "license", "license-url", "preferred-citation", "references", "repository"}
ALLOWED |= {"repository-artifact", "repository-code", "type", "url", "version"}
ENTITY = {"address", "alias", "city", "country", "date-end", "date-start", "email", "fax", "name"}
ENTITY |= {"location", "orcid", "post-code", "region", "tel", "website"}
PERSON = {"address", "affiliation", "alias", "city", "country", "email", "family-names", "fax"}
PERSON |= {"given-names", "name-particle", "name-suffix", "orcid", "post-code", "region", "tel"}
PERSON |= {"website"}


def problems(data: Any) -> list[str]:
    """What the schema would complain about, of the fields that this project uses."""
    if not isinstance(data, dict):
        return ["no mapping"]
    found = [f"{key} is missing" for key in sorted(REQUIRED - data.keys())]
    found += [f"{key} is unknown" for key in sorted(data.keys() - ALLOWED)]
    texts = REQUIRED - {"authors"} | {"abstract", "license", "repository-code", "type"}
    for key in sorted(texts & data.keys()):
        if not isinstance(data[key], str) or not data[key].strip():
            found.append(f"{key} is no text")
    if data.get("cff-version") != "1.2.0":
        found.append("cff-version is not 1.2.0")
    if data.get("type", "software") not in ("software", "dataset"):
        found.append("type is neither software nor dataset")
    if not re.fullmatch(r"(https?|s?ftp)://.+", str(data.get("repository-code", "https://x"))):
        found.append("repository-code is no address")
    if isinstance(data.get("version", ""), float):
        found.append("version is read as a number: put it in quotes")
    authors = data.get("authors", [])
    if not isinstance(authors, list) or not authors:
        found.append("authors is no list")
    for author in authors if isinstance(authors, list) else []:
        entity = isinstance(author, dict) and "name" in author
        if not isinstance(author, dict) or not author.keys() <= (ENTITY if entity else PERSON):
            found.append(f"not an author: {author}")
    keywords = data.get("keywords", ["x"])
    if not keywords or len(set(keywords)) != len(keywords):
        found.append("keywords are empty or repeat")
    return found


def test_citation_is_valid_and_agrees_with_the_project() -> None:
    data = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert problems(data) == []
    assert data["version"] == PROJECT["version"]
    assert data["license"] == PROJECT["license"]
    assert data["repository-code"] == PROJECT["urls"]["Repository"]


GOOD = {"cff-version": "1.2.0", "message": "m", "title": "t", "authors": [{"name": "n"}]}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"title": None}, "title is no text"),
        ({"autors": []}, "autors is unknown"),
        ({"cff-version": "1.1.0"}, "cff-version"),
        ({"authors": []}, "authors is no list"),
        ({"authors": [{"name": "n", "age": 3}]}, "not an author"),
        ({"authors": ["Ada"]}, "not an author"),
        ({"type": "course"}, "type is neither"),
        ({"version": 0.1}, "version is read as a number"),
        ({"repository-code": "fedlab"}, "no address"),
        ({"keywords": ["a", "a"]}, "repeat"),
    ],
)
def test_what_is_wrong_is_found(change: dict[str, Any], said: str) -> None:
    assert problems(GOOD) == []
    assert any(said in line for line in problems({**GOOD, **change})), problems({**GOOD, **change})
    assert "title is missing" in problems({k: v for k, v in GOOD.items() if k != "title"})
    assert problems(["list"]) == ["no mapping"]


def test_the_changelog_knows_this_version_and_is_linked() -> None:
    text = (ROOT / ".github" / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## {PROJECT['version']}" in text and text.index("## Unreleased") < text.index("## 0")
    assert PROJECT["urls"]["Changelog"].endswith("/blob/main/.github/CHANGELOG.md")


def test_the_contributors_guide_names_files_and_commands_that_exist() -> None:
    text = (ROOT / ".github" / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for path in re.findall(
        r"`((?:chapters|fedlab_utils|datasets|tests|\.github|requirements)/[^`]*)`", text
    ):
        if not re.search(r"NN|NAME|TOPIC|\*", path):
            assert (ROOT / path).exists(), path
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"(?:`|^)make ([a-z]+)", text, flags=re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
