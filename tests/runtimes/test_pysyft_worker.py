"""The waiting interpreter that becomes a bank's jobs."""

import os
import signal
import subprocess
import time

import pytest

from fedlab_utils.errors import FedlabError
from fedlab_utils.runtimes.pysyft.runner import clean_environment
from fedlab_utils.runtimes.pysyft.worker import KILLED, Worker


@pytest.fixture(scope="module")
def worker():
    one = Worker(clean_environment())
    yield one
    one.close()


@pytest.fixture
def run(worker, tmp_path):
    """Run a script as a job; its exit code and what it printed."""

    def run(script, environment=None, timeout=60.0):
        (tmp_path / "main.py").write_text(script)
        with open(tmp_path / "log", "wb") as log:
            job = worker.begin(tmp_path, environment or {}, log)
        try:
            return job.wait(timeout), (tmp_path / "log").read_text()
        finally:
            job.stop()
            job.close()

    return run


def gone(number):
    """Whether a process has ended (a zombie that nobody has waited for has)."""
    for _ in range(100):
        try:
            with open(f"/proc/{number}/stat") as file:
                if file.read().rsplit(")", 1)[1].split()[0] == "Z":
                    return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False


def test_a_job_prints_and_ends(run, tmp_path):
    code, text = run("import os, sys; print(os.getcwd(), sys.argv, __name__)")
    assert (code, text) == (0, f"{tmp_path} ['main.py'] __main__\n")


@pytest.mark.parametrize(
    ("script", "code", "says"),
    [
        ("raise SystemExit(7)", 7, ""),
        ("raise SystemExit", 0, ""),
        ("raise SystemExit('no rows')", 1, ""),
        ("1 / 0", 1, "ZeroDivisionError"),
        ("import os; os._exit(3)", 3, ""),
        ("import os; os.kill(os.getpid(), 9)", KILLED, ""),
        ("this is no Python", 1, "SyntaxError"),
    ],
)
def test_exit_codes_are_those_of_an_ordinary_process(run, script, code, says):
    given, text = run(script)
    assert given == code and says in text


def test_a_job_knows_its_own_environment_and_no_other(run, monkeypatch):
    monkeypatch.setenv("BANK_PASSWORD", "secret")
    code, text = run(
        "import os; print(dict(os.environ)); print(open('/proc/self/environ').read())",
        {"SYFT_IS_IN_JOB": "true"},
    )
    assert code == 0
    assert text.startswith("{'SYFT_IS_IN_JOB': 'true'}") and "secret" not in text


def test_jobs_share_the_libraries_and_nothing_else(run):
    script = "import sys, torch; print('torch' in before, hasattr(torch, 'left')); torch.left = 1"
    for _ in range(2):
        assert run(f"import sys; before = set(sys.modules); {script}") == (0, "True False\n")


def test_every_job_is_a_process_of_its_own(run):
    numbers = {run("import os; print(os.getpid(), os.getpgid(0), os.getsid(0))")[1] for _ in "ab"}
    assert len(numbers) == 2
    assert all(len(set(line.split())) == 1 for line in numbers)  # leader of its group and session


def test_a_training_step_works_after_the_fork(run):
    code, text = run(
        "import torch; m = torch.nn.Linear(2, 1); o = torch.optim.SGD(m.parameters(), lr=0.1);"
        "m(torch.ones(3, 2)).sum().backward(); o.step(); print('ok')"
    )
    assert (code, text) == (0, "ok\n")


def test_a_silent_job_is_ended_with_what_it_started(run, tmp_path):
    script = (
        "import os, subprocess, time; child = subprocess.Popen(['sleep', '600']);"
        "open('numbers', 'w').write(f'{os.getpid()} {child.pid}'); time.sleep(600)"
    )
    with pytest.raises(subprocess.TimeoutExpired):
        run(script, {"PATH": os.environ["PATH"]}, timeout=1.0)
    assert all(gone(int(number)) for number in (tmp_path / "numbers").read_text().split())


def test_what_a_job_leaves_behind_is_ended_too(run, tmp_path):
    script = (
        "import subprocess; child = subprocess.Popen(['sleep', '600']);"
        "open('number', 'w').write(str(child.pid))"
    )
    code, _ = run(script, {"PATH": os.environ["PATH"]})
    assert code == 0 and gone(int((tmp_path / "number").read_text()))


def test_jobs_run_side_by_side(worker, tmp_path):
    """Each waits for a file that the other one writes."""
    jobs = []
    for own, other in (("a", "b"), ("b", "a")):
        folder = tmp_path / own
        folder.mkdir()
        (folder / "main.py").write_text(
            f"import pathlib, time; pathlib.Path('../{own}.txt').touch()\n"
            f"while not pathlib.Path('../{other}.txt').exists(): time.sleep(0.01)"
        )
        with open(folder / "log", "wb") as log:
            jobs.append(worker.begin(folder, {}, log))
    assert [job.wait(30) for job in jobs] == [0, 0]
    for job in jobs:
        job.close()


def test_a_worker_that_was_killed_is_started_anew(run, worker):
    assert run("print(1)")[0] == 0
    assert worker._process is not None
    os.kill(worker._process.pid, signal.SIGKILL)
    worker._process.wait()
    assert run("print(1)") == (0, "1\n")


def test_a_worker_that_cannot_start_says_so(tmp_path, capfd):
    broken = Worker({**clean_environment(), "PYTHONPATH": str(tmp_path), "PYTHONHOME": "/nowhere"})
    with open(tmp_path / "log", "wb") as log, pytest.raises(FedlabError, match="could not start"):
        broken.begin(tmp_path, {}, log)
    broken.close()
    broken.close()
