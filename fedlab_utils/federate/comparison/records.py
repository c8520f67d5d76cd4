"""The kept comparison: what was chosen and measured, and by what. Taught in chapter 09."""

from __future__ import annotations

import hashlib
import json
import math
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fedlab_utils.errors import FedlabError
from fedlab_utils.federate.comparison.methods import ALL
from fedlab_utils.federate.comparison.running import SEEDS, TUNING_SEEDS, Choice
from fedlab_utils.federate.comparison.settings import SETTINGS, Setting

if TYPE_CHECKING:
    import pandas as pd

RECORD = Path(__file__).resolve().parent / "recorded.json"
_DIGITS = 6


@dataclass(frozen=True)
class Record:
    """One setting's kept results.

    Attributes:
        made_by: versions of Python and the libraries.
        seconds: that tuning and measuring took.
        choices: {method: what tuning chose}.
        table: what `measure` returned.
    """

    made_by: str
    seconds: float
    choices: dict[str, Choice]
    table: pd.DataFrame


def versions() -> str:
    """Python, torch and numpy here."""
    torch_version = torch.__version__.split("+")[0]
    return f"Python {platform.python_version()}, torch {torch_version}, numpy {np.__version__}"


def fingerprint(setting: Setting) -> str:
    """A mark of budget, grids and seeds: a record with another mark is out of date."""
    grids = [(method.name, method.grid()) for method in ALL]
    budget = setting.budget
    work = (setting.name, setting.differs, budget.local, budget.passes, dict(budget.shape))
    text = repr((work, grids, SEEDS, TUNING_SEEDS))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def record(
    setting: Setting, choices: Mapping[str, Choice], table: pd.DataFrame, seconds: float
) -> None:
    """Keep a setting's results; those of other settings stay."""
    kept: dict[str, Any] = json.loads(RECORD.read_text("utf-8")) if RECORD.exists() else {}
    slim = table.drop(columns="setting")
    kept[setting.name] = {
        "mark": fingerprint(setting),
        "made by": versions(),
        "seconds": round(seconds, 1),
        "choices": {name: asdict(choice) for name, choice in choices.items()},
        "columns": list(slim.columns),
        "rows": [[_plain(value) for value in row] for row in slim.itertuples(index=False)],
    }
    ordered = {name: kept[name] for name in SETTINGS if name in kept}
    settings = ",\n".join(
        f" {json.dumps(name)}: {_lines(content)}" for name, content in ordered.items()
    )
    RECORD.write_text(f"{{\n{settings}\n}}\n", encoding="utf-8")


def _lines(content: Mapping[str, Any]) -> str:
    """A setting as JSON with a line for each row, so that a change shows as few lines."""
    parts = []
    for key, value in content.items():
        if key == "rows":
            text = "[\n" + ",\n".join("   " + json.dumps(row) for row in value) + "\n  ]"
        else:
            text = json.dumps(value)
        parts.append(f"  {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n }"


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
    return value


def recorded() -> dict[str, Record]:
    """The kept results, by setting.

    Raises FedlabError if there are none, or if grids, budget or seeds have changed since.
    Taught in chapter 09.
    """
    import pandas as pd

    command = "python -m fedlab_utils.federate.comparison --record"
    if not RECORD.exists():
        raise FedlabError(f"no kept comparison; make it with {command} (about 30 minutes).")
    found = {}
    for name, content in json.loads(RECORD.read_text("utf-8")).items():
        if name not in SETTINGS or content["mark"] != fingerprint(SETTINGS[name]):
            raise FedlabError(f"the kept results of {name!r} are out of date; renew: {command}")
        table = pd.DataFrame(content["rows"], columns=content["columns"])
        numbers = [str(c) for c in table if c not in ("method", "seed")]
        table = table.astype(dict.fromkeys(numbers, float))
        table.insert(0, "setting", name)
        choices = {
            method: Choice(choice["factor"], choice["value"], tuple(choice["losses"]))
            for method, choice in content["choices"].items()
        }
        found[name] = Record(content["made by"], content["seconds"], choices, table)
    return found
