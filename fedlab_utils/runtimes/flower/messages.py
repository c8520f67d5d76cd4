"""What travels between coordinator and bank, and nothing else. Taught in chapter 14.

Down: the global weights, the number of the round, the bank's number in the federation, the seed.
Up: the change of the weights, the mean training loss, the number of training rows.

Flower sends an array as the bytes of NumPy's npy format and refuses pickles. It does not know which
shape, type and values to expect; we do, so both sides read with the reader of chapter 04.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from flwr.app import Array as FlowerArray
from flwr.app import ArrayRecord, RecordDict

from fedlab_utils.runtimes.updates import Expected, UpdateError, read_array

KEY = "fedlab"


@dataclass(frozen=True)
class Instruction:
    """What the coordinator asks of a bank: one round of local training from weights [P]."""

    weights: torch.Tensor
    round: int
    client: int
    seed: int


@dataclass(frozen=True)
class Answer:
    """What a bank sends back: its update [P], mean loss and training rows."""

    update: torch.Tensor
    loss: float
    rows: int


def pack(message: Instruction | Answer) -> RecordDict:
    """Put a message into Flower's container: one array for each of its fields."""
    arrays = {}
    for name, value in vars(message).items():
        if isinstance(value, torch.Tensor):
            array = value.detach().numpy().astype(np.float32)
        elif isinstance(value, float):
            array = np.array(value, np.float64)
        else:
            array = np.array(value, np.int64)
        arrays[name] = FlowerArray(array)
    return RecordDict({KEY: ArrayRecord(arrays)})


def read_instruction(content: RecordDict, parameters: int) -> Instruction:
    """Read what the coordinator sent. Raises UpdateError for anything but what was agreed on."""
    whole = Expected((), "int64", low=0)
    wanted = {
        "weights": Expected((parameters,)),
        "round": whole,
        "client": whole,
        "seed": Expected((), "int64"),
    }
    found = _read(content, "coordinator", wanted)
    numbers = {name: int(found[name]) for name in ("round", "client", "seed")}
    return Instruction(torch.from_numpy(found["weights"]), **numbers)


def read_answer(content: RecordDict, sender: str, parameters: int) -> Answer:
    """Read what a bank sent. Raises UpdateError that begins with the bank's name."""
    wanted = {
        "update": Expected((parameters,)),
        "loss": Expected((), "float64", low=0.0),
        "rows": Expected((), "int64", low=1),
    }
    found = _read(content, sender, wanted)
    return Answer(torch.from_numpy(found["update"]), float(found["loss"]), int(found["rows"]))


def count_bytes(content: RecordDict) -> int:
    """Bytes of the arrays in a message, their npy headers and names included."""
    return sum(record.count_bytes() for record in content.array_records.values())


def _read(
    content: RecordDict, sender: str, wanted: Mapping[str, Expected]
) -> dict[str, np.ndarray]:
    if list(content) != [KEY] or KEY not in content.array_records:
        raise UpdateError(
            f"{sender}: the message holds {sorted(content)[:5]}, expected [{KEY!r}]; refused."
        )
    record: Any = content.array_records[KEY]
    if sorted(record) != sorted(wanted):
        raise UpdateError(
            f"{sender}: the message has the arrays {sorted(record)[:5]}, expected "
            f"{sorted(wanted)}; refused."
        )
    arrays = {}
    for name, expected in wanted.items():
        what = f"{sender}: array {name!r}"
        try:
            arrays[name] = read_array(io.BytesIO(record[name].data), what, expected)
        except UpdateError:
            raise
        except (ValueError, EOFError) as error:
            raise UpdateError(f"{what} is not a sound npy array ({error}); refused.") from error
    return arrays
