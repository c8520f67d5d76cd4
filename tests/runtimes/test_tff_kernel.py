"""The kernel behind `%%tff` cells. Most of it needs some Python with ipykernel: this one."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from fedlab_utils.errors import FedlabError
from fedlab_utils.runtimes.tff import TffError, TffKernel, shared
from fedlab_utils.runtimes.tff import kernel as module

ROOT = Path(__file__).resolve().parents[2]
# Leaves a helper behind that ignores everything but a kill, as TensorFlow Federated does.
HELPER = (
    "import subprocess as _sub; helper = _sub.Popen(['sh', '-c', 'trap \"\" TERM HUP; sleep 600'])"
)


def gone(*pids: int, patience: float = 5.0) -> bool:
    """Whether processes end within some seconds; a zombie counts as ended."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        alive = [p for p in pids if psutil.pid_exists(p)]
        try:
            if all(psutil.Process(p).status() == psutil.STATUS_ZOMBIE for p in alive):
                return True
        except psutil.NoSuchProcess:
            continue
        time.sleep(0.05)
    return False


@pytest.fixture(scope="module")
def kernel():
    with TffKernel(sys.executable) as one:
        yield one


def collect(kernel, code):
    seen = []
    kernel.run(code, lambda kind, content: seen.append((kind, content)))
    return seen


def test_variables_stay_and_values_cross(kernel):
    kernel.put({"x": np.arange(3.0), "words": ["a", ("b", None)]})
    kernel.run("y = {'twice': 2 * x, 'words': words}", module.ignore)
    found = kernel.get("y", "x")
    assert found["y"]["twice"].tolist() == [0, 2, 4] and found["y"]["words"] == ["a", ("b", None)]
    assert list(found) == ["y", "x"]


def test_outputs_come_live_and_in_order(kernel):
    began, times = time.monotonic(), []
    code = "import time\nfor i in range(3):\n    print(i, flush=True); time.sleep(0.3)\n'last'"
    kernel.run(code, lambda kind, content: times.append((kind, time.monotonic() - began)))
    kinds = [kind for kind, _ in times]
    assert kinds[-1] == "execute_result" and set(kinds[:-1]) == {"stream"}
    assert times[0][1] < times[-1][1] - 0.4


def test_displays_and_both_streams_arrive(kernel):
    seen = collect(
        kernel,
        "from IPython.display import HTML, display\nimport sys\n"
        "display(HTML('<b>x</b>'))\nprint('to stderr', file=sys.stderr)",
    )
    kinds = dict(seen)
    assert kinds["display_data"]["data"]["text/html"] == "<b>x</b>"
    assert kinds["stream"] == {"name": "stderr", "text": "to stderr\n"}


def test_errors_are_raised_with_their_traceback(kernel):
    with pytest.raises(TffError, match="ZeroDivisionError: division by zero") as caught:
        kernel.run("1 / 0", module.ignore)
    assert caught.value.name == "ZeroDivisionError"
    shown = module._ANSI.sub("", "\n".join(caught.value._render_traceback_()))
    assert "----> 1 1 / 0" in shown
    assert TffError("A", "b")._render_traceback_() == ["A: b"]
    with pytest.raises(TffError, match="SyntaxError"):
        kernel.run("this is no Python", module.ignore)
    with pytest.raises(TffError, match="NameError"):
        kernel.get("never_defined")


def test_an_input_is_refused_and_does_not_hang(kernel):
    with pytest.raises(TffError, match="StdinNotImplementedError"):
        kernel.run("input('?')", module.ignore)


def interrupt_soon(seconds=1.0):
    timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    return timer


def test_an_interrupt_stops_the_code_there_and_keeps_the_variables(kernel):
    kernel.run("kept = 41", module.ignore)
    interrupt_soon()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        kernel.run("import time; time.sleep(600)", module.ignore)
    assert time.monotonic() - began < 8
    assert kernel.alive and kernel.get("kept")["kept"] == 41


def test_code_that_ignores_the_interrupt_is_killed(monkeypatch):
    monkeypatch.setattr(module, "_INTERRUPT", 1.0)
    kernel = TffKernel(sys.executable)
    kernel.run(HELPER, module.ignore)
    helper = kernel.get("helper.pid")["helper.pid"]
    interrupt_soon()
    with pytest.raises(KeyboardInterrupt, match="was killed"):
        kernel.run(
            "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(600)",
            module.ignore,
        )
    assert not kernel.alive and gone(kernel.pid, helper)
    with pytest.raises(TffError, match="was stopped"):
        kernel.run("1", module.ignore)


