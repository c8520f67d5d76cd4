"""This course's engine in the comparison: the stacked one, on one thread."""

from __future__ import annotations

import numpy as np
import torch
from worker import Job

import fedlab_utils as fl
from fedlab_utils.federate import batch_order


def federation_of(job: Job) -> fl.Federation:
    """The job's clients, their rows laid out so that `fl.fit` visits them in the job's order."""
    clients = []
    empty = np.empty((0, job.widths[0]), dtype=np.float32)
    for k, batches in enumerate(job.batches):
        ordered = batches.reshape(-1, job.widths[0])
        n = len(ordered)
        rows = np.empty_like(ordered)
        rows[batch_order(0, 0, np.array([k]), np.array([0]), n, np.array([n]))[0]] = ordered
        labels = np.empty(0, bool)
        clients.append(fl.Client(f"client {k}", rows, empty, empty, labels, labels.astype(str)))
    return fl.Federation("job", tuple(clients), tuple(f"x{i}" for i in range(job.widths[0])))


def model_of(job: Job) -> fl.DenseAutoencoder:
    """The job's model with its start weights."""
    half = job.widths[: len(job.widths) // 2 + 1]
    model = fl.unflatten(torch.from_numpy(job.start), fl.DenseAutoencoder(half))
    assert isinstance(model, fl.DenseAutoencoder)
    return model


def local_of(job: Job) -> fl.SGD:
    """One epoch in the job's batches."""
    return fl.SGD(lr=job.lr, epochs=1, batch_size=job.batches.shape[2])


def rounds(job: Job):  # type: ignore[no-untyped-def]
    """Return the function that plays a round."""
    torch.set_num_threads(1)
    federation, model, local = federation_of(job), model_of(job), local_of(job)

    def play_round() -> np.ndarray:
        run = fl.fit(model, federation, rounds=1, local=local, progress=False)
        return fl.flatten(run.model).numpy()

    return play_round
