"""The doctor runs where things are missing, quickly, and says what to do."""

import json
import subprocess
import sys
import time
from email.message import Message
from pathlib import Path
from types import SimpleNamespace

import pytest

from fedlab_utils.course import doctor
from fedlab_utils.course.doctor import MISSING, OK, OPTIONAL, Finding
from fedlab_utils.runtimes.tff import home

ROOT = Path(__file__).resolve().parents[2]


def test_it_reports_here_and_finds_the_core(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.main() == 0
    out = capsys.readouterr().out
    for word in ("This machine", "cores", "memory", "disk", "torch", "privacy", "The core works."):
        assert word in out


def test_it_runs_without_numpy_and_torch_and_is_quick() -> None:
    """Hide both packages in a fresh interpreter."""
    code = (
        "import sys; sys.modules['torch'] = sys.modules['numpy'] = None\n"
        "from fedlab_utils.course import doctor; sys.exit(doctor.main())"
    )
    begin = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and time.perf_counter() - begin < 5
    assert "✗ torch + numpy" in done.stdout and "-> make setup" in done.stdout
    assert "The core does not work" in done.stdout


def test_missing_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_requirements", lambda extra: ["no-such-package"])
    extra = doctor._extra("privacy", "chapters on privacy")
    assert extra.state == OPTIONAL and "no-such-package" in extra.detail
    assert '--constraint requirements/core.lock --editable ".[privacy]"' in extra.remedy
    core = doctor._package("no-such-package")
    assert core.state == MISSING and core.remedy == "make setup"


def test_remedies_outside_a_checkout_name_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    address = "https://github.com/o/r"
    found = Message()
    found["Project-URL"] = f"Repository, {address}"
    monkeypatch.setattr(doctor, "checkout", lambda: None)
    monkeypatch.setattr(doctor.metadata, "metadata", lambda _: found)
    assert doctor._install("syft") == f'pip install "fedlab-utils[syft] @ git+{address}"'

    def absent(_: str) -> None:
        raise doctor.metadata.PackageNotFoundError

    monkeypatch.setattr(doctor.metadata, "metadata", absent)
    assert doctor._core_remedy() == 'pip install "fedlab-utils"'


def test_requirements_are_known_even_if_the_package_is_not_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def absent(_: str) -> None:
        raise doctor.metadata.PackageNotFoundError

    monkeypatch.setattr(doctor.metadata, "requires", absent)
    assert "torch" in doctor._requirements("") and doctor._requirements("privacy") == []
    assert doctor._extra("privacy", "x").state == OPTIONAL


def test_requirements_are_split_by_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["torch>=2.6", "flwr>=1 ; extra == 'flower'", "fedlab-utils[x] ; extra == 'flower'"]
    monkeypatch.setattr(doctor.metadata, "requires", lambda _: lines)
    assert (doctor._requirements(""), doctor._requirements("flower")) == (["torch"], ["flwr"])


def test_little_memory_and_wrong_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "memory_limit", lambda: 1.0)
    assert doctor._memory().state == OPTIONAL and "2 GB" in doctor._memory().remedy
    monkeypatch.setattr(doctor, "memory_limit", lambda: None)
    assert "unknown" in doctor._memory().detail
    monkeypatch.setattr(doctor.sys, "version_info", (3, 9, 0))
    assert doctor._python().state == MISSING and "3.11 to 3.13" in doctor._python().remedy


def test_report_text() -> None:
    findings = {"A": [Finding(OK, "x", "1"), Finding(MISSING, "y", "gone", "make it")]}
    text = doctor.report(findings)
    assert "✓ x" in text and "-> make it" in text and not doctor.healthy(findings)


def test_tff_in_a_checkout_and_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(home.VARIABLE, str(tmp_path))
    assert doctor._tff().remedy == "make tff" and "missing" in doctor._tff().detail
    monkeypatch.setattr(doctor, "checkout", lambda: None)
    assert doctor._tff().remedy == "python -m fedlab_utils.runtimes.tff install"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").write_text("x")
    assert doctor._tff().state == OPTIONAL and "incomplete" in doctor._tff().detail
    stamp = {"lock": home.lock_hash(), "tff": "0.87", "python": "3.11", "megabytes": 1}
    (tmp_path / home.STAMP).write_text(json.dumps(stamp))
    assert doctor._tff().state == OK and not doctor._tff().remedy


def test_data_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is looked up by name: the part of the package that holds it may be absent."""

    def pretend(**names: object) -> None:
        monkeypatch.setattr(doctor.importlib, "import_module", lambda _: SimpleNamespace(**names))

    pretend(cache_folder=lambda: tmp_path)
    assert doctor._data_cache().detail.endswith("(0 MB)")
    pretend()
    assert doctor._data_cache().state == OPTIONAL
