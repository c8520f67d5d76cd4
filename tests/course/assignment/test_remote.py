"""Two ends of a pair of pipes: calls, calls back, errors, and an end that misbehaves."""

import json
import os
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from fedlab_utils.course.assignment import remote, wire, worker
from fedlab_utils.course.assignment.remote import Gone, Peer, RemoteError


class Line:
    """A teacher's peer, and the raw ends of the other side."""

    def __init__(self) -> None:
        self.to_student, self.from_student = os.pipe(), os.pipe()
        deadline = time.monotonic() + 20
        self.teacher = Peer(self.from_student[0], self.to_student[1], deadline)

    def serve(self, **requests: Callable[..., Any]) -> Peer:
        student = Peer(self.to_student[0], self.from_student[1], requests=requests)
        self.thread = threading.Thread(target=student.serve, daemon=True)
        self.thread.start()
        return student

    def close(self) -> None:
        for end in (self.to_student[1], self.from_student[1]):
            os.close(end)


@pytest.fixture
def line() -> Iterator[Line]:
    made = Line()
    yield made
    made.close()
    os.close(made.from_student[0])


def test_functions_are_called_across(line: Line) -> None:
    def add(x: Any, *, y: int = 1) -> Any:
        x[0] = 9
        return x + y

    line.serve(load=lambda name: {"add": add}[name])
    across = line.teacher.ask("load", "add")
    array = np.array([1, 2])
    assert across(array, y=5).tolist() == [14, 7] and array.tolist() == [9, 2]
    assert "function" in type(across).__name__


def test_a_function_that_is_given_is_called_back(line: Line) -> None:
    def steps(gradient: Any, v: float, n: int) -> float:
        for _ in range(n):
            v = v - 0.5 * gradient(v)
        return v

    line.serve(load=lambda: steps)
    asked: list[float] = []

    def gradient(v: float) -> float:
        asked.append(v)
        return v

    assert line.teacher.ask("load")(gradient, 8.0, 3) == 1.0 and asked == [8.0, 4.0, 2.0]


def test_errors_keep_their_class_if_python_knows_it(line: Line) -> None:
    class Own(ValueError):
        pass

    def fail(kind: str) -> None:
        if kind == "own":
            raise Own("mine")
        if kind == "unicode":
            b"\xff".decode()
        raise {"value": ValueError, "key": KeyError, "exit": SystemExit, "no": StopIteration}[kind](
            kind
        )

    line.serve(load=lambda: fail)
    across = line.teacher.ask("load")
    for kind, error in (("value", ValueError), ("key", KeyError), ("no", StopIteration)):
        with pytest.raises(error, match=kind):
            across(kind)
    with pytest.raises(RemoteError, match="Own: mine"):
        across("own")
    with pytest.raises(RemoteError, match="SystemExit: exit"):
        across("exit")
    with pytest.raises(RemoteError, match="UnicodeDecodeError"):
        across("unicode")


def test_what_cannot_cross_is_an_error_and_not_the_end(line: Line) -> None:
    odd = {"object": object(), "large": "x" * (wire.MAX_BYTES + 1), "good": 3}
    line.serve(load=lambda: lambda key: odd[key])
    across = line.teacher.ask("load")
    with pytest.raises(RemoteError, match="type object is no answer"):
        across("object")
    with pytest.raises(ValueError, match="too much for one answer"):
        across("large")
    assert across("good") == 3


def test_stubs_arrive_as_stubs(line: Line) -> None:
    from fedlab_utils.course.attempt import is_stub

    def stub(x: Any) -> Any: ...

    line.serve(load=lambda: (stub, len))
    there, full = line.teacher.ask("load")
    assert is_stub(there) and there(3) is None and not is_stub(full)


def frame(message: Any) -> bytes:
    data = message if isinstance(message, bytes) else json.dumps(message).encode()
    return struct.pack(">I", len(data)) + data


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        (b"", "the time is over"),
        (struct.pack(">I", 1 << 31), "a message of"),
        (frame(b"{nonsense"), "no JSON"),
        (frame(b"[" * 20_000), "no JSON"),
        (frame([1]), "is none"),
        (frame({"reply": "value"}), "cannot be used"),
        (frame({"reply": "value", "value": ["int", 3], "after": None}), "cannot be used"),
        (frame({"call": 0, "args": None}), "cannot be understood"),
        (frame({"call": -1, "args": ["tuple", []], "options": ["dict", []]}), "understood"),
        (frame({"call": 77, "args": ["tuple", []], "options": ["dict", []]}), "understood"),
        (frame({"ask": "load", "args": ["tuple", []], "options": ["dict", []]}), "understood"),
    ],
)
def test_an_end_that_misbehaves_is_gone_for_good(line: Line, sent: bytes, says: str) -> None:
    line.teacher.deadline = time.monotonic() + (0.3 if says == "the time is over" else 10)
    os.write(line.from_student[1], sent)
    with pytest.raises(Gone, match=says):
        line.teacher.ask("load")
    assert says in line.teacher.gone
    line.teacher.deadline = None
    with pytest.raises(Gone, match=says):
        line.teacher.ask("load")


def test_an_end_that_has_ended(line: Line) -> None:
    os.close(line.from_student[1])
    line.from_student = (line.from_student[0], os.dup(0))
    with pytest.raises(Gone, match="has ended"):
        line.teacher.ask("load")


def test_an_error_of_an_odd_kind_is_told() -> None:
    assert isinstance(remote._error({"kind": "print", "message": "x"}), RemoteError)
    assert isinstance(remote._error({}), RemoteError)


def test_the_worker_serves_a_notebook(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    from fedlab_utils.course import checks

    for name in ("check", "hint"):
        monkeypatch.setattr(checks, name, getattr(checks, name))
    args = (line.to_student[0], line.from_student[1])
    threading.Thread(target=worker.serve, args=args, daemon=True).start()
    cells = ["eight = 8", "check('00.1', 2 + eight)"]
    assert line.teacher.ask("load", cells, "00.1") == 10
    with pytest.raises(RemoteError, match="NotFound"):
        line.teacher.ask("load", cells, "00.2")
