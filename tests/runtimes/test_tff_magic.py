"""`%%tff` cells: in this process, and in a notebook. A stand-in environment has no TFF in it."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import psutil
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from fedlab_utils.errors import FedlabError
from fedlab_utils.runtimes.tff import TffError, home, magic, outputs, shared
from fedlab_utils.runtimes.tff import kernel as kernels

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory):
    """An environment whose Python is this one."""
    folder = tmp_path_factory.mktemp("tff") / "env"
    (folder / "bin").mkdir(parents=True)
    python = folder / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    stamp = {"lock": home.lock_hash(), "tff": "none", "python": "3", "megabytes": 0}
    (folder / home.STAMP).write_text(json.dumps(stamp))
    return folder


@pytest.fixture(scope="module")
def cell(stand_in: Path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FEDLAB_TFF", str(stand_in))
        yield magic.run_cell
        shared.stop_shared_kernel()


def test_values_go_in_and_come_out(cell, capsys):
    variables = {"x": np.arange(4.0), "n": 3}
    cell(
        "--in x n --out total words", "total = n * x.sum()\nwords = ['a']\nprint(total)", variables
    )
    assert variables["total"] == 18 and variables["words"] == ["a"]
    assert capsys.readouterr().out == "18.0\n"
    cell("--out again", "again = total + 1", variables)
    assert variables["again"] == 19


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--in nobody", "this notebook has no variable 'nobody'"),
        ("--in 3x", "'3x' is not the name of a variable"),
        ("--out a.b", "'a.b' is not the name of a variable"),
        ("--nonsense", "unrecognized arguments: --nonsense. Usage: %%tff"),
        ("--in", "expected at least one argument"),
        ("'", "No closing quotation"),
    ],
)
def test_lines_that_make_no_sense_are_refused(cell, line, message):
    with pytest.raises(ValueError, match=message):
        cell(line, "1", {"3x": 1})


def test_errors_are_raised_or_shown_if_they_are_meant(cell, capsys):
    with pytest.raises(TffError, match="KeyError"):
        cell("", "{}['x']", {})
    with pytest.raises(TffError, match="NameError"):
        cell("--out absent", "pass", {})
    cell("--fails KeyError", "{}['x']", {})
    assert capsys.readouterr().out == "KeyError: 'x'\n"
    with pytest.raises(TffError, match="ValueError"):
        cell("--fails KeyError", "int('x')", {})
    with pytest.raises(AssertionError, match="meant to fail with KeyError"):
        cell("--fails KeyError", "1", {})


def test_each_kind_of_output_is_passed_on(monkeypatch, capsys):
    import IPython.display

    published, cleared = [], []
    monkeypatch.setattr(
        IPython.display, "publish_display_data", lambda **options: published.append(options)
    )
    monkeypatch.setattr(IPython.display, "clear_output", lambda wait: cleared.append(wait))
    outputs.in_cell("stream", {"name": "stderr", "text": "to err"})
    assert capsys.readouterr().err == "to err"
    content = {"data": {"text/plain": "1"}, "metadata": {"a": 1}, "transient": {"display_id": "i"}}
    outputs.in_cell("display_data", content)
    outputs.in_cell("update_display_data", content)
    assert [p["update"] for p in published] == [False, True]
    assert published[0]["metadata"] == {"a": 1} and published[0]["transient"]
    outputs.in_cell("clear_output", {"wait": True})
    assert cleared == [True]
    outputs.in_cell("comm_open", {})  # widgets have no counterpart here


def test_loading_registers_and_refuses_where_nothing_is_installed(cell, monkeypatch, capsys):
    magics = {}
    shell = SimpleNamespace(
        user_ns={}, register_magic_function=lambda f, kind, name: magics.update({name: f})
    )
    magic.load_ipython_extension(shell)
    magics["tff"]("--out five", "five = 5")
    assert shell.user_ns["five"] == 5
    magics["tff_restart"]("")
    assert "its variables are gone" in capsys.readouterr().out
    with pytest.raises(TffError, match="NameError"):
        magics["tff"]("", "five")
    with pytest.raises(FedlabError, match="no arguments"):
        magics["tff_restart"]("now")
    magic.unload_ipython_extension(shell)
    monkeypatch.setenv("FEDLAB_TFF", "/no/such/folder")
    with pytest.raises(FedlabError, match=r"Run: python -m fedlab_utils.runtimes.tff install"):
        magic.load_ipython_extension(shell)


def notebook(*cells: str) -> NotebookClient:
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in cells])
    return NotebookClient(book, timeout=120, kernel_name="python3")


LOAD = "%load_ext fedlab_utils.runtimes.tff"
WHO = "%%tff --out pid\nimport os\npid = os.getpid()"


@pytest.fixture
def variables(stand_in, monkeypatch):
    monkeypatch.setenv("FEDLAB_TFF", str(stand_in))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def test_a_notebook_shows_outputs_as_of_any_cell(variables):
    client = notebook(
        LOAD,
        "x = 6",
        "%%tff --in x --out y\nfrom IPython.display import HTML, display\nprint('hello')\n"
        "display(HTML('<b>bold</b>'))\ny = 7 * x\ny",
        "y",
    )
    client.execute()
    shown, here = client.nb.cells[2].outputs, client.nb.cells[3].outputs
    assert [output.output_type for output in shown] == ["stream", "display_data", "display_data"]
    assert shown[0].text == "hello\n" and shown[1].data["text/html"] == "<b>bold</b>"
    assert shown[2].data["text/plain"] == here[0].data["text/plain"] == "42"


def test_an_error_stops_the_notebook_and_nothing_is_left_running(variables):
    client = notebook(LOAD, WHO, "print(pid)", "%%tff\n1 / 0", "print('never')")
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        client.execute()
    pid = int(client.nb.cells[2].outputs[0].text)
    error = client.nb.cells[3].outputs[-1]
    assert error.output_type == "error" and error.ename == "TffError"
    assert "1 / 0" in kernels._ANSI.sub("", "\n".join(error.traceback))
    assert "_conclude" not in "\n".join(error.traceback)  # our own machinery is no news
    assert client.nb.cells[4].outputs == []
    assert not psutil.pid_exists(pid)


def test_interrupt_and_restart_in_a_notebook(variables):
    """The interrupt comes as a notebook server sends it: a signal to the ordinary kernel."""
    soon = (
        "import os, signal, threading\n"
        "threading.Timer(1, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "try:\n"
        "    get_ipython().run_cell_magic('tff', '', 'kept = 1; import time; time.sleep(600)')\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted')"
    )
    client = notebook(
        LOAD, "%%tff\n0", soon, "%%tff\nkept", "%tff_restart", "%%tff --fails NameError\nkept"
    )
    client.execute()
    texts = ["".join(o.get("text", "") for o in c.outputs) for c in client.nb.cells]
    assert texts[2] == "interrupted\n"
    assert client.nb.cells[3].outputs[0].data["text/plain"] == "1"
    assert "name 'kept' is not defined" in texts[5]


def test_without_an_environment_the_first_cell_says_what_to_do(variables, monkeypatch):
    monkeypatch.setenv("FEDLAB_TFF", "/no/such/folder")
    client = notebook(LOAD)
    with pytest.raises(CellExecutionError, match=r"python -m fedlab_utils.runtimes.tff install"):
        client.execute()
