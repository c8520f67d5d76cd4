"""The table of frameworks: what the child measures, and how failures are reported."""

import json
import sys

import numpy as np
import pytest

from fedlab_utils.errors import FedlabError
from fedlab_utils.federate.rivals.worker import Job
from fedlab_utils.runtimes import compare
from fedlab_utils.runtimes.compare import FRAMEWORKS, Framework, __main__, gauge, measure
from fedlab_utils.runtimes.compare import measuring as module


def test_our_engine_is_measured():
    (ours,) = measure(["ours"], clients=(2, 3), rounds=1)
    assert ours.name == "ours" and set(ours.round_seconds) == {2, 3}
    assert 0 < ours.import_seconds < 60 and ours.memory_mb > 50 and ours.megabytes > 100
    assert all(0 < seconds < 10 for seconds in ours.round_seconds.values())
    frame = compare.to_frame([ours])
    assert frame.index.tolist() == [FRAMEWORKS["ours"].title]
    assert frame["round, 2 clients [s]"].item() > 0 and frame["the coordinator sees"].item()


@pytest.mark.slow
def test_tff_is_measured_and_reaches_the_same_weights(tff_environment):
    ours, tff = measure(["ours", "tff"], clients=(2,), rounds=1)
    assert tff.megabytes > ours.megabytes > 0
    assert tff.import_seconds > 0 and tff.memory_mb > 200


def fake(monkeypatch, tmp_path, text, needs=("numpy",)):
    """A framework whose adapter is `text`."""
    (tmp_path / "with_fake.py").write_text(text)
    (tmp_path / "gauge.py").write_text(
        module._HERE.joinpath("gauge.py").read_text(encoding="utf-8"), encoding="utf-8"
    )
    monkeypatch.setattr(module, "_HERE", tmp_path)
    framework = Framework("Fake", "json", needs, "nothing to do", "all", "made up")
    monkeypatch.setitem(FRAMEWORKS, "fake", framework)


def test_a_framework_that_computes_something_else_is_no_comparison(monkeypatch, tmp_path):
    fake(
        monkeypatch, tmp_path, "def rounds(job):\n    return lambda: job.start + job.batches.std()"
    )
    (tmp_path / "with_ours.py").write_text("def rounds(job):\n    return lambda: job.start\n")
    with pytest.raises(FedlabError, match=r"fake: its weights differ from ours's by"):
        measure(["ours", "fake"], clients=(2,), rounds=1)


def test_failures_show_the_last_words(monkeypatch, tmp_path, capsys):
    fake(monkeypatch, tmp_path, "def rounds(job):\n    raise RuntimeError('no ray today')")
    assert __main__.main(["fake", "--rounds", "1"]) == 1
    assert "no ray today" in capsys.readouterr().err
    fake(monkeypatch, tmp_path, "import time\ndef rounds(job):\n    time.sleep(600)")
    with pytest.raises(FedlabError, match="took more than 1 s"):
        measure(["fake"], patience=1)


def test_unknown_and_missing_ones_are_refused(monkeypatch):
    with pytest.raises(FedlabError, match="no framework 'flwr'; choose from ours"):
        measure(["flwr"])
    monkeypatch.setenv("FEDLAB_TFF", "/no/such/folder")
    with pytest.raises(FedlabError, match=r"python -m fedlab_utils.runtimes.tff install"):
        measure(["tff"])
    absent = Framework("Absent", "no_such_module", (), "get absent", "", "")
    monkeypatch.setitem(FRAMEWORKS, "absent", absent)
    with pytest.raises(FedlabError, match=r"Absent: not installed. To get it: get absent"):
        measure(["absent"])


def test_the_command_measures_what_is_here_and_can_keep_it(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(module, "RECORD", tmp_path / "recorded.json")
    for name in list(FRAMEWORKS):
        monkeypatch.delitem(FRAMEWORKS, name)
    fake(monkeypatch, tmp_path, "def rounds(job):\n    return lambda: job.start")
    absent = Framework("Absent", "no_such_module", (), "get absent", "", "")
    monkeypatch.setitem(FRAMEWORKS, "absent", absent)
    assert __main__.main(["--record", "--rounds", "1"]) == 0
    said = capsys.readouterr().out
    assert "Fake: is measured" in said and "get absent" in said and "set-up [MB]" in said
    machine, rows = compare.recorded()
    assert "cores" in machine and [row.name for row in rows] == ["fake"]
    assert set(rows[0].round_seconds) == {4, 40}


def test_the_kept_table_has_our_row_and_tffs():
    _, rows = compare.recorded()
    assert {"ours", "tff"} <= {row.name for row in rows}
    assert all(row.round_seconds[4] > 0 and row.megabytes > 0 for row in rows)
    assert all(row.round_seconds[40] > 0 for row in rows if row.name in ("ours", "tff"))


def test_the_size_counts_what_is_required(tmp_path):
    found = gauge.packages(["Scikit_Learn", "no-such-package"])
    assert {"scikit-learn", "numpy", "scipy"} <= set(found)
    assert gauge.megabytes({"numpy": found["numpy"]}) > 1


def test_the_child_writes_facts_and_weights(tmp_path):
    module.make_job(tmp_path / "job.npz", 2)
    job = Job.read(str(tmp_path / "job.npz"))
    assert job.batches.shape == (2, 8, 32, 20) and tuple(job.widths) == module.WIDTHS
    (tmp_path / "with_echo.py").write_text("def rounds(job):\n    return lambda: job.start\n")
    rivals = str(module.Path(module.rivals.__file__).parent)
    before, result = list(sys.path), tmp_path / "r.npz"
    try:
        sys.path.insert(0, str(tmp_path))
        gauge.main("echo", "json", "numpy", rivals, str(result), "1", str(tmp_path / "job.npz"))
    finally:
        sys.path[:] = before
        sys.modules.pop("worker", None)
    with np.load(result) as data:
        assert (data["weights0"] == job.start).all()
        assert len(json.loads(str(data["facts"]))["seconds"][0]) == 2
