"""Values that cross between the teacher's process and a student's, as JSON and nothing else.

`encode` turns a value into JSON; `decode` makes new objects of exactly the built-in types, numpy's
arrays and torch's tensors. A student's class, with whatever its `__eq__` says, does not cross: it
arrives as what it holds, or not at all. Functions cross as a number by which they are called.
"""

import base64
import math
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import numpy as np

MAX_BYTES = 1 << 24  # of one message
# Integers and keys that are chosen for it take time that grows with the square of their number.
_MAX_DIGITS = 20_000
_MAX_KEYS = 10_000
_DTYPE = re.compile(r"[<>|=][biufcUSM]\d+(\[\w+\])?")
_TENSORS = re.compile(r"float(16|32|64)|bfloat16|u?int(8|16|32|64)|bool|complex(64|128)")
Keep = Callable[[Any], int]
Fetch = Callable[[int, bool], Any]


class NotPlain(TypeError):
    """A value that does not cross, or a message that is none."""


def encode(value: Any, keep: Keep) -> Any:
    """Return the value as JSON. Raises NotPlain for a type that no exercise asks for.

    Args:
        value: built-in types, numpy, torch, Fraction, a generator of numpy's; nested at will.
        keep: remembers a function and returns the number by which the other side calls it.
    """
    if value is None or isinstance(value, bool):
        return value
    if value is ...:
        return ["ellipsis"]
    for kind, (types, turn) in _SCALARS.items():
        # numpy's float64 is a float too, and must stay what it is.
        if isinstance(value, types) and not isinstance(value, np.generic):
            return [kind, turn(value)]
    for kind, container in _CONTAINERS.items():
        if isinstance(value, container):
            return [kind, [encode(item, keep) for item in value]]
    if isinstance(value, Mapping):
        return ["dict", [[encode(key, keep), encode(item, keep)] for key, item in value.items()]]
    if isinstance(value, np.ndarray | np.generic):
        return _encode_array(np.asarray(value), "array" if isinstance(value, np.ndarray) else "one")
    if isinstance(value, np.random.Generator):
        return ["generator", encode(value.bit_generator.state, keep)]
    if hasattr(value, "detach") and hasattr(value, "dtype"):
        return _encode_tensor(value)
    if callable(value):
        return ["function", keep(value), _is_stub(value)]
    raise NotPlain(f"an object of the type {type(value).__name__} is no answer to an exercise")


def _is_stub(value: Any) -> bool:
    from fedlab_utils.course.attempt import is_stub

    return is_stub(value)


def _encode_array(array: np.ndarray, kind: str) -> Any:
    if array.dtype.kind == "O":
        raise NotPlain("an array of Python objects is no answer to an exercise")
    data = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
    return [kind, array.dtype.str, list(array.shape), data]


def _encode_tensor(tensor: Any) -> Any:
    import torch

    name = str(tensor.dtype).removeprefix("torch.")
    plain = tensor.detach().cpu().contiguous().reshape(-1)
    # As bytes: numpy has no bfloat16.
    data = base64.b64encode(plain.view(torch.uint8).numpy().tobytes() if plain.numel() else b"")
    return ["tensor", name, list(tensor.shape), data.decode()]


_SCALARS: dict[str, tuple[type | tuple[type, ...], Callable[[Any], Any]]] = {
    "int": (int, lambda value: hex(int(value))),
    "float": (float, lambda value: float(value).hex()),
    "complex": (complex, lambda value: [value.real.hex(), value.imag.hex()]),
    "str": (str, str),
    "bytes": ((bytes, bytearray), lambda value: base64.b64encode(value).decode()),
    "fraction": (Fraction, lambda value: [hex(value.numerator), hex(value.denominator)]),
}
_MUTABLE = (np.ndarray, list, dict, set, tuple, np.random.Generator)
_CONTAINERS = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}


def decode(message: Any, fetch: Fetch) -> Any:
    """Return the value of a message. Raises NotPlain for anything that `encode` does not write.

    Args:
        message: what `json` has read.
        fetch: makes the stand-in of a function from its number and whether it is a stub.
    """
    if message is None or isinstance(message, bool):
        return message
    try:
        kind, *rest = message
        return _decode(kind, rest, fetch)
    except NotPlain:
        raise
    except (TypeError, ValueError, LookupError, ArithmeticError, RuntimeError) as error:
        raise NotPlain(f"a message that cannot be read: {error}") from None


