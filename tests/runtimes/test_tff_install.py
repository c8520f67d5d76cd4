"""Making the environment: every step and every way it can fail, with commands that only pretend."""

import json
import platform
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from fedlab_utils.errors import FedlabError
from fedlab_utils.runtimes.tff import __main__ as command
from fedlab_utils.runtimes.tff import home
from fedlab_utils.runtimes.tff import install as make

# What a new environment's Python does here: it pretends to be pip, or the first computation.
PRETENDER = """#!{python}
import sys
if "-m" in sys.argv:
    for i in range(10):
        print(f"Collecting p{{i}}==1.0 (from -r lock)")
    print("  Downloading big-1.0.whl (193.9 MB)")
    print("Installing collected packages: p0")
    print("a word")
    sys.exit({pip})
if "platform" in sys.argv[-1]:
    print("3.11.99")
else:
    print("{trial}")
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("FEDLAB_TFF", str(tmp_path / "env"))
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", "2.39"))
    return tmp_path / "env"


@pytest.fixture
def pretend(monkeypatch):
    """Replace the making of an empty environment by one that holds the pretender."""

    def set_up(pip=0, trial="0.87.0 7"):
        def make_environment(folder, say):
            python = folder / "bin" / "python"
            python.parent.mkdir(parents=True)
            python.write_text(PRETENDER.format(python=sys.executable, pip=pip, trial=trial))
            python.chmod(0o755)

        monkeypatch.setattr(make, "make_environment", make_environment)

    return set_up


def test_a_whole_installation_tells_its_progress_and_leaves_a_stamp(folder, pretend, capsys):
    pretend()
    said = []
    assert make.install(say=said.append) == folder
    text = "\n".join(said)
    for part in ("[1/4]", "10 of ", "big-1.0.whl (193.9 MB)", "unpacking", "[4/4]", "ready: "):
        assert part in text
    stamp = json.loads((folder / home.STAMP).read_text())
    assert stamp["tff"] == "0.87.0" and stamp["python"] == "3.11.99"
    assert home.status().ready and not (folder / home.STARTED).exists()
    assert command.main(["install"]) == 0
    assert "Nothing to do" in capsys.readouterr().out


def test_a_failed_one_is_half_made_and_the_next_begins_anew(folder, pretend):
    pretend(pip=1)
    with pytest.raises(FedlabError, match=r"(?s)pip could not install.*HTTPS_PROXY.*a word"):
        make.install(say=lambda line: None)
    assert home.status().state == "incomplete"
    (folder / "rubbish").touch()
    pretend()
    make.install(say=lambda line: None)
    assert home.status().ready and not (folder / "rubbish").exists()


def test_packages_that_do_not_compute_are_no_environment(folder, pretend, capsys):
    pretend(trial="Illegal instruction")
    assert command.main(["install"]) == 1
    assert "a first computation failed" in capsys.readouterr().err
    assert home.status().state == "incomplete"


def test_a_trial_that_hangs_is_given_up(folder):
    python = folder / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\nsleep 600\n")
    python.chmod(0o755)
    with pytest.raises(FedlabError, match="first computation failed"):
        make.try_out(folder, patience=0.3)


def test_an_outdated_one_is_replaced_and_force_replaces_a_whole_one(folder, pretend):
    pretend()
    make.install(say=lambda line: None)
    for force in (False, True):
        stamp = json.loads((folder / home.STAMP).read_text())
        if not force:
            stamp["lock"] = "of last year"
        (folder / home.STAMP).write_text(json.dumps(stamp))
        (folder / "old").touch()
        make.install(force=force, say=lambda line: None)
        assert home.status().ready and not (folder / "old").exists()


def test_a_folder_with_something_else_is_left_alone(folder, pretend):
    pretend()
    folder.mkdir()
    (folder / "thesis.txt").touch()
    with pytest.raises(FedlabError, match="Nothing was deleted"):
        make.install(say=lambda line: None)
    assert (folder / "thesis.txt").exists()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("system", "Darwin", "Linux on x86-64 only, this is Darwin"),
        ("machine", "aarch64", "on aarch64"),
        ("libc_ver", ("", ""), "another C library"),
        ("libc_ver", ("glibc", "2.17"), "needs glibc 2.31"),
    ],
)
def test_other_platforms_are_told_at_once(folder, monkeypatch, capsys, name, value, message):
    monkeypatch.setattr(platform, name, lambda: value)
    assert command.main(["install"]) == 1
    assert message in capsys.readouterr().err
    assert not folder.exists()


def test_too_little_disk_is_told_before_the_download(folder, monkeypatch):
    monkeypatch.setattr(make.shutil, "disk_usage", lambda path: SimpleNamespace(free=1e9))
    with pytest.raises(FedlabError, match=r"needs 4 GB, .* has 1.0 GB left.*FEDLAB_TFF"):
        make.install(say=lambda line: None)
    assert not folder.exists()


def test_two_installations_do_not_mix(folder):
    with make._alone(folder), pytest.raises(FedlabError, match="another installation"):
        make.install(say=lambda line: None)


def test_an_interrupt_leaves_it_half_made(folder, pretend, monkeypatch, capsys):
    pretend()

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(make, "install_packages", interrupted)
    assert command.main(["install"]) == 130
    assert "starts again" in capsys.readouterr().err
    assert home.status().state == "incomplete"


def answers(monkeypatch, *known):
    """Let only the given programs work: pairs of (part of the command, exit code)."""
    asked = []

    def run(line):
        text = " ".join(line)
        asked.append(text)
        code = next((code for part, code in known if part in text), 1)
        return subprocess.CompletedProcess(line, code, f"tried {line[0]}\n")

    monkeypatch.setattr(make, "_run", run)
    return asked


def test_this_python_is_taken_if_it_is_3_11(folder, monkeypatch):
    asked = answers(monkeypatch, (f"{sys.executable} -c", 0), ("-m venv", 0))
    make.make_environment(folder, print)
    assert asked[-1] == f"{sys.executable} -m venv {folder}"


def test_else_python3_11_on_the_path(folder, monkeypatch):
    monkeypatch.setattr(make.shutil, "which", lambda name: f"/bin/{name}")
    asked = answers(monkeypatch, ("/bin/python3.11", 0))
    make.make_environment(folder, print)
    assert asked[-1] == f"/bin/python3.11 -m venv {folder}"


def test_else_one_that_uv_brings(folder, monkeypatch):
    monkeypatch.setattr(make.shutil, "which", lambda name: sys.executable if name == "uv" else None)
    asked = answers(monkeypatch, (" venv --seed", 0))
    make.make_environment(folder, print)
    assert "--python 3.11" in asked[-1]


def test_with_no_python_at_all_it_says_what_to_install(folder, monkeypatch, capsys):
    monkeypatch.setattr(make.shutil, "which", lambda name: None)
    asked = answers(monkeypatch)
    with pytest.raises(FedlabError, match=r"(?s)no Python 3.11.*python3.11. is on the PATH.*tried"):
        make.make_environment(folder, print)
    assert "pip install -q --target" in asked[-1] and "fetching uv" in capsys.readouterr().out


def test_a_command_that_is_not_there_counts_as_failed():
    assert make._run(["/no/such/program"]).returncode == 127
    assert make._run([sys.executable, "-c", "print(3)"]).stdout == "3\n"


def test_silence_is_broken(folder, monkeypatch):
    monkeypatch.setattr(make, "_SILENCE", 0.1)
    python = folder / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\nsleep 0.5\necho done\n")
    python.chmod(0o755)
    said = []
    make.install_packages(folder, 10, said.append)
    assert "still at work" in said[0] and "MB on disk" in said[0]
    assert Path(folder).exists()