def test_a_kernel_that_dies_is_reported():
    kernel = TffKernel(sys.executable)
    kernel.run(HELPER, module.ignore)
    helper = kernel.get("helper.pid")["helper.pid"]
    with pytest.raises(TffError, match=r"has ended.*variables are lost"):
        kernel.run("import os; os._exit(3)", module.ignore)
    assert gone(kernel.pid, helper)


def test_stop_ends_all_it_started_and_may_come_twice():
    kernel = TffKernel(sys.executable)
    kernel.run(HELPER, module.ignore)
    helper, folder = kernel.get("helper.pid")["helper.pid"], Path(kernel._folder.name)
    guard = kernel._guard.pid
    kernel.stop()
    kernel.stop()
    assert gone(kernel.pid, helper, guard) and not folder.exists()


def test_a_python_without_a_kernel_says_its_last_words(tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho no module named ipykernel >&2\nexit 1\n")
    python.chmod(0o755)
    with pytest.raises(FedlabError, match=r"(?s)DeadKernel.*no module named ipykernel"):
        TffKernel(python)


def test_a_python_that_never_answers_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_START", 1.0)
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexec sleep 600\n")
    python.chmod(0o755)
    with pytest.raises(FedlabError, match="no answer in 1 s"):
        TffKernel(python)


CHILD = f"""
import os, signal, sys
from fedlab_utils.runtimes.tff import TffKernel
kernel = TffKernel(sys.executable)
kernel.run({HELPER!r}, lambda *_: None)
print(kernel.pid, kernel.get("helper.pid")["helper.pid"], kernel._folder.name, flush=True)
"""


@pytest.mark.parametrize("end", ["pass", "sys.exit(1)", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_nothing_is_left_however_the_notebook_ends(end):
    done = subprocess.run(
        [sys.executable, "-c", CHILD + end], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    kernel, helper, folder = done.stdout.split()
    assert gone(int(kernel), int(helper)), done.stderr
    for _ in range(100):
        if not Path(folder).exists():
            break
        time.sleep(0.05)
    assert not Path(folder).exists()


def test_the_shared_kernel_is_one_and_comes_back(monkeypatch):
    monkeypatch.setattr(module, "require", lambda: sys.executable)
    try:
        first = shared.shared_kernel()
        assert shared.shared_kernel() is first
        assert shared.stop_shared_kernel() and not shared.stop_shared_kernel()
        second = shared.shared_kernel()
        assert second is not first and second.alive
        second.stop()
        assert shared.shared_kernel() is not second
    finally:
        shared.stop_shared_kernel()


def test_it_is_the_right_tff_and_its_worker_ends_with_it(tff_environment):
    with TffKernel() as kernel:
        kernel.run("import tensorflow_federated as tff", module.ignore)
        kernel.run("seven = int(tff.federated_computation(lambda: 7)())", module.ignore)
        assert kernel.get("seven", "tff.__version__") == {"seven": 7, "tff.__version__": "0.87.0"}
        family = [p for p in psutil.process_iter(["name", "pid"]) if _session(p.pid) == kernel.pid]
        workers = [p for p in family if "worker" in p.info["name"]]
        assert workers, [p.info for p in family]
        pids = [p.pid for p in family]
    assert gone(*pids)


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return -1


COUNT = """
import numpy as np, tensorflow as tf, tensorflow_federated as tff
@tff.tensorflow.computation(np.int64)
def count(n):
    return tf.while_loop(lambda i: i < n, lambda i: (i + 1,), [tf.constant(0, tf.int64)])[0]
kept = int(count(10))
"""


def test_an_interrupt_ends_a_long_computation_in_the_worker_of_tff(tff_environment):
    with TffKernel() as kernel:
        kernel.run(COUNT, module.ignore)
        (worker,) = psutil.Process(kernel.pid).children()
        interrupt_soon()
        with pytest.raises(KeyboardInterrupt):
            kernel.run("count(10**12)", module.ignore)
        assert gone(worker.pid)
        began = time.monotonic()
        assert kernel.get("kept + count(5)")["kept + count(5)"] == 15
        assert time.monotonic() - began < 30
        # The call that was interrupted must not be tried again behind the reader's back.
        (other,) = psutil.Process(kernel.pid).children()
        before = other.cpu_times().user
        time.sleep(2)
        assert other.cpu_times().user - before < 0.5
