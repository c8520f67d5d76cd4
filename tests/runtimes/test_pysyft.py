"""The federation on PySyft's protocol: what goes wrong, what is visible, what is left behind."""

import os
import shutil
import threading
import time

import numpy as np
import psutil
import pytest
import torch

import fedlab_utils as fl
from fedlab_utils.errors import FedlabError
from fedlab_utils.federate import Aggregated
from fedlab_utils.runtimes.pysyft import (
    TRAIN,
    Job,
    NobodyAnswered,
    SyftFederation,
    coordinator_view,
    files_in,
    find_rows,
    fit_pysyft,
)
from fedlab_utils.runtimes.pysyft.agreed import task_of
from fedlab_utils.runtimes.pysyft.view import KINDS
from fedlab_utils.runtimes.updates import Expected, UpdateError

pytest.importorskip("syft_rds", reason="PySyft is missing: pip install 'fedlab-utils[syft]'")

NAMES = ("bank 1", "bank 2")
MODEL = fl.dense_autoencoder(4, hidden=6, code=2, seed=1)

# What a bank runs in these tests: as quick as it gets, without torch.
QUICK = """
import base64, json
import numpy as np
task = json.load(open("task.json"))
size = len(base64.b64decode(task["weights"]["global"])) // 4
update = np.full(size, task["client"] + 1, "f4")
np.savez("outputs/answer.npz", update=update, loss=np.float64(0.5))
"""


def members(rows=20, names=NAMES):
    rng = np.random.default_rng(8)
    none = np.empty(0, bool)
    clients = [
        fl.Client(
            name,
            rng.normal(size=(rows * (k + 1), 4)).astype(np.float32),
            rng.normal(size=(5, 4)).astype(np.float32),
            np.empty((0, 4), np.float32),
            none,
            none.astype(str),
        )
        for k, name in enumerate(names)
    ]
    return fl.Federation("small", clients, ["a", "b", "c", "d"])


@pytest.fixture(scope="module")
def banks():
    with SyftFederation(members()) as opened:
        yield opened


def running(**scripts):
    """A review that approves and makes each bank run another script (a bank can run anything)."""

    def review(bank, job):
        code = scripts.get(bank.replace(" ", "_"), QUICK)
        (job.code_dir / "main.py").write_text(code)

    return review


def fit(banks, rounds=1, **options):
    options = {"progress": False, "review": running(), **options}
    return fit_pysyft(MODEL, banks, rounds=rounds, **options)


def moved(run):
    """How far the global weights moved: the same for each parameter with QUICK's updates."""
    change = fl.flatten(run.model) - fl.flatten(MODEL)
    assert float(change.std()) < 1e-5
    return float(change.mean())


def test_rounds_weigh_by_the_rows_the_banks_published(banks):
    run = fit(banks, rounds=2, progress=True)
    mean = (1 * 20 + 2 * 40) / 60
    assert moved(run) == pytest.approx(2 * mean, abs=1e-5)
    record = run.history[1]
    assert (record.round, record.clients, record.loss) == (2, NAMES, 0.5)
    assert record.bytes_up == 2 * (4 * len(fl.flatten(MODEL)) + 8)
    assert record.bytes_down > record.bytes_up and record.seconds > 0
    assert run.absent == ()


class Counting:
    """An aggregator with a memory, as privacy mechanisms have."""

    def start(self, size):
        return {"rounds": torch.zeros(1)}

    def aggregate_round(self, updates, weights, state, context):
        assert (context.clients, context.population) == (NAMES, 2)
        rounds = state["rounds"] + 1
        return Aggregated(updates.mean(dim=0), {"rounds": rounds}, epsilon=float(rounds))


def test_any_aggregator_and_server_work_as_in_fit(banks):
    run = fit(banks, aggregator=Counting(), server=fl.ServerSGD(0.5))
    assert moved(run) == pytest.approx(0.75, abs=1e-5)
    assert run.history[0].epsilon == 1