def _decode(kind: Any, rest: list[Any], fetch: Fetch) -> Any:
    if kind in ("dict", "set", "frozenset") and len(rest[0]) > _MAX_KEYS:
        raise NotPlain(f"a {kind} of {len(rest[0])} entries is no answer to an exercise")
    if kind in _CONTAINERS:
        return _CONTAINERS[kind](decode(item, fetch) for item in rest[0])
    if kind == "dict":
        return {decode(key, fetch): decode(item, fetch) for key, item in rest[0]}
    if kind in ("array", "one"):
        array = _decode_array(*rest)
        return array if kind == "array" else array[()]
    if kind == "tensor":
        return _decode_tensor(*rest)
    if kind == "function":
        number, stub = rest
        return fetch(int(number), stub is True)
    if kind == "generator":
        return _decode_generator(decode(rest[0], fetch))
    return _PLAIN[kind](*rest)


_PLAIN: dict[str, Callable[..., Any]] = {
    "ellipsis": lambda: ...,
    "int": lambda text: _integer(text),
    "float": float.fromhex,
    "complex": lambda parts: complex(float.fromhex(parts[0]), float.fromhex(parts[1])),
    "str": lambda text: "".join(text) if isinstance(text, str) else _no_text(),
    "bytes": lambda text: base64.b64decode(text, validate=True),
    "fraction": lambda parts: Fraction(_integer(parts[0]), _integer(parts[1])),
}


def _integer(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise NotPlain(f"an integer of {len(text)} digits is no answer to an exercise")
    return int(text, 16)


def _no_text() -> str:
    raise NotPlain("a text that is none")


def _decode_array(dtype: str, shape: list[int], data: str) -> np.ndarray:
    if not _DTYPE.fullmatch(dtype):
        raise NotPlain(f"an array of the type {str(dtype)[:40]!r} is no answer to an exercise")
    return np.frombuffer(base64.b64decode(data), np.dtype(dtype)).reshape(_sides(shape)).copy()


def _decode_tensor(name: str, shape: list[int], data: str) -> Any:
    import torch

    if not _TENSORS.fullmatch(name):
        raise NotPlain(f"a tensor of the type {str(name)[:40]!r} is no answer to an exercise")
    raw = bytearray(base64.b64decode(data))
    dtype = getattr(torch, name)
    flat = torch.frombuffer(raw, dtype=dtype) if raw else torch.empty(0, dtype=dtype)
    return flat.reshape(_sides(shape))


def _sides(shape: list[int]) -> tuple[int, ...]:
    sides = tuple(int(side) for side in shape)
    # No side of -1, which would let the other side leave one out, and no endless empty arrays.
    if any(side < 0 for side in sides) or math.prod(max(side, 1) for side in sides) > MAX_BYTES:
        raise NotPlain("an array of an impossible shape")
    return sides


def _decode_generator(state: dict[str, Any]) -> np.random.Generator:
    generator = np.random.default_rng()
    generator.bit_generator.state = state
    return generator


def restore(original: Any, after: Any) -> None:
    """Do to a mutable argument what the function on the other side has done to its copy."""
    if isinstance(original, np.ndarray) and isinstance(after, np.ndarray):
        if original.shape == after.shape and original.dtype == after.dtype:
            original[...] = after
    elif isinstance(original, np.random.Generator) and isinstance(after, np.random.Generator):
        original.bit_generator.state = after.bit_generator.state
    elif hasattr(original, "copy_") and hasattr(after, "detach"):
        if original.shape == after.shape and original.dtype == after.dtype:
            original.detach().copy_(after)
    elif isinstance(original, list) and isinstance(after, list):
        _restore_items(original, after, range(len(original)), len(original) == len(after))
    elif isinstance(original, dict) and isinstance(after, dict):
        _restore_items(original, after, list(original), original.keys() == after.keys())
    elif isinstance(original, set) and isinstance(after, set):
        original.clear()
        original.update(after)
    elif isinstance(original, tuple) and isinstance(after, tuple):
        for one, other in zip(original, after, strict=False):
            restore(one, other)


def _restore_items(original: Any, after: Any, places: Any, same: bool) -> None:
    if not same:
        original.clear()
        (original.update if isinstance(original, dict) else original.extend)(after)
        return
    for place in places:
        if isinstance(original[place], _MUTABLE) or hasattr(original[place], "copy_"):
            restore(original[place], after[place])
        else:
            original[place] = after[place]
