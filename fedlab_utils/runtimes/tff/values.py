"""Values that cross between two Pythons: arrays in an npz without pickle, the rest as JSON.

This file is also loaded by the Python of TensorFlow Federated, which has numpy but not this
package, so it imports nothing else. Taught in chapter 05.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

_PLAIN = (bool, int, float, str, type(None))
_STRUCTURE = "structure"
_KINDS = "biufcSU"  # numpy's kinds that hold plain values and need no pickle


def save(path: str | Path, values: dict[str, Any]) -> None:
    """Write named values to a file.

    Numbers, strings, None, lists, tuples, dicts with string keys, and arrays, nested as you like.
    Tensors (torch, TensorFlow) become arrays. Raises ValueError that names the value that is
    something else.
    """
    arrays: dict[str, np.ndarray] = {}
    structure = {name: _pack(value, name, arrays) for name, value in values.items()}
    text = json.dumps(structure)
    np.savez(path, **{_STRUCTURE: np.array(text)}, **arrays)  # type: ignore[arg-type]


def load(path: str | Path) -> dict[str, Any]:
    """Read what `save` wrote. Nothing is unpickled."""
    with np.load(path, allow_pickle=False) as data:
        structure = json.loads(str(data[_STRUCTURE]))
        return {name: _unpack(value, data) for name, value in structure.items()}


def _pack(value: Any, where: str, arrays: dict[str, np.ndarray]) -> Any:
    """A value as JSON; arrays go into `arrays` and leave their name."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    if hasattr(value, "numpy"):
        value = value.numpy()
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, (list, tuple)):
        items = [_pack(item, f"{where}[{i}]", arrays) for i, item in enumerate(value)]
        return {"tuple" if isinstance(value, tuple) else "list": items}
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise ValueError(f"{where}: only dicts whose keys are strings can cross.")
        return {"dict": {k: _pack(v, f"{where}[{k!r}]", arrays) for k, v in value.items()}}
    scalar = isinstance(value, np.generic)
    array = np.asarray(value) if scalar or isinstance(value, np.ndarray) else np.array(None)
    if array.dtype.kind not in _KINDS:
        raise ValueError(
            f"{where}: a {type(value).__name__} cannot cross. What can: numbers, strings, None, "
            f"arrays of them, and lists, tuples and dicts of these. Take it apart first."
        )
    name = f"a{len(arrays)}"
    arrays[name] = array
    return {"scalar" if scalar else "array": name}


def _unpack(value: Any, data: Any) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind in ("array", "scalar"):
        return data[content][()] if kind == "scalar" else data[content]
    if kind == "dict":
        return {key: _unpack(item, data) for key, item in content.items()}
    items = [_unpack(item, data) for item in content]
    return tuple(items) if kind == "tuple" else items
