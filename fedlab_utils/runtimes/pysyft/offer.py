"""What a bank lets out: a data set with mock rows in public, and checked answers. Chapter 04."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from fedlab_utils.data.federation import Client
from fedlab_utils.runtimes.pysyft.agreed import Job
from fedlab_utils.runtimes.pysyft.bank import ANSWER, DATASET
from fedlab_utils.runtimes.updates import UpdateError, read_arrays

COORDINATOR = "coordinator@federation.example"
MOCK_ROWS = 32


def offer(owner: Any, client: Client, home: Path, seed: int) -> None:
    """Make the bank's PySyft data set: the private rows, and mock rows of the same form.

    Mock rows are random numbers, drawn from `seed` and from nothing else.
    """
    rng = np.random.default_rng([seed, 0x30C4])
    folder = home / "offer"
    private, mock = folder / "private" / f"{DATASET}.npz", folder / "mock" / f"{DATASET}.npz"
    for path in (private, mock):
        path.parent.mkdir(parents=True)
    parts = ("x_train", "x_calibration", "x_test")
    np.savez(private, y_test=client.y_test, **{part: getattr(client, part) for part in parts})
    shape = (MOCK_ROWS, *client.x_train.shape[1:])
    invented: dict[str, Any] = {
        part: rng.standard_normal(shape, dtype=np.float32) for part in parts
    }
    np.savez(mock, y_test=np.arange(MOCK_ROWS) % 8 == 0, **invented)
    owner.create_dataset(
        name=DATASET,
        mock_path=mock,
        private_path=private,
        summary=f"{len(client.x_train)} training rows; the mock file holds random numbers",
        users=[COORDINATOR],
        sync=False,
    )
    shutil.rmtree(folder)


def only_the_answer(bank: str, outputs: Path, job: Job, task: dict[str, Any]) -> str | None:
    """The default release: one file, with the arrays that the job's kind may send; else why not."""
    others = {path.name for path in outputs.iterdir()} - {ANSWER, "syft.pub.yaml"}
    if others:
        return f"the job wrote other files than {ANSWER}: {sorted(others)}"
    try:
        read_arrays(outputs / ANSWER, bank, job.answer(task))
    except UpdateError as error:
        return str(error).removeprefix(f"{bank}: ")
    return None