def test_a_rejecting_bank_is_reported_with_its_reason(banks):
    def review(bank, job):
        running()(bank, job)
        return "not on a holiday" if bank == "bank 2" else None

    run = fit(banks, review=review)
    ((round_, absent),) = run.absent
    assert (round_, absent.bank) == (1, "bank 2")
    assert absent.reason == "rejected the job: not on a holiday"
    assert run.history[0].clients == ("bank 1",)
    assert moved(run) == pytest.approx(1, abs=1e-5)


@pytest.fixture(scope="module")
def many():
    with SyftFederation(members(rows=5, names=("good", "b", "c", "d", "e", "f"))) as opened:
        yield opened


def left_out(banks, scripts, reasons, **options):
    """One round in which each bank but the first does its own mischief."""
    run = fit(banks, review=running(**scripts), **options)
    assert run.history[0].clients == ("good",) and moved(run) == pytest.approx(1, abs=1e-5)
    found = {absent.bank: absent.reason for _, absent in run.absent}
    assert set(found) == set(reasons)
    for bank, reason in reasons.items():
        assert reason in found[bank]


def test_a_bank_whose_job_goes_wrong_is_left_out(many):
    left_out(
        many,
        {
            "b": "raise SystemExit(3)",
            "c": "open('outputs/notes.txt', 'w').write('')" + QUICK,
            "d": QUICK.replace("size, task", "size + 1, task"),
            "e": QUICK.replace('"f4"', '"f8"'),
            "f": "pass",
        },
        {
            "b": "failed with exit code 3; its log stays at the bank",
            "c": "other files than answer.npz",
            "d": "shape",
            "e": "type float64",
            "f": "shared no answer; withheld:",
        },
    )


def test_a_hostile_file_is_refused_by_the_coordinator(many):
    left_out(
        many,
        {
            "b": QUICK.replace('task["client"] + 1', "np.nan"),
            "c": "open('outputs/answer.npz', 'wb').write(b'x' * 100_000)",
            "d": QUICK.replace("update=update", "update=np.array([open] * size, dtype=object)"),
            "e": QUICK.replace("savez", "savez_compressed"),
            "f": "pass",
        },
        {
            "b": "NaN or infinite",
            "c": "refused unread",
            "d": "array 'update' has type object",
            "e": "could unpack to any size",
            "f": "shared no answer",
        },
        release=lambda bank, outputs: None,  # a hostile bank does not look before it shares
    )


def test_a_failing_review_is_a_rejection(banks):
    def review(bank, job):
        if bank == "bank 1":
            raise RuntimeError("reviewer on leave")
        running()(bank, job)

    ((_, absent),) = fit(banks, review=review).absent
    assert absent.bank == "bank 1" and "reviewer on leave" in absent.reason


def test_a_bank_may_withhold(banks):
    run = fit(banks, release=lambda bank, outputs: "too few rows" if bank == "bank 1" else None)
    ((_, absent),) = run.absent
    assert absent.reason == "shared no answer; withheld: too few rows"
    seen = files_in(banks.coordinator / "syft" / banks["bank 1"].email)
    assert not [path for path in seen if f"{banks.jobs:03}-train/outputs" in path]


def test_a_bank_that_cannot_share_is_left_out(banks):
    def release(bank, outputs):
        if bank == "bank 2":
            shutil.rmtree(banks[bank].owner.jobs[f"{banks.jobs:03}-train"].job_submission_path)
            raise OSError("disk full")

    ((_, absent),) = fit(banks, release=release).absent
    assert absent.reason == "could not share its answer: OSError('disk full')"
    assert fit(banks).absent == ()  # and the bank is back in the next round


def test_words_that_make_no_sense_are_not_trusted(banks):
    fit(banks)
    bank, task = banks["bank 1"], task_of({"global": MODEL})
    name = f"{banks.jobs:03}-train"
    bank.collect(name, TRAIN, task)
    (state,) = (banks.coordinator / "syft" / bank.email).rglob(f"{name}/state.yaml")
    good = state.read_text()
    for text, reason in (
        ("status: [", "bank 1: no readable word of the job"),
        (good.replace("status: done", "status: running"), "bank 1: no answer; the job's status"),
    ):
        state.write_text(text)
        with pytest.raises(UpdateError, match=reason):
            bank.collect(name, TRAIN, task)


