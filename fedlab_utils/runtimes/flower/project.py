"""Write the Flower project that `flwr run` sends to the SuperLink. Taught in chapter 14.

The project is all that travels: `pyproject.toml` names the two apps, `app.py` holds the plan as the
Python expressions that make it, `start.json` the start weights. The banks can read every line.
"""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fedlab_utils.errors import FedlabError
from fedlab_utils.models.dense import DenseAutoencoder
from fedlab_utils.models.flat import flatten, unflatten
from fedlab_utils.runtimes.flower.plan import Plan

NAME = "fedlab-app"  # Flower's rule: letters, digits and hyphens
_PROJECT = """[project]
name = "{name}"
version = "1.0.0"
description = "Federated training of an anomaly detector"
license = "Apache-2.0"
dependencies = []

[tool.flwr.app]
publisher = "fedlab"
fab-include = ["*.py", "*.json"]

[tool.flwr.app.components]
serverapp = "app:server"
clientapp = "app:client"

[tool.flwr.app.config]
output = ""
"""
_APP = '''"""What coordinator and banks run; written by fedlab_utils.runtimes.flower.project."""

from pathlib import Path

{imports}
from fedlab_utils.runtimes.flower import Plan, client_app, read_start, server_app

plan = {plan}
model = read_start(Path(__file__).with_name("start.json"))
client = client_app(model, plan)
server = server_app(model, plan)
'''


def write_project(folder: Path, model: nn.Module, plan: Plan) -> Path:
    """Write the project of a run into `folder` (made if need be) and return it.

    Raises FedlabError for a model that is no DenseAutoencoder (write an app.py of your own, after
    this one's example), and for a plan that cannot be written down as Python.
    """
    if not isinstance(model, DenseAutoencoder):
        raise FedlabError(
            f"a {type(model).__name__} cannot be written into the project: only a DenseAutoencoder "
            f"can. Copy the project of one and build your model in its app.py."
        )
    imports: set[str] = set()
    plan_text = _expression(plan, imports, indent=0)
    imports.discard(f"from {Plan.__module__} import Plan")
    folder.mkdir(parents=True, exist_ok=True)
    start = {
        "widths": model.widths,
        "activation": model.activation,
        "weights": flatten(model).tolist(),  # as float64, which holds every float32 exactly
    }
    (folder / "pyproject.toml").write_text(_PROJECT.format(name=NAME), encoding="utf-8")
    (folder / "start.json").write_text(json.dumps(start), encoding="utf-8")
    text = _APP.format(imports="\n".join(sorted(imports)), plan=plan_text)
    (folder / "app.py").write_text(text, encoding="utf-8")
    return folder


def read_start(path: Path) -> nn.Module:
    """The start model of a project, to the bit."""
    start = json.loads(path.read_text(encoding="utf-8"))
    model = DenseAutoencoder(start["widths"], start["activation"])
    return unflatten(torch.tensor(start["weights"], dtype=torch.float32), model)


def _expression(value: Any, imports: set[str], indent: int) -> str:
    """The Python expression that makes `value`; the classes it needs go into `imports`."""
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value)
    if isinstance(value, tuple):
        inside = ", ".join(_expression(v, imports, indent) for v in value)
        return f"({inside}{',' if len(value) == 1 else ''})"
    kind = type(value)
    if is_dataclass(value) and "<" not in kind.__qualname__:
        imports.add(f"from {kind.__module__} import {kind.__qualname__}")
        pad, inner = " " * indent, " " * (indent + 4)
        parts = [
            f"{inner}{f.name}={_expression(getattr(value, f.name), imports, indent + 4)},\n"
            for f in fields(value)
            if f.init
        ]
        return (
            f"{kind.__qualname__}(\n{''.join(parts)}{pad})" if parts else f"{kind.__qualname__}()"
        )
    raise FedlabError(
        f"{value!r} in the plan cannot be written down as Python. Write an app.py of your own, "
        f"after the example of a project with SGD and Mean."
    )
