"""The other frameworks' processes: what they answer, and how they fail. No framework is needed."""

import importlib.util
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from fedlab_utils.errors import FedlabError
from fedlab_utils.federate import bench, rivals
from fedlab_utils.federate.rivals.worker import Job
from fedlab_utils.models import dense_autoencoder, flatten
from fedlab_utils.runtimes.tff import home

HONEST = """
def rounds(job):
    print("chatter on standard output does no harm")
    return lambda: job.start + job.batches.mean()
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Make a framework called "fake" from the text of its module."""

    def make(module: str) -> None:
        (tmp_path / "worker.py").write_text(rivals._WORKER.read_text())
        (tmp_path / "with_fake.py").write_text(module)
        monkeypatch.setattr(rivals, "_WORKER", tmp_path / "worker.py")
        monkeypatch.setitem(rivals.RIVALS, "fake", ("json", "nothing to do"))

    return make


def start(name: str = "fake", **options) -> rivals.Rival:
    batches = np.full((2, 3, 4, 5), 0.5, dtype=np.float32)
    return rivals.Rival(name, batches, np.arange(7.0), (5, 2, 5), 0.1, **options)


def alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    return status.exists() and "State:\tZ" not in status.read_text()


def test_a_round_starts_from_the_start_weights_every_time(fake):
    fake(HONEST)
    with start() as rival:
        for _ in range(2):
            weights, seconds = rival.round()
            assert weights.tolist() == (np.arange(7.0) + 0.5).tolist()
            assert 0 <= seconds < 5
    assert rival._process.returncode is not None
    assert not Path(rival._folder.name).exists()


@pytest.mark.skipif(not Path("/proc").exists(), reason="needs /proc")
def test_helpers_end_with_it_though_they_hold_its_output(fake):
    fake(
        "import subprocess\n"
        "def rounds(job):\n"
        "    child = subprocess.Popen(['sleep', '600'])\n"
        "    return lambda: [child.pid]\n"
    )
    with start() as rival:
        child = int(rival.round()[0][0])
        assert alive(child)
    for _ in range(40):
        if not alive(child):
            break
        time.sleep(0.05)
    assert not alive(child)


def test_a_failing_start_shows_the_last_words(fake):
    fake("def rounds(job):\n    raise RuntimeError('no ray today')\n")
    with pytest.raises(FedlabError, match=r"(?s)fake: its process ended.*no ray today"):
        start()


def test_a_failing_round_and_a_dead_process_are_reported(fake):
    fake("def rounds(job):\n    return lambda: 1 / 0\n")
    with start() as rival:
        with pytest.raises(FedlabError, match=r"(?s)ended.*ZeroDivisionError"):
            rival.round()
        rival._process.wait()
        with pytest.raises(FedlabError, match="ended"):
            rival.round()


def test_a_hanging_process_is_given_up(fake):
    fake("import time\ndef rounds(job):\n    time.sleep(600)\n")
    with pytest.raises(FedlabError, match=r"said nothing for 0.5 s"):
        start(patience=0.5)


def test_missing_frameworks_say_how_to_get_them(monkeypatch, capsys):
    for name in list(rivals.RIVALS):
        monkeypatch.setitem(rivals.RIVALS, name, ("no_such_module", f"get {name}"))
    with pytest.raises(FedlabError, match=r"pfl is not installed .* To get it: get pfl"):
        start("pfl")
    assert bench.installed("all", sys.executable, None) == {}
    assert "To get it: get tff" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["bench", "--with", "flower"])
    with pytest.raises(SystemExit) as left:
        bench.main()
    assert left.value.code == 1
    assert "get flower" in capsys.readouterr().err


def test_unknown_names_and_interpreters_are_refused():
    with pytest.raises(FedlabError, match="no framework 'flwr'; choose from flower"):
        bench.installed("flwr", sys.executable, None)
    with pytest.raises(FedlabError, match="cannot run /no/such/python"):
        bench.installed("tff", sys.executable, "/no/such/python")


def test_the_job_splits_weights_as_the_model_does():
    model = dense_autoencoder(6, hidden=4, code=2)
    job = Job(np.zeros((1, 1, 1, 6)), flatten(model).numpy(), [6, 4, 2, 4, 6], 0.1, "")
    layers = [m for m in model.modules() if hasattr(m, "weight")]
    for (weight, bias), layer in zip(job.split(job.start), layers, strict=True):
        assert (weight == layer.weight.detach().numpy()).all()
        assert (bias == layer.bias.detach().numpy()).all()
    assert [job.activated(i) for i in range(4)] == [True, False, True, False]


def test_a_rival_that_cheats_is_noticed(fake):
    fake(HONEST)
    with pytest.raises(AssertionError, match="fake deviates from the naive loop"):
        bench.measure(clients=2, repeats=1, rivals={"fake": sys.executable})


@pytest.mark.slow
@pytest.mark.parametrize("name", list(rivals.RIVALS))
def test_installed_frameworks_reach_the_same_weights(name):
    python = sys.executable
    if name == "tff" and home.status().ready:  # it has an environment of its own
        python = str(home.require())
    module = rivals.RIVALS[name][0]
    here = python == sys.executable and importlib.util.find_spec(module) is None
    if here or subprocess.run([python, "-c", f"import {module}"], check=False).returncode:
        pytest.skip(f"{module} is not installed")
    rows = bench.measure(clients=3, repeats=1, rivals={name: python})
    assert [row["engine"] for row in rows] == [*bench.CONTESTANTS, name]
