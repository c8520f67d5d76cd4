"""A detector as two files: a card that people can read, and plain arrays. Taught in chapter 14.

Nothing in them is code, and reading them never unpickles. The card fixes the name, shape and type
of every array, so the arrays are read with the reader for untrusted files of chapter 04.
"""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from fedlab_utils.errors import FedlabError
from fedlab_utils.runtimes.updates import Expected, UpdateError, parse_arrays, size_limit

CARD, ARRAYS = "card.json", "model.npz"
CARD_BYTES = 1 << 20
ACTIVATIONS = ("relu", "tanh")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


@dataclass(frozen=True)
class Card:
    """What is to be known of a detector beside its weights.

    Attributes:
        name: small letters, digits and hyphens.
        features: names of the d raw features, in order.
        widths: of the autoencoder's layers, from the input to the code.
        activation: "tanh" or "relu".
        threshold: the score above which a row is an alarm.
        alarm_rate: share of normal rows above the threshold, on the calibration rows.
        notes: anything else worth telling, as short texts: data set, rounds, epsilon, who trained.

    Raises FedlabError for values that make no sense.
    """

    name: str
    features: tuple[str, ...]
    widths: tuple[int, ...]
    activation: str
    threshold: float
    alarm_rate: float
    bins: int
    notes: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "features", tuple(self.features))
        object.__setattr__(self, "widths", tuple(self.widths))
        wrong = [
            what
            for what, fine in {
                "name": isinstance(self.name, str) and _NAME.fullmatch(self.name),
                "features": len(set(self.features)) == len(self.features)
                and all(isinstance(f, str) and 0 < len(f) < 200 for f in self.features),
                "widths": 2 <= len(self.widths) <= 10
                and all(type(w) is int and 0 < w < 100_000 for w in self.widths)
                and self.widths[0] == len(self.features),
                "activation": self.activation in ACTIVATIONS,
                "threshold": _number(self.threshold) and self.threshold >= 0,
                "alarm_rate": _number(self.alarm_rate) and 0 < self.alarm_rate < 1,
                "bins": type(self.bins) is int and 2 <= self.bins <= 1000,
                "notes": all(isinstance(t, str) for pair in self.notes.items() for t in pair),
            }.items()
            if not fine
        ]
        if wrong:
            raise FedlabError(f"the card is wrong in {', '.join(wrong)}; see the class Card.")

    def to_json(self) -> bytes:
        """The card as it stands in its file."""
        return (json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n").encode()

    @classmethod
    def from_json(cls, data: bytes) -> Card:
        """Read a card. Raises FedlabError for anything that is not exactly a card."""
        try:
            values = json.loads(data)
            return cls(**values)
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            if isinstance(error, FedlabError):
                raise
            raise FedlabError(f"this is not a card: {error}") from error

    def expected(self) -> dict[str, Expected]:
        """Name, shape and type of every array that belongs to the card."""
        d, both = self.widths[0], (*self.widths, *self.widths[-2::-1])
        arrays = {
            "mean": Expected((d,), "float64"),
            "std": Expected((d,), "float64", low=1e-300),
            "edges": Expected((self.bins - 1,), "float64"),
            "counts": Expected((self.bins,), "int64", low=0),
        }
        for i, (n_in, n_out) in enumerate(pairwise(both)):
            arrays[f"weight{i}"] = Expected((n_out, n_in))
            arrays[f"bias{i}"] = Expected((n_out,))
        return arrays


@dataclass(frozen=True, eq=False)
class Bundle:
    """A card and its arrays.

    `mean` and `std` [d] standardise a raw row; `weight0`, `bias0`, ... are the layers from the
    input to the output; `edges` [bins - 1] and `counts` [bins] say how the scores of all banks'
    calibration rows are spread (the federated reference). Raises FedlabError if they do not fit.
    """

    card: Card
    arrays: Mapping[str, np.ndarray]

    def __post_init__(self) -> None:
        for name, wanted in self.card.expected().items():
            array = self.arrays.get(name)
            if array is None or array.shape != wanted.shape or array.dtype != wanted.dtype:
                raise FedlabError(
                    f"array {name!r} must be {wanted.dtype} of shape {list(wanted.shape)}."
                )
        if not (np.diff(self.arrays["edges"]) > 0).all() or not self.arrays["counts"].sum():
            raise FedlabError("the reference needs increasing edges, and at least one score.")

    def files(self) -> dict[str, bytes]:
        """The two files: name -> content."""
        buffer = io.BytesIO()
        arrays: dict[str, Any] = {name: self.arrays[name] for name in self.card.expected()}
        np.savez(buffer, **arrays)
        return {CARD: self.card.to_json(), ARRAYS: buffer.getvalue()}


def parse_bundle(files: Mapping[str, bytes], source: str) -> Bundle:
    """Read a bundle from the contents of its files. Raises FedlabError that names `source`."""
    try:
        card = Card.from_json(files[CARD])
        expected = card.expected()
        if len(files[ARRAYS]) > size_limit(expected):
            raise UpdateError(f"{source}: {ARRAYS} is larger than the card allows; refused.")
        return Bundle(card, parse_arrays(io.BytesIO(files[ARRAYS]), source, expected))
    except UpdateError:
        raise
    except FedlabError as error:
        raise FedlabError(f"{source}: {error}") from error


def write_bundle(folder: Path, bundle: Bundle) -> None:
    """Write the two files of a bundle into a folder, which is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in bundle.files().items():
        (folder / name).write_bytes(data)


def read_bundle(folder: Path) -> Bundle:
    """Read the two files of a bundle that you have made yourself; nobody has signed them.

    A service loads from a `Registry`. Raises FedlabError for files that are missing or damaged.
    """
    try:
        return parse_bundle({n: (folder / n).read_bytes() for n in (CARD, ARRAYS)}, str(folder))
    except OSError as error:
        raise FedlabError(f"{folder} holds no bundle: {error}") from error


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
