"""Client updates per second: `python -m fedlab_utils.federate.bench`. Taught in chapter 03.

The job: a dense autoencoder 20-10-5-10-20, 256 rows a client, batches of 32, one epoch. The
contestants take turns in one run, all must reach the same weights, and only ratios between them
are worth quoting: absolute numbers belong to the machine. `--with all` adds the other frameworks
that are installed, see `fedlab_utils.federate.rivals`.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial

import numpy as np
import torch
from torch import nn

from fedlab_utils.errors import FedlabError
from fedlab_utils.federate.batches import RowStore
from fedlab_utils.federate.engine import train_stacked
from fedlab_utils.federate.loop import train_loop
from fedlab_utils.federate.order import batch_order
from fedlab_utils.federate.rivals import RIVALS, Rival, require
from fedlab_utils.federate.solvers import SGD
from fedlab_utils.models.dense import DenseAutoencoder, dense_autoencoder
from fedlab_utils.models.flat import flatten

ROWS, FEATURES = 256, 20
LOCAL = SGD(lr=0.05, epochs=1, batch_size=32)
# A turn is as many rounds as fit into this time: in training rounds follow one another, and the
# first after another contestant's turn pays for memory that went back to the system.
_TURN_SECONDS = 0.25
Contestant = Callable[[nn.Module, RowStore, np.ndarray], torch.Tensor]


def make_store(model: nn.Module, clients: int) -> RowStore:
    """Random rows of `clients` clients."""
    rng = np.random.default_rng(0)
    shape = (ROWS, FEATURES)
    return RowStore([rng.standard_normal(shape, np.float32) for _ in range(clients)], model)


def naive(model: nn.Module, store: RowStore, clients: np.ndarray) -> torch.Tensor:
    """A tutorial's loop: copy the model, train it, average the state dictionaries.

    On one thread, which is its best setting: products this small are slower when shared out.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _naive(model, store, clients)
    finally:
        torch.set_num_threads(threads)


def _naive(model: nn.Module, store: RowStore, clients: np.ndarray) -> torch.Tensor:
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


def start_rival(
    name: str, python: str, model: DenseAutoencoder, store: RowStore, clients: np.ndarray
) -> Rival:
    """Start another framework on the same rows in the same order. Raises FedlabError."""
    none = np.zeros(len(clients), dtype=int)
    order = batch_order(0, 0, clients, none, ROWS, store.sizes[clients])
    rows = np.stack([store.of(k).numpy()[own] for k, own in zip(clients, order, strict=True)])
    batches = rows.reshape(len(clients), -1, LOCAL.batch_size or ROWS, FEATURES)
    widths = model.widths + model.widths[-2::-1]
    return Rival(name, batches, flatten(model).numpy(), widths, LOCAL.lr, python)


def measure(
    clients: int, repeats: int, rivals: Mapping[str, str] | None = None
) -> list[dict[str, float | str]]:
    """One row per contestant: client updates/s (median), ratio to the naive loop, deviation.

    `rivals` names other frameworks and the Python to run each with. Raises AssertionError if the
    weights differ by more than 1e-5 of the largest one, FedlabError if a rival cannot play.
    """
    model = dense_autoencoder(FEATURES, hidden=10, code=5)
    store, everyone = make_store(model, clients), np.arange(clients)
    seconds: dict[str, list[float]] = {}
    weights: dict[str, torch.Tensor] = {}

    def turn(name: str, round_: Callable[[], tuple[torch.Tensor | np.ndarray, float]]) -> None:
        spent: list[float] = []
        while sum(spent) < _TURN_SECONDS:
            new, one = round_()
            weights[name] = torch.as_tensor(new)
            spent.append(one)
        seconds.setdefault(name, []).append(statistics.mean(spent))

    def timed(run: Contestant) -> tuple[torch.Tensor, float]:
        began = time.perf_counter()
        new = run(model, store, everyone)
        return new, time.perf_counter() - began

    with ExitStack() as stack:
        others = [
            stack.enter_context(start_rival(name, python, model, store, everyone))
            for name, python in (rivals or {}).items()
        ]
        for _ in range(repeats + 1):
            for name, run in CONTESTANTS.items():
                turn(name, partial(timed, run))
            for rival in others:
                turn(rival.name, rival.round)
    seconds = {name: each[1:] for name, each in seconds.items()}  # the first turn warms up
    reference = weights["naive loop"]
    rows: list[dict[str, float | str]] = []
    for name in seconds:
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
    """Microseconds of the stacked engine per client, from few clients to many.

    The peak of memory is the process's own so far, the data included.
    """
    model = dense_autoencoder(FEATURES, hidden=10, code=5)
    rows = []
    for clients in sizes:
        store, everyone = make_store(model, clients), np.arange(clients)
        times = []
        for _ in range(3):
            began = time.perf_counter()
            CONTESTANTS["stacked"](model, store, everyone)
            times.append(time.perf_counter() - began)
        rows.append(
            {
                "clients": clients,
                "microseconds per client": min(times) / clients * 1e6,
                "peak MB": _peak_megabytes(),
            }
        )
    return rows


def _peak_megabytes() -> float:
    try:
        import resource
    except ImportError:  # Windows
        return float("nan")
    # bytes on macOS, kilobytes elsewhere
    unit = 1e-6 if sys.platform == "darwin" else 1024e-6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def installed(names: str, python: str, tff_python: str | None) -> dict[str, str]:
    """Choose rivals from "a,b" or "all"; say of each that is missing how to get it.

    With "all" a missing one is left out; one that was asked for by name raises FedlabError.
    """
    chosen = {}
    for name in RIVALS if names == "all" else filter(None, names.split(",")):
        interpreter = tff_python or python if name == "tff" else python
        try:
            require(name, interpreter)
            chosen[name] = interpreter
        except FedlabError as missing:
            if names != "all":
                raise
            print(missing)
    return chosen


def main() -> None:
    """Print the tables."""
    import pandas as pd

    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--scaling", action="store_true", help="also 10 to 10,000 clients")
    parser.add_argument(
        "--with", dest="rivals", default="", help=f"all, or some of {','.join(RIVALS)}"
    )
    parser.add_argument(
        "--python", default=sys.executable, help="the Python that has them, if not this one"
    )
    parser.add_argument("--tff-python", help="the Python that has TensorFlow Federated")
    options = parser.parse_args()
    try:
        rivals = installed(options.rivals, options.python, options.tff_python)
        rows = measure(options.clients, options.repeats, rivals)
    except FedlabError as error:
        parser.exit(1, f"{error}\n")
    print(pd.DataFrame(rows).to_string(index=False))
    if options.scaling:
        print(pd.DataFrame(scaling()).to_string(index=False))


if __name__ == "__main__":
    main()
