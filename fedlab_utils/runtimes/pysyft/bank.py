"""What a job's script may use at the bank: its task, the private rows, a place for the answer.

All of this, and the rest of the package, is installed at every bank before the first job, so the
script that has to be reviewed stays short. Taught in chapter 04.
"""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fedlab_utils.models.dense import DenseAutoencoder
from fedlab_utils.models.flat import unflatten

DATASET = "rows"
ANSWER = "answer.npz"


def encode(weights: torch.Tensor) -> str:
    """Weights [P] as text, to the bit: base64 of little-endian float32."""
    return base64.b64encode(weights.numpy().astype("<f4").tobytes()).decode("ascii")


def decode(text: str) -> torch.Tensor:
    """The inverse of `encode`."""
    return torch.from_numpy(np.frombuffer(base64.b64decode(text), dtype="<f4").astype(np.float32))


def read_task() -> dict[str, Any]:
    """The job's settings: the plain JSON beside the script."""
    return json.loads(Path("task.json").read_text(encoding="utf-8"))


def model_of(task: dict[str, Any], name: str = "global") -> DenseAutoencoder:
    """The autoencoder in the task, carrying the weights sent under `name`."""
    shape = DenseAutoencoder(task["widths"], task["activation"])
    model = unflatten(decode(task["weights"][name]), shape)
    assert isinstance(model, DenseAutoencoder)
    return model


def private_rows(part: str) -> np.ndarray:
    """One array of this bank's data: x_train, x_calibration, x_test [n, d] or y_test [n].

    Inside a job these are the private rows; when the coordinator tries a script out at home, the
    same call gives the mock rows. The file is that of `sy.resolve_dataset_file_path("rows")`, found
    without importing syft, which would double the start of a job.
    """
    place = "private" if os.environ.get("SYFT_IS_IN_JOB") == "true" else "public"
    datasite = Path(os.environ["SYFTBOX_FOLDER"]) / os.environ["SYFTBOX_EMAIL"]
    with np.load(datasite / place / "syft_datasets" / DATASET / f"{DATASET}.npz") as archive:
        return archive[part]


def answer(**arrays: Any) -> None:
    """Write the job's answer, the one file that is to leave the bank."""
    folder = Path("outputs")
    folder.mkdir(exist_ok=True)
    values: dict[str, Any] = {name: np.asarray(value) for name, value in arrays.items()}
    np.savez(folder / ANSWER, **values)