def test_a_bank_whose_pysyft_fails_is_left_out(banks, monkeypatch):
    runner = banks["bank 1"].owner.job_runner
    monkeypatch.setattr(type(runner), "_execute_job", broken_for(runner))
    ((_, absent),) = fit(banks).absent
    assert (
        absent.bank == "bank 1" and "could not run the job: OSError('disk full')" in absent.reason
    )


def broken_for(runner):
    original = type(runner)._execute_job

    def execute(self, *args, **kwargs):
        if self is runner:
            raise OSError("disk full")
        return original(self, *args, **kwargs)

    return execute


def test_nobody_answered(banks):
    with pytest.raises(NobodyAnswered, match=r"bank 1: .*bank 2: rejected the job: no"):
        fit(banks, review=lambda bank, job: "no")


SILENT = """
import pathlib, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
(pathlib.Path.home() / "child").write_text(str(child.pid))
time.sleep(600)
"""


def gone(pid):
    for _ in range(50):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.1)
    return False


def test_a_silent_bank_is_ended_with_all_its_processes(banks):
    run = fit(banks, review=running(bank_2=SILENT), timeout=4)
    ((_, absent),) = run.absent
    assert absent.bank == "bank 2" and "no answer within the time limit" in absent.reason
    assert run.history[0].clients == ("bank 1",)
    assert gone(int((banks["bank 2"].home / "logs" / "child").read_text()))


def test_an_interrupt_ends_running_jobs(banks, monkeypatch):
    stopped = []
    runner = type(banks["bank 1"].owner.job_runner)
    monkeypatch.setattr(runner, "stop", lambda self: stopped.append(self))

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "process_approved_jobs", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fit(banks)
    assert len(stopped) == 2


def test_a_job_sees_none_of_the_banks_variables_and_its_log_stays(banks, monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "token-of-the-bank")
    script = "import os; print(sorted(os.environ), os.environ.get('SECRET_TOKEN'))" + QUICK
    fit(banks, review=running(bank_1=script))
    log = banks["bank 1"].log(f"{banks.jobs:03}-train")
    assert "SYFTBOX_EMAIL" in log and "SECRET_TOKEN" not in log and "token-of" not in log
    assert not [
        path for path in files_in(banks.coordinator) if "stdout" in path or "stderr" in path
    ]


def test_the_coordinator_has_no_private_row(banks):
    rows = banks.federation.pooled().x_train
    hits = find_rows(banks.coordinator, rows)
    assert len(hits) > 15 and sum(hits.values()) == 0
    assert set(hits) == set(files_in(banks.coordinator))
    at_home = find_rows(banks["bank 2"].home, rows)  # the same search can find them
    (found,) = [name for name, count in at_home.items() if count]
    assert "/private/" in found and at_home[found] >= 40 * 3


def test_the_search_finds_what_a_careless_bank_lets_out(banks):
    leak = """
import os, numpy as np
rows = np.load(os.path.join(os.environ["SYFTBOX_FOLDER"], os.environ["SYFTBOX_EMAIL"],
    "private/syft_datasets/rows/rows.npz"))["x_train"]
np.savez_compressed("outputs/answer.npz", update=rows)
np.savetxt("outputs/rows.csv", rows[:3], delimiter=",", fmt="%.9g")
np.save("outputs/rows64.npy", rows[:1].astype("f8"))
"""
    before = set(files_in(banks.coordinator))
    fit(banks, review=running(bank_1=leak), release=lambda bank, outputs: None)
    hits = find_rows(banks.coordinator, banks.federation["bank 1"].x_train)
    found = {name.rsplit("/", 1)[-1] for name, count in hits.items() if count}
    assert found >= {"answer.npz", "rows.csv", "rows64.npy"}
    assert any("event-messages" in name for name, count in hits.items() if count)
    assert not any(hits[name] for name in before & set(hits))


