"""Client updates per second: `python -m fedlab_utils.federate.bench`. Taught in chapter 03.

The job: a dense autoencoder 20-10-5-10-20, 256 rows a client, batches of 32, one epoch. The
contestants take turns in one run, all must reach the same weights, and only ratios between them
are worth quoting: absolute numbers belong to the machine.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from fedlab_utils.federate.engine import RowStore, train_loop, train_stacked
from fedlab_utils.federate.order import batch_order
from fedlab_utils.federate.solvers import SGD
from fedlab_utils.models.dense import dense_autoencoder
from fedlab_utils.models.flat import flatten

ROWS, FEATURES = 256, 20
LOCAL = SGD(lr=0.05, epochs=1, batch_size=32)
Contestant = Callable[[nn.Module, RowStore, np.ndarray], torch.Tensor]


def make_store(model: nn.Module, clients: int) -> RowStore:
    """Random rows of `clients` clients."""
    rng = np.random.default_rng(0)
    shape = (ROWS, FEATURES)
    return RowStore([rng.standard_normal(shape, np.float32) for _ in range(clients)], model)


def naive(model: nn.Module, store: RowStore, clients: np.ndarray) -> torch.Tensor:
    """A tutorial's loop: copy the model, train it, average the state dictionaries."""
    states = []
    for client in clients:
        own = copy.deepcopy(model)
        optimiser = torch.optim.SGD(own.parameters(), lr=LOCAL.lr)
        who, zero, size = np.array([client]), np.zeros(1, dtype=int), np.array([ROWS])
        order = torch.from_numpy(batch_order(0, 0, who, zero, ROWS, size)[0])
        for batch in store.of(client)[order].split(32):
            optimiser.zero_grad()
            nn.functional.mse_loss(own(batch), batch).backward()
            optimiser.step()
        states.append(own.state_dict())
    mean = {name: torch.stack([s[name] for s in states]).mean(0) for name in states[0]}
    return torch.cat([value.reshape(-1) for value in mean.values()])


def _engine(train: Callable) -> Contestant:
    def run(model: nn.Module, store: RowStore, clients: np.ndarray) -> torch.Tensor:
        start = flatten(model)
        updates, _ = train(model, start, store, clients, LOCAL, 0, 0)
        return start + updates.mean(0)

    return run


CONTESTANTS: dict[str, Contestant] = {
    "naive loop": naive,
    "loop": _engine(train_loop),
    "stacked": _engine(train_stacked),
}


def measure(clients: int, repeats: int) -> list[dict[str, float | str]]:
    """One row per contestant: client updates/s (median), ratio to the naive loop, deviation.

    Raises AssertionError if the weights differ by more than 1e-5 of the largest one.
    """
    model = dense_autoencoder(FEATURES, hidden=10, code=5)
    store, everyone = make_store(model, clients), np.arange(clients)
    seconds: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
    weights: dict[str, torch.Tensor] = {}
    for repeat in range(repeats + 1):
        for name, run in CONTESTANTS.items():
            began = time.perf_counter()
            weights[name] = run(model, store, everyone)
            if repeat:  # the first turn warms up
                seconds[name].append(time.perf_counter() - began)
    reference = weights["naive loop"]
    rows: list[dict[str, float | str]] = []
    for name in CONTESTANTS:
        deviation = float((weights[name] - reference).abs().max() / reference.abs().max())
        assert deviation < 1e-5, f"{name} deviates from the naive loop by {deviation:.1e}"
        ratios = [a / b for a, b in zip(seconds["naive loop"], seconds[name], strict=True)]
        rows.append(
            {
                "engine": name,
                "client updates/s": clients / statistics.median(seconds[name]),
                "times the naive loop": statistics.median(ratios),
                "largest deviation": deviation,
            }
        )
    return rows


def scaling(sizes: tuple[int, ...] = (10, 100, 1000, 10000)) -> list[dict[str, float]]:
    """Microseconds of the stacked engine per client, from few clients to many."""
    model = dense_autoencoder(FEATURES, hidden=10, code=5)
    rows = []
    for clients in sizes:
        store, everyone = make_store(model, clients), np.arange(clients)
        times = []
        for _ in range(3):
            began = time.perf_counter()
            CONTESTANTS["stacked"](model, store, everyone)
            times.append(time.perf_counter() - began)
        rows.append({"clients": clients, "microseconds per client": min(times) / clients * 1e6})
    return rows


def main() -> None:
    """Print the tables."""
    import pandas as pd

    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--scaling", action="store_true", help="also 10 to 10,000 clients")
    options = parser.parse_args()
    print(pd.DataFrame(measure(options.clients, options.repeats)).to_string(index=False))
    if options.scaling:
        print(pd.DataFrame(scaling()).to_string(index=False))


if __name__ == "__main__":
    main()
