"""Where the environment is, whether it is whole, and what is never deleted."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fedlab_utils.errors import FedlabError
from fedlab_utils.runtimes.tff import __main__ as command
from fedlab_utils.runtimes.tff import home

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FEDLAB_TFF", str(tmp_path / "env"))
    return tmp_path / "env"


def pretend(folder: Path, **stamp: object) -> None:
    """Make something that looks like an environment."""
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").touch()
    if stamp:
        whole = {"tff": "0.87.0", "python": "3.11.7", "megabytes": 2000, **stamp}
        (folder / home.STAMP).write_text(json.dumps(whole))


def test_the_folder_is_named_or_in_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("FEDLAB_TFF", "~/somewhere")
    assert home.environment() == Path.home() / "somewhere"
    monkeypatch.delenv("FEDLAB_TFF")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert home.environment() == tmp_path / "fedlab-tff"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert home.environment() == Path.home() / ".cache" / "fedlab-tff"


def test_each_state_is_told_apart(folder):
    assert home.status().state == "missing"
    folder.mkdir()
    (folder / home.STARTED).touch()
    assert home.status().state == "incomplete"
    pretend(folder)
    assert home.status().state == "incomplete"
    (folder / home.STAMP).write_text("{ cut sho")
    assert home.status().state == "incomplete"
    (folder / home.STAMP).write_text('{"lock": "of last year"}')
    assert home.status().state == "outdated" and not home.status().ready
    assert "another list of versions" in str(home.status())


def test_a_whole_one_is_ready_and_says_what_it_is(folder):
    pretend(folder, lock=home.lock_hash())
    assert home.status().ready and home.require() == folder / "bin" / "python"
    assert "0.87.0" in str(home.status()) and "2000 MB" in str(home.status())


def test_what_is_not_ready_is_refused_with_the_command(folder):
    with pytest.raises(FedlabError, match=r"missing: .*Run: python -m fedlab_utils.runtimes.tff i"):
        home.require()


def test_the_lock_is_complete_and_comments_do_not_count(monkeypatch, tmp_path):
    pins = home.pins()
    assert "tensorflow-federated==0.87.0" in pins and all("==" in pin for pin in pins)
    assert any(pin.startswith("ipykernel==") for pin in pins)
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("# why\nb==2  # because\n\na==1\n")
    other.write_text("a==1\nb==2\n")
    hashes = []
    for path in (one, other):
        monkeypatch.setattr(home, "LOCKS", (tmp_path / "absent", path))
        hashes.append(home.lock_hash())
    assert hashes[0] == hashes[1]
    monkeypatch.setattr(home, "LOCKS", (tmp_path / "absent",))
    with pytest.raises(FedlabError, match=r"list of versions is missing; looked for .*absent"):
        home.pins()


def test_only_what_the_command_made_is_deleted(folder, capsys):
    assert command.main(["remove"]) == 0 and "there was none" in capsys.readouterr().out
    folder.mkdir()
    (folder / "thesis.txt").write_text("the only copy")
    assert command.main(["remove"]) == 1
    assert "Nothing was deleted" in capsys.readouterr().err
    assert (folder / "thesis.txt").exists()
    (folder / home.STARTED).touch()
    assert command.main(["remove"]) == 0 and not folder.exists()


def test_status_and_path_are_commands(folder, capsys):
    assert command.main(["status"]) == 1
    assert command.main(["path"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(folder)
    pretend(folder, lock=home.lock_hash())
    assert command.main(["status"]) == 0


def test_the_command_needs_the_standard_library_only(tmp_path):
    code = (
        "import sys; sys.modules['numpy'] = sys.modules['torch'] = sys.modules['zmq'] = None\n"
        "from fedlab_utils.runtimes.tff.__main__ import main; sys.exit(main(['status']))"
    )
    variables = {**os.environ, "FEDLAB_TFF": str(tmp_path / "none")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=variables, capture_output=True, text=True
    )
    assert done.returncode == 1 and done.stdout.startswith("missing"), done.stderr


def test_the_package_has_no_other_names():
    from fedlab_utils.runtimes import tff

    for name in tff.__all__:
        assert getattr(tff, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        tff.nonsense  # noqa: B018


def test_the_size_of_a_folder_that_changes_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pip compiles into files of other names and renames them, while we look how far it is."""
    (tmp_path / "kept").write_bytes(b"x" * 3_000_000)
    walked = [(str(tmp_path), [], ["kept", "compiled.pyc.139794943591904"])]
    monkeypatch.setattr(home.os, "walk", lambda folder: walked)
    assert home.megabytes(tmp_path) == 3
