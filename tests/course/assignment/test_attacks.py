"""Hostile answers: none gets a point, none reaches anything, and the marks go on."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fedlab_utils.course import checks
from fedlab_utils.course.assignment import grade as grading
from fedlab_utils.course.assignment import locks, sandbox
from fedlab_utils.course.assignment.grade import Mark, grade
from fedlab_utils.course.assignment.sandbox import Limits, Stage
from fedlab_utils.course.assignment.submission import Notebook
from fedlab_utils.errors import FedlabError

LOCKED = pytest.mark.skipif(bool(locks.missing()), reason="this system has no locks")
ROOT = Path(__file__).resolve().parents[3]
QUICK = Limits(seconds=12, memory_mb=600, disk_mb=16)
RIGHT = "    return float((np.asarray(scores) > threshold).mean())"


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with sandbox.stage(locked=not locks.missing()) as made:
        yield made


def attack(stage: Stage, body: str, limits: Limits = QUICK) -> Mark:
    """Mark exercise 00.2 with a function of this body, in which `give` is the wrong answer."""
    cell = (
        "import ctypes, os, sys, threading, time\nimport numpy as np\n"
        "from fedlab_utils.course import check\n\n\n"
        f"def share_above(scores, threshold):\n{body}\n\n\ncheck('00.2', share_above)"
    )
    notebook = Notebook("00.ipynb", [cell])
    rng = np.random.default_rng(0)
    (mark,) = grade([notebook], ["00.2"], stage, limits, rng)
    assert mark.points == (body == RIGHT)
    return mark


@pytest.fixture(autouse=True)
def nothing_is_left(stage: Stage) -> Iterator[None]:
    import psutil

    before = {one.pid for one in psutil.Process().children(recursive=True)}
    yield
    after = {one.pid for one in psutil.Process().children(recursive=True)}
    assert after <= before


def test_a_right_answer_is_right(stage: Stage) -> None:
    mark = attack(stage, RIGHT)
    assert (mark.status, mark.points, mark.message) == (checks.RIGHT, 1, "")


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ("    ...", checks.NOT_ATTEMPTED, ""),
        ("    return 0.3", checks.WRONG, "is not right"),
        ("    return scores.nonsense", checks.WRONG, "line 7 of your cell"),
        ("    return open", checks.WRONG, "function"),
        ("    return {0.4: 'x'}[float(threshold)]", checks.WRONG, "KeyError"),
        ("    return 0.4\n\n\n1 / 0", checks.WRONG, "cell stopped with ZeroDivisionError"),
        (
            "    return {0.5: 0.4, 9.0: 0.0, 0.2: 0.4}[threshold]",
            checks.WRONG,
            "With other arguments it stopped with KeyError",
        ),
    ],
)
def test_honest_mistakes_are_told(stage: Stage, body: str, status: str, says: str) -> None:
    mark = attack(stage, body)
    assert mark.status == status and says in mark.message


FORGERIES = {
    "prints a verdict": """
    print("✓ Exercise 00.2, The share of alarms: right")
    return 0.3""",
    "changes the checks": """
    from fedlab_utils.course import checks, expect
    checks.check = lambda *a: checks.Verdict("00.2", "", "right", "")
    expect.close = expect.that = lambda *a, **k: None
    np.isclose = lambda *a, **k: np.array(True)
    return 0.3""",
    "lies about being equal": """
    class Liar(float):
        __eq__ = lambda self, other: True
        __sub__ = __rsub__ = lambda self, other: 0.0
        __array__ = lambda self, *a, **k: np.array(0.4)
        __float__ = lambda self: 0.4
    return Liar(0.3)""",
    "lies as an array": """
    class Liar(np.ndarray):
        __eq__ = lambda self, other: np.array(True)
    return np.array(0.3).view(Liar)""",
    "knows the check's cases": """
    table = {0.5: 0.4, 9.0: 0.0, 0.2: 0.4}
    return table.get(threshold, 0.0)""",
    "copies the solution": """
    from fedlab_utils.course.exercises.chapter00 import share_above
    return share_above(scores, threshold)""",
    "asks the register": """
    from fedlab_utils.course import checks
    return checks.find("00.2").solution(scores, threshold)""",
    "answers before it is asked": """
    import json, struct
    for end in range(3, 40):
        for value in (["float", "0x1.999999999999ap-2"], True, ["int", "0x1"]):
            text = json.dumps({"reply": "value", "value": value, "after": [
                "tuple", [["tuple", []], ["dict", []]]]}).encode()
            try:
                os.write(end, struct.pack(">I", len(text)) + text)
            except OSError:
                break
    return 0.3""",
    "leaves": "    os._exit(0)",
    "raises what ends programs": "    raise SystemExit(0)",
    "crashes": "    ctypes.string_at(0)",
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_answer_gets_no_point(stage: Stage, name: str) -> None:
    mark = attack(stage, FORGERIES[name])
    assert mark.status in (checks.WRONG, grading.STOPPED) and mark.message


REACHES = {
    "kills its parent": "os.kill(os.getppid(), 9)",
    "kills everybody": "os.kill(-1, 9)",
    "kills a group": "os.killpg(os.getpgid(os.getppid()), 9)",
    "signals through a pipe": "__import__('fcntl').fcntl(1, 8, os.getppid())",
    "limits its parent": "__import__('resource').prlimit(os.getppid(), 0, (1, 1))",
    "looks into its parent": "ctypes.CDLL(None, use_errno=True).ptrace(16, os.getppid(), 0, 0) "
    "and os.strerror(ctypes.get_errno()) and open(f'/proc/{os.getppid()}/environ')",
    "forks": "os.fork()",
    "starts a program": "os.posix_spawn('/bin/true', ['true'], {})",
    "becomes a program": "os.execv('/bin/true', ['true'])",
    "opens a socket": "__import__('socket').create_connection(('127.0.0.1', 9))",
    "reads the solutions": f"open({str(ROOT / 'chapters/solutions/00_welcome.ipynb')!r})",
    "reads the checks": f"open({str(Path(checks.__file__).parent / 'exercises/chapter00.py')!r})",
    "reads accounts": "open('/etc/passwd')",
    "lists the disk": "os.listdir('/')",
    "takes away rights": "os.chmod('/tmp', 0)",
    "links": "os.symlink('/etc/passwd', 'here')",
}


@LOCKED
@pytest.mark.parametrize("name", REACHES)
def test_nothing_outside_can_be_reached(stage: Stage, name: str) -> None:
    mark = attack(stage, f"    {REACHES[name]}\n{RIGHT}")
    assert mark.status == checks.WRONG
    assert "PermissionError" in mark.message or "OSError" in mark.message, mark.message


@LOCKED
def test_the_marks_of_others_cannot_be_written(stage: Stage, tmp_path: Path) -> None:
    marks = tmp_path / "marks.csv"
    marks.write_text("student,points\n")
    mark = attack(stage, f"    open({str(marks)!r}, 'a').write('me,1')\n{RIGHT}")
    assert "PermissionError" in mark.message and marks.read_text() == "student,points\n"
    mark = attack(stage, f"    os.truncate({str(marks)!r}, 0)\n{RIGHT}")
    assert "PermissionError" in mark.message and marks.read_text() == "student,points\n"


GREED = {
    "memory at once": ("return np.ones(10**10)", "MemoryError"),
    "memory by and by": (
        "import mmap\n    while True:\n        kept = globals().setdefault('kept', [])\n"
        "        kept.append(mmap.mmap(-1, 1 << 24))\n        kept[-1].write(b'x' * (1 << 24))",
        "memory",
    ),
    "a large file": ("open('x', 'wb').write(b'x' * (1 << 27))", "File too large"),
    "many files": (
        "n = 0\n    while True:\n        n += 1\n        open(f'f{n}', 'wb').write(b'x' * 500_000)",
        "wrote more than",
    ),
    "endless time": ("while True: pass", "the time is over"),
    "endless sleep": ("time.sleep(1000)", "the time is over"),
    "endless threads": (
        "while True: threading.Thread(target=time.sleep, args=(99,)).start()",
        "thread",
    ),
    "an endless answer": ("return 'x' * (1 << 25)", "too much"),
    "a deep answer": (
        "deep = []\n    for _ in range(10**5): deep = [deep]\n    return deep",
        "Recursion",
    ),
}


@pytest.mark.parametrize("name", GREED)
def test_greed_ends(stage: Stage, name: str) -> None:
    body, says = GREED[name]
    limits = Limits(seconds=3, memory_mb=QUICK.memory_mb, disk_mb=QUICK.disk_mb)
    begin = time.monotonic()
    mark = attack(stage, f"    {body}", limits if "time" in says else QUICK)
    assert says in mark.message, mark
    assert time.monotonic() - begin < QUICK.seconds + 5


@LOCKED
def test_an_endless_fork_starts_nothing(stage: Stage) -> None:
    body = (
        "    for _ in range(1000):\n        try:\n            os.fork()\n"
        "        except OSError:\n            pass\n    return 0.3"
    )
    assert attack(stage, body).status == checks.WRONG


def test_without_locks_a_process_is_still_watched(tmp_path: Path) -> None:
    spawn = f"{sys.executable!r}, '-c', 'import time; time.sleep(60)'"
    body = f"    import subprocess\n    subprocess.Popen([{spawn}])\n    time.sleep(60)"
    with sandbox.stage(locked=False) as unlocked:
        mark = attack(unlocked, body, Limits(seconds=4))
    assert "the time is over" in mark.message


def test_a_system_without_locks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks.platform, "system", lambda: "Darwin")
    assert locks.missing() == ["seccomp", "Landlock"]
    with pytest.raises(FedlabError, match="no seccomp and no Landlock"), sandbox.stage():
        pass


@pytest.mark.parametrize("column", [0, 1])
def test_the_filter_jumps_to_its_own_steps(column: int) -> None:
    steps = locks.program(column, 4711)
    for place, (code, yes, no, _) in enumerate(steps):
        if code in (0x15, 0x35, 0x45):
            assert place + 1 + max(yes, no) < len(steps)
    assert steps[-1] == (0x06, 0, 0, 0x7FFF0000) and len(steps) < 4096
    numbers = [one[column] for one in locks._REFUSED.values() if one[column] is not None]
    assert len(set(numbers)) == len(numbers)


def test_what_is_forbidden_is_carved_out(tmp_path: Path) -> None:
    for name in ("a/x", "a/secret/deep", "b"):
        (tmp_path / name).mkdir(parents=True)
    found = sandbox.without(tmp_path, [tmp_path / "a" / "secret", Path("/elsewhere")])
    assert sorted(found) == [tmp_path / "a" / "x", tmp_path / "b"]
    assert sandbox.without(tmp_path / "a" / "secret" / "deep", [tmp_path / "a"]) == []
    assert sandbox.without(tmp_path / "b", [tmp_path / "a"]) == [tmp_path / "b"]


def test_the_teachers_environment_stays_with_the_teacher(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEDLAB_TEST_SECRET", "s3cret")
    mark = attack(stage, "    raise ValueError(sorted(os.environ), os.listdir('.'))")
    assert "SECRET" not in mark.message and "HOME" in mark.message and "[]" in mark.message


def test_signals_say_how_a_process_ended(stage: Stage) -> None:
    with sandbox.start(stage, QUICK) as box:
        os.kill(box._process.pid, signal.SIGSEGV)
        assert "signal" in box.died()
    with sandbox.start(stage, QUICK) as box:
        assert box.died() == ""
