"""Two processes that call each other's functions, with plain values only.

The teacher's process holds one end, a student's the other. What a call returns is decoded into new
objects (`wire`); what the function did to its arguments is done to the originals, so that a check
sees the same as in a notebook. Neither side can make the other do anything but call a function that
it was given.
"""

import builtins
import json
import os
import selectors
import struct
import time
from collections.abc import Callable
from typing import Any

from fedlab_utils.course.assignment import wire

_HEAD = struct.Struct(">I")


class Gone(Exception):
    """The other process has ended, was stopped, or has sent something that is no message."""


class RemoteError(RuntimeError):
    """The other side's function raised an error whose class is not a built-in one."""


class Peer:
    """One end of a pair of pipes.

    Args:
        reading, writing: file descriptors.
        deadline: a reading of `time.monotonic` after which nothing is waited for; None for never.
        requests: what the other side may ask for beside calls, by name: the worker's `load`.

    `gone` says why the other side can no longer be used; it is "" as long as it can.
    """

    def __init__(
        self,
        reading: int,
        writing: int,
        deadline: float | None = None,
        requests: dict[str, Callable[..., Any]] | None = None,
    ) -> None:
        self.deadline = deadline
        self.gone = ""
        self._reading, self._writing = reading, writing
        self._requests = requests or {}
        self._kept: list[Callable[..., Any]] = []
        self._names: dict[str, int] = {}

    def ask(self, name: str, *args: Any) -> Any:
        """Send a request and return its answer; raises what the other side raised."""
        return self._request({"ask": name}, args, {})

    def serve(self) -> None:
        """Answer requests and calls until the other side hangs up."""
        try:
            while True:
                self._answer(self._receive())
        except Gone:
            return

    def _keep(self, function: Callable[..., Any]) -> int:
        self._kept.append(function)
        return len(self._kept) - 1

    def _stand_in(self, number: int, stub: bool) -> Callable[..., Any]:
        """A function, and not an object with `__call__`, since checks look for functions."""
        if stub:

            def unwritten(*args: Any, **options: Any) -> Any: ...

            return unwritten

        def across(*args: Any, **options: Any) -> Any:
            return self._request({"call": number}, args, options)

        return across

    def _encode(self, value: Any) -> Any:
        return wire.encode(value, self._keep)

    def _decode(self, message: Any) -> Any:
        return wire.decode(message, self._stand_in)

    def _request(self, what: dict[str, Any], args: tuple[Any, ...], options: dict) -> Any:
        message = {**what, "args": self._encode(args), "options": self._encode(options)}
        try:
            if self.gone:
                raise Gone(self.gone)
            return self._await_reply(message, args, options)
        except Gone as reason:
            self.gone = str(reason)  # half a message may lie in the pipe: nothing more is sent
            raise

    def _await_reply(self, message: dict[str, Any], args: tuple[Any, ...], options: dict) -> Any:
        self._write(_pack(message))
        while True:
            reply = self._receive()
            if "reply" not in reply:
                self._answer(reply)  # a call back, before the answer
                continue
            if reply["reply"] == "raised":
                raise _error(reply)
            try:
                value = self._decode(reply["value"])
                after_args, after_options = self._decode(reply["after"])
            except (KeyError, wire.NotPlain) as error:
                raise Gone(f"the answer cannot be used: {error}") from None
            wire.restore(args, after_args)
            wire.restore(options, after_options)
            return value

    def _answer(self, message: dict[str, Any]) -> None:
        try:
            function = self._function(message)
            args, options = self._decode(message["args"]), self._decode(message["options"])
        except (KeyError, IndexError, TypeError, wire.NotPlain) as error:
            raise Gone(f"a message that cannot be understood: {error}") from None
        try:
            value = self._encode(function(*args, **options))
            reply = _pack(
                {"reply": "value", "value": value, "after": self._encode((args, options))}
            )
        except Gone:
            raise
        except BaseException as error:  # also what ends a program: it must not end this one
            reply = _pack({"reply": "raised", **_describe(error)})
        self._write(reply)

    def _function(self, message: dict[str, Any]) -> Callable[..., Any]:
        if "ask" in message:
            return self._requests[message["ask"]]
        number = message["call"]
        if not isinstance(number, int) or number < 0:
            raise KeyError(number)
        return self._kept[number]

    def _write(self, data: bytes) -> None:
        try:
            while data:
                self._wait(self._writing, selectors.EVENT_WRITE)
                data = data[os.write(self._writing, data[:65536]) :]
        except OSError as error:
            raise Gone(f"the other process has ended ({error.strerror})") from None

    def _receive(self) -> dict[str, Any]:
        (size,) = _HEAD.unpack(self._read(_HEAD.size))
        if size > wire.MAX_BYTES:
            raise Gone(f"a message of {size // 1_000_000} MB")
        try:
            message = json.loads(self._read(size))
        except (ValueError, RecursionError):
            raise Gone("a message that is no JSON") from None
        if not isinstance(message, dict):
            raise Gone("a message that is none")
        return message

    def _read(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            self._wait(self._reading, selectors.EVENT_READ)
            piece = os.read(self._reading, min(size - len(data), 1 << 20))
            if not piece:
                raise Gone("the other process has ended")
            data += piece
        return bytes(data)

    def _wait(self, descriptor: int, event: int) -> None:
        if self.deadline is None:
            return
        left = self.deadline - time.monotonic()
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, event)
            if left <= 0 or not selector.select(left):
                raise Gone("the time is over")


def _pack(message: dict[str, Any]) -> bytes:
    data = json.dumps(message).encode()
    if len(data) > wire.MAX_BYTES:
        raise ValueError(f"{len(data) // 1_000_000} MB are too much for one answer")
    return _HEAD.pack(len(data)) + data


def _describe(error: BaseException) -> dict[str, str]:
    """The error's class and message, and the student's line if it came from there."""
    from fedlab_utils.course.assignment.cells import place

    where = place(error)
    message = f"{str(error)[:500]} ({where})" if where else str(error)[:500]
    return {"kind": type(error).__name__, "message": message}


def _error(reply: dict[str, Any]) -> Exception:
    kind, message = str(reply.get("kind")), str(reply.get("message"))[:2000]
    known = getattr(builtins, kind, None)
    # Not SystemExit or KeyboardInterrupt, which would end the teacher's program.
    if isinstance(known, type) and issubclass(known, Exception):
        try:
            return known(message)
        except TypeError:  # UnicodeError and its like want more than a message
            pass
    return RemoteError(f"{kind}: {message}")