def test_the_script_finds_the_file_that_pysyft_names(banks, monkeypatch):
    import syft

    bank = banks["bank 1"]
    monkeypatch.setenv("SYFTBOX_FOLDER", str(bank.owner.syftbox_folder))
    monkeypatch.setenv("SYFTBOX_EMAIL", bank.email)
    from fedlab_utils.runtimes.pysyft.bank import private_rows

    for in_job, size in (("true", 20), ("false", 32)):
        monkeypatch.setenv("SYFT_IS_IN_JOB", in_job)
        with np.load(syft.resolve_dataset_file_path("rows")) as archive:
            np.testing.assert_array_equal(private_rows("x_train"), archive["x_train"])
        assert len(private_rows("x_train")) == size


def test_a_rehearsal_runs_on_mock_rows(banks):
    count = """
import json, os
import numpy as np
rows = np.load(os.path.join(os.environ["SYFTBOX_FOLDER"], os.environ["SYFTBOX_EMAIL"],
    "public/syft_datasets/rows/rows.npz"))["x_train"]
assert os.environ["SYFT_IS_IN_JOB"] == "false"
np.savez("outputs/answer.npz", rows=len(rows))
"""
    job = Job("count", lambda task: {"rows": Expected((), "int64")}, count)
    assert banks["bank 2"].rehearse(job, {})["rows"] == 32
    with pytest.raises(FedlabError, match="'count' failed: KeyError: 'no'"):
        banks["bank 2"].rehearse(Job("count", job.answer, "{}['no']"), {})
    with pytest.raises(FedlabError, match="took too long"):
        banks["bank 2"].rehearse(Job("count", job.answer, "while True: pass"), {}, timeout=0.5)


def test_the_view_names_every_file(banks):
    fit(banks)
    view = coordinator_view(banks)
    assert len(view) == len(files_in(banks.coordinator))
    answers = view[view["file"] == f"{banks.jobs:03}-train/outputs/answer.npz"]
    assert answers["bank"].tolist() == list(NAMES) and set(answers["kind"]) == {"answer"}
    assert set(view["kind"]) == {*KINDS.values(), "bookkeeping"}


def test_settings_that_make_no_sense(banks):
    with pytest.raises(FedlabError, match="rounds=-1"):
        fit(banks, rounds=-1)
    with pytest.raises(FedlabError, match="takes 5 features"):
        fit_pysyft(fl.dense_autoencoder(5), banks, rounds=1)
    with pytest.raises(FedlabError, match="SGD, not with"):
        fit(banks, local=object())
    with pytest.raises(FedlabError, match="workers=0"):
        SyftFederation(members(), workers=0)
    with pytest.raises(FedlabError, match="no client 'bank 9'"):
        banks["bank 9"]


def test_closing_leaves_nothing(monkeypatch):
    monkeypatch.setenv("PRE_SYNC", "true")
    threads = threading.active_count()
    federation = SyftFederation(members(names=("A", "a", "!")))
    with pytest.raises(FedlabError, match="not open"):
        _ = federation.folder
    with federation as opened:
        folder = opened.folder
        assert len(opened) == 3 and os.environ["PRE_SYNC"] == "false"
        assert [bank.email for bank in opened] == [
            "a@bank.example", "a-1@bank.example", "bank@bank.example",
        ]  # fmt: skip
        answers = opened.ask(TRAIN, {"a": task_of({"global": MODEL}, client=0)}, review=running())
        assert list(answers.arrays) == ["a"]
    assert not folder.exists() and os.environ["PRE_SYNC"] == "true"
    opened.close()
    for _ in range(30):
        if threading.active_count() <= threads:
            break
        time.sleep(0.1)
    assert threading.active_count() <= threads


def test_an_opening_that_fails_cleans_up(monkeypatch):
    import tempfile

    from fedlab_utils.runtimes.pysyft import pair

    made = []
    original = tempfile.mkdtemp
    monkeypatch.setattr(tempfile, "mkdtemp", lambda **k: made.append(original(**k)) or made[-1])
    monkeypatch.setattr(pair, "offer", lambda *a: 1 / 0)
    with pytest.raises(ZeroDivisionError), SyftFederation(members()):
        pass
    assert made and not os.path.exists(made[0])


def test_without_pysyft_the_error_says_how_to_install_it(monkeypatch):
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with (
        pytest.raises(FedlabError, match=r"pip install 'fedlab-utils\[syft\]'"),
        SyftFederation(members()),
    ):
        pass
