"""Packages are added to what is there, and nothing that is there is replaced."""

import importlib.metadata as metadata
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fedlab_utils.course import add as adding

# name: (version, requirements)
WORLD = {
    "fedlab-utils": ("1", ['private>=2; extra == "privacy"', 'other; extra == "flower"', "core"]),
    "core": ("1", []),
    "attrs": ("26", []),
    "service": ("1", []),
}
SHOP = {
    "private": ("3", ["attrs<24", "tree~=1.0", "service[fast]"]),
    "tree": ("1.5", ['old; python_version < "3"']),
    "quick": ("1", []),
}


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """A world of few packages; returns what pip was asked to install."""
    here = dict(WORLD)
    here["service"] = ("1", ['quick; extra == "fast"'])
    asked: list[list[str]] = []

    class Found:
        def __init__(self, name: str) -> None:
            if name not in here:
                raise metadata.PackageNotFoundError(name)
            self.version, self.requires = here[name]
            self.metadata = self

        def get_all(self, name: str) -> list[str]:
            return ["privacy", "flower"]

    def pip(command: list[str], **options: Any) -> SimpleNamespace:
        assert command[1:5] == ["-m", "pip", "install", "--quiet"]
        *how, requirement = command[5:]
        asked.append([*(["alone"] if how == ["--no-deps"] else []), requirement])
        name = next(known for known in SHOP if requirement.startswith(known))
        if how != ["--no-deps"]:
            flag, held = how
            assert flag == "--constraint" and "attrs==26\n" in Path(held).read_text()
            if name == "private":  # wants another attrs
                return SimpleNamespace(returncode=1)
        here[name] = SHOP[name]
        return SimpleNamespace(returncode=0)

    def everything() -> list[SimpleNamespace]:
        return [SimpleNamespace(name=name, version=here[name][0]) for name in here]

    monkeypatch.setattr(adding.metadata, "distribution", Found)
    monkeypatch.setattr(adding.metadata, "distributions", everything)
    monkeypatch.setattr(subprocess, "run", pip)
    return asked


def test_absent_packages_come_and_present_ones_stay(
    installed: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert adding.main(["privacy"]) == 0
    assert installed == [["private>=2"], ["alone", "private>=2"], ["quick"], ["tree~=1.0"]]
    said = capsys.readouterr().out
    assert "Adding private>=2" in said
    assert "Left as they are: attrs 26 (private asks for <24)" in said
    installed.clear()
    assert adding.main(["privacy"]) == 0 and installed == []


def test_an_unknown_extra_is_named(
    installed: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert adding.main(["nonsense"]) == 1
    assert "no extra nonsense; there are flower, privacy" in capsys.readouterr().err


def test_pip_that_does_nothing_is_not_asked_for_ever(
    installed: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = SimpleNamespace(returncode=0)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: nothing)
    assert adding.add(["privacy"]) == []


def test_here_nothing_of_the_privacy_extra_is_lacking() -> None:
    absent, _ = adding.lacking(["fedlab-utils[privacy]"])
    assert absent == [] and Path(adding.__file__).exists()
