"""What coordinator and banks agreed on before the first job. Taught in chapter 04.

A bank that reads every script anew in every round will soon read none. So the scripts are read
once, and in each round a bank only asks: is this, letter by letter, what we agreed on?
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fedlab_utils.detect import score_edges
from fedlab_utils.errors import FedlabError
from fedlab_utils.models.dense import DenseAutoencoder
from fedlab_utils.models.flat import flatten
from fedlab_utils.runtimes.pysyft.bank import decode, encode
from fedlab_utils.runtimes.updates import Expected

# The bank, not the coordinator, says which interpreter and so which package versions run.
RUN = 'cd code && exec "$FEDLAB_PYTHON" main.py\n'
FILES = {"main.py", "script.sh", "task.json"}  # syft adds script.sh, a copy of RUN


@dataclass(frozen=True)
class Job:
    """A kind of job: its script, and what its answer must look like.

    Attributes:
        name: what results and errors call it.
        answer: task -> the arrays that the answer file must hold.
        text: the script; None for the one of this name that comes with the package.
    """

    name: str
    answer: Callable[[dict[str, Any]], dict[str, Expected]]
    text: str | None = None

    @property
    def script(self) -> str:
        """The text of the script, as banks review it."""
        if self.text is not None:
            return self.text
        return (Path(__file__).parent / "jobs" / f"{self.name}.py").read_text(encoding="utf-8")


def _update(task: dict[str, Any]) -> dict[str, Expected]:
    size = len(decode(task["weights"]["global"]))
    return {
        "update": Expected((size,)),
        "loss": Expected((), "float64", low=0),
    }


def _metrics(task: dict[str, Any]) -> dict[str, Expected]:
    number = Expected((), "int64", low=0)
    # finite=False: AP and AUC are nan for test rows of one class
    metric = Expected((len(task["weights"]),), "float64", finite=False, low=0, high=1)
    return {"rows": number, "anomalies": number, "ap": metric, "auc": metric}


def _counts(task: dict[str, Any]) -> dict[str, Expected]:
    return {"counts": Expected((len(score_edges()) + 1,), "int64", low=0)}


TRAIN = Job("train", _update)
EVALUATE = Job("evaluate", _metrics)
HISTOGRAM = Job("histogram", _counts)
AGREED = (TRAIN, EVALUATE, HISTOGRAM)


def approve_agreed(bank: str, job: Any) -> str | None:
    """The default review: approve a script that is one of the agreed ones, letter by letter.

    Args:
        bank: name of the bank that reviews.
        job: PySyft's job as the bank sees it: `job.code`, `job.run_script`, `job.code_dir`.

    Returns:
        None to approve, otherwise the reason for the rejection, which the coordinator gets to see.
    """
    extra = {path.name for path in job.code_dir.iterdir()} - FILES
    if extra:
        return f"the job brings files that were not agreed on: {sorted(extra)}"
    if job.run_script != RUN:
        return "run.sh is not the line that we agreed on"
    code = (job.code_dir / "main.py").read_text(encoding="utf-8")
    if code not in [agreed.script for agreed in AGREED]:
        return "main.py is none of the scripts that we agreed on"
    return None


def task_of(models: dict[str, nn.Module], **settings: Any) -> dict[str, Any]:
    """The task for a job: one or more autoencoders of one shape, and settings in plain JSON.

    Raises FedlabError for a model whose shape cannot be said in JSON: to send any other module
    one would have to send code.
    """
    first = next(iter(models.values()))
    for name, model in models.items():
        if not isinstance(model, DenseAutoencoder):
            raise FedlabError(
                f"{name}: PySyft jobs here carry a DenseAutoencoder, not a "
                f"{type(model).__name__}; its shape is sent as plain numbers, never as code."
            )
        if (model.widths, model.activation) != (first.widths, first.activation):
            raise FedlabError(f"{name}: the models of one job must have one shape.")
    task = {
        "widths": list(first.widths),  # type: ignore[arg-type]
        "activation": first.activation,
        "weights": {name: encode(flatten(model)) for name, model in models.items()},
        **settings,
    }
    return json.loads(json.dumps(task))


def with_weights(task: dict[str, Any], weights: torch.Tensor) -> dict[str, Any]:
    """The same task for other global weights [P]."""
    return {**task, "weights": {"global": encode(weights)}}
