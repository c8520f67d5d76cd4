"""DP-SGD beside Opacus on the same work: `python -m fedlab_utils.privacy.dp.bench`.

The job: a dense autoencoder 20-10-5-10-20, 256 rows a client, 8 steps on Poisson samples of 32
expected rows, clipping and noise. Opacus gets the samples ready made, and its modules are built
before the clock starts; ours draws them. The contestants take turns in one run; without noise all
must reach the same weights, and only ratios are worth quoting. Taught in chapter 06.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import nn
from torch.nn.functional import mse_loss

from fedlab_utils.errors import FedlabError
from fedlab_utils.federate.batches import RowStore
from fedlab_utils.federate.dpsgd import DPSGD
from fedlab_utils.models.dense import DenseAutoencoder, dense_autoencoder
from fedlab_utils.models.flat import flatten

ROWS, FEATURES, SEED = 256, 20, 0
JOB = DPSGD(lr=0.05, clip=0.1, noise_multiplier=1.0, batch_size=32, epochs=1)
Train = Callable[[DPSGD], torch.Tensor]


def measure(clients: int = 100, repeats: int = 5, job: DPSGD = JOB) -> list[dict[str, float | str]]:
    """Let the contestants take turns; one row per contestant, ratios to Opacus.

    Raises FedlabError if Opacus is not installed.
    """
    model = dense_autoencoder(FEATURES, hidden=10, code=5)
    rng = np.random.default_rng([SEED, 0xBE2C])
    parts = [rng.normal(size=(ROWS, FEATURES)).astype(np.float32) for _ in range(clients)]
    store, start = RowStore(parts, model), flatten(model)
    everyone = np.arange(clients)

    def stacked(local: DPSGD) -> torch.Tensor:
        return local.train("stacked", model, start, store, everyone, SEED, 0)[0]

    def one_by_one(local: DPSGD) -> torch.Tensor:
        alone = [
            local.train("stacked", model, start, store, everyone[k : k + 1], SEED, 0)[0]
            for k in range(clients)
        ]
        return torch.cat(alone)

    contestants: dict[str, Train] = {
        "Opacus": with_opacus(model, start, store, job),
        "ours, one client at a time": one_by_one,
        "ours, stacked": stacked,
    }
    silent = replace(job, noise_multiplier=0.0)
    reference = contestants["Opacus"](silent)
    deviation = {
        name: float((train(silent) - reference).abs().max() / reference.abs().max())
        for name, train in contestants.items()
    }
    assert max(deviation.values()) < 1e-4, deviation
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(repeats + 1):
        for name, train in contestants.items():
            began = time.perf_counter()
            train(job)
            if turn:  # the first turn warms up
                seconds[name].append(time.perf_counter() - began)
    return [
        {
            "contestant": name,
            "client updates/s": clients / statistics.median(each),
            "times Opacus": statistics.median(
                a / b for a, b in zip(seconds["Opacus"], each, strict=True)
            ),
            "largest deviation": deviation[name],
        }
        for name, each in seconds.items()
    ]


def with_opacus(model: DenseAutoencoder, start: torch.Tensor, store: RowStore, job: DPSGD) -> Train:
    """A round of all clients with Opacus, on the samples that `job` draws."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from opacus import GradSampleModule
            from opacus.optimizers import DPOptimizer
    except ImportError as error:
        raise FedlabError("this comparison needs Opacus: pip install opacus") from error
    everyone = range(len(store.sizes))
    samples = [job.draw(k, int(store.sizes[k]), SEED, 0)[0] for k in everyone]
    wrapped = GradSampleModule(type(model)(model.widths, model.activation))

    def train(local: DPSGD) -> torch.Tensor:
        return torch.stack([client(local, k) for k in everyone])

    def client(local: DPSGD, k: int) -> torch.Tensor:
        load(wrapped, start)
        rows = store.of(k)
        optimiser = DPOptimizer(
            torch.optim.SGD(wrapped.parameters(), lr=local.lr, momentum=local.momentum),
            noise_multiplier=local.noise_multiplier,
            max_grad_norm=local.clip,
            expected_batch_size=int(local.rate(len(rows)) * len(rows)),
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's remark on hooks without input gradients
            for batch in samples[k]:
                x = rows[torch.from_numpy(batch)]
                optimiser.zero_grad()
                mse_loss(wrapped(x), x).backward()
                optimiser.step()
        return flatten(wrapped) - start

    return train


def load(model: nn.Module, start: torch.Tensor) -> None:
    """Write weights [P] into a model, in place."""
    at = 0
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(start[at : at + p.numel()].view_as(p))
            at += p.numel()


def main() -> None:
    """Print the table."""
    import pandas as pd

    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    try:
        rows = measure(options.clients, options.repeats)
    except FedlabError as error:
        parser.exit(1, f"{error}\n")
    print(pd.DataFrame(rows).to_string(index=False))


if __name__ == "__main__":
    main()
