"""PySyft in the comparison: each client a bank, each round a job that every bank reviews."""

from __future__ import annotations

import numpy as np
from with_ours import federation_of, local_of, model_of
from worker import Job

import fedlab_utils as fl
from fedlab_utils.runtimes.pysyft import SyftFederation, fit_pysyft


def rounds(job: Job):  # type: ignore[no-untyped-def]
    """Open the banks, which is not timed; return the function that plays a round."""
    banks = SyftFederation(federation_of(job)).__enter__()
    model, local = model_of(job), local_of(job)

    def play_round() -> np.ndarray:
        run = fit_pysyft(model, banks, rounds=1, local=local, timeout=600, progress=False)
        return fl.flatten(run.model).numpy()

    play_round.close = banks.close  # type: ignore[attr-defined]
    return play_round
