"""All methods for clients that differ, on four settings, at one budget. Taught in chapter 09.

    python -m fedlab_utils.federate.comparison --seeds 10

prints the chapter's verdict for more seeds than the chapter has time for.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from multiprocessing import get_context
from typing import Any

import numpy as np
import torch
from torch import nn

from fedlab_utils.data.federation import Federation
from fedlab_utils.data.partition import Dirichlet, Quantity
from fedlab_utils.data.registry import load
from fedlab_utils.detect.evaluation import evaluate
from fedlab_utils.detect.report import Report
from fedlab_utils.detect.scores import reconstruction_error
from fedlab_utils.federate.adaptive import ServerAdam, ServerMomentum
from fedlab_utils.federate.clustered import fit_clustered, split_by_updates
from fedlab_utils.federate.fednova import FedNova
from fedlab_utils.federate.fedprox import FedProx
from fedlab_utils.federate.fit import fit, fit_local
from fedlab_utils.federate.personal import Ditto, fine_tune
from fedlab_utils.federate.scaffold import Scaffold
from fedlab_utils.federate.solvers import SGD
from fedlab_utils.models.dense import dense_autoencoder

Trained = nn.Module | dict[str, nn.Module]


@dataclass(frozen=True)
class Setting:
    """A federation whose clients differ, and the budget of its training.

    Attributes:
        data: name and options of the data set, as `load` takes them.
        rounds: rounds of `local.epochs` passes; every method gets rounds x epochs passes of
            local steps, whichever way it spends them.
        local: the solver of all methods, up to the dial of each.
        shape: widths of the autoencoder.
        tested_on_all: the pooled test rows of all clients take the place of the unseen client.
    """

    data: Mapping[str, Any]
    rounds: int
    local: SGD
    shape: Mapping[str, int] = field(default_factory=dict)
    tested_on_all: bool = False

    def federation(self, seed: int, scaler: str = "federated") -> Federation:
        """The clients of this seed."""
        made: Federation = load(**self.data, seed=seed, scaler=scaler)
        if self.tested_on_all:
            made = replace(made, unseen=replace(made.pooled(), name="all clients"))
        return made


_DIGITS = {"rounds": 20, "local": SGD(0.4, 2, 16, 0.9), "shape": {"hidden": 32, "code": 8}}
SETTINGS = {
    "payments, shift 1": Setting(
        {"name": "payments", "clients": 8, "customers": 40, "shift": 1.0, "unseen": True},
        15, SGD(0.6, 1, 64, 0.9), {"hidden": 46, "code": 8},
    ),
    "digits, Dirichlet 0.3": Setting(
        {"name": "digits", "anomaly": 4, "partition": Dirichlet(10, 0.3)},
        tested_on_all=True, **_DIGITS,
    ),
    "digits, quantity 0.3": Setting(
        {"name": "digits", "anomaly": 4, "partition": Quantity(10, 0.3)},
        tested_on_all=True, **_DIGITS,
    ),
    "heart, hospitals": Setting({"name": "heart"}, 20, SGD(0.08, 1, 16, 0.9)),
}  # fmt: skip


def _rate(local: SGD, factor: float) -> SGD:
    return replace(local, lr=local.lr * factor)


def _fedavg(
    start: nn.Module, federation: Federation, setting: Setting, **options: Any
) -> nn.Module:
    settings = {"rounds": setting.rounds, "local": setting.local, "progress": False, **options}
    return fit(start, federation, **settings).model


def _local(start: nn.Module, federation: Federation, s: Setting, factor: float) -> Trained:
    return dict(fit_local(start, federation, rounds=s.rounds, local=_rate(s.local, factor)))


def _central(start: nn.Module, federation: Federation, s: Setting, factor: float) -> Trained:
    return _fedavg(start, federation.pooled_federation(), s, local=_rate(s.local, factor))


def _plain(start: nn.Module, federation: Federation, s: Setting, factor: float) -> Trained:
    return _fedavg(start, federation, s, local=_rate(s.local, factor))


def _fedprox(start: nn.Module, federation: Federation, s: Setting, mu: float) -> Trained:
    return _fedavg(start, federation, s, local=FedProx(**asdict(s.local), mu=mu))


def _scaffold(start: nn.Module, federation: Federation, s: Setting, factor: float) -> Trained:
    return _fedavg(start, federation, s, local=Scaffold(_rate(s.local, factor)))


def _fednova(start: nn.Module, federation: Federation, s: Setting, factor: float) -> Trained:
    local = _rate(s.local, factor)
    return _fedavg(start, federation, s, local=local, aggregator=FedNova(local))


def _momentum(start: nn.Module, federation: Federation, s: Setting, momentum: float) -> Trained:
    return _fedavg(start, federation, s, server=ServerMomentum(1.0, momentum))


def _adam(start: nn.Module, federation: Federation, s: Setting, lr: float) -> Trained:
    return _fedavg(start, federation, s, server=ServerAdam(lr))


def _tuned(start: nn.Module, federation: Federation, s: Setting, share: float) -> Trained:
    at_home = round(share * s.rounds)
    common = _fedavg(start, federation, s, rounds=s.rounds - at_home)
    return fine_tune(common, federation, passes=at_home * s.local.epochs, local=s.local)


def _ditto(start: nn.Module, federation: Federation, s: Setting, mu: float) -> Trained:
    half = s.rounds // 2  # two models are trained in each round
    run = fit(start, federation, rounds=half, local=Ditto(s.local, mu), progress=False)
    if federation.unseen is None:
        return run.personal
    newcomer = replace(federation, clients=(federation.unseen,), unseen=None)
    pulled = FedProx(**asdict(s.local), mu=mu)
    passes = half * s.local.epochs
    return run.personal | fine_tune(run.model, newcomer, passes=passes, local=pulled)


def _clustered(start: nn.Module, federation: Federation, s: Setting, clusters: float) -> Trained:
    first = s.rounds // 4
    common = _fedavg(start, federation, s, rounds=first)
    number = min(int(clusters), len(federation))
    starts, _ = split_by_updates(common, federation, number, local=s.local)
    left = s.rounds - first - 1
    return fit_clustered(starts, federation, rounds=left, local=s.local, progress=False).personal


@dataclass(frozen=True)
class Method:
    """One way to train; `values` are the settings of its dial that tuning tries."""

    train: Callable[[nn.Module, Federation, Setting, float], Trained]
    dial: str
    values: tuple[float, ...]
    scaler: str = "federated"


_FACTORS = ("factor on lr", (0.25, 0.5, 1.0, 1.5))
METHODS = {
    "local": Method(_local, *_FACTORS),
    "central": Method(_central, *_FACTORS),
    "FedAvg": Method(_plain, *_FACTORS),
    "FedProx": Method(_fedprox, "mu", (0.01, 0.1, 1.0)),
    "SCAFFOLD": Method(_scaffold, *_FACTORS),
    "FedNova": Method(_fednova, *_FACTORS),
    "FedAvgM": Method(_momentum, "server momentum", (0.3, 0.6, 0.9)),
    "FedAdam": Method(_adam, "server lr", (0.01, 0.03, 0.1)),
    "fine-tuning": Method(_tuned, "share of passes at home", (0.1, 0.25, 0.5)),
    "Ditto": Method(_ditto, "mu", (0.01, 0.1, 1.0)),
    "clusters": Method(_clustered, "clusters", (2.0, 3.0, 4.0)),
    "own scaler": Method(_plain, *_FACTORS, scaler="own"),
}


def train(setting: str, method: str, value: float, seed: int) -> tuple[Trained, Federation]:
    """Train one method; returns the model, or each client's own, and the federation it is for."""
    s, m = SETTINGS[setting], METHODS[method]
    federation = s.federation(seed, m.scaler)
    start = dense_autoencoder(federation.n_features, seed=seed, **s.shape)
    return m.train(start, federation, s, value), federation


def held_back_loss(trained: Trained, federation: Federation) -> float:
    """Mean over the clients of the reconstruction error of their calibration rows: no labels."""
    losses = [
        reconstruction_error(
            trained[c.name] if isinstance(trained, dict) else trained, c.x_calibration
        ).mean()
        for c in federation
        if len(c.x_calibration)
    ]
    return float(np.mean(losses))


def tune(setting: str, method: str, seed: int) -> float:
    """The value of the method's dial with the lowest held-back loss of one seed."""
    values = METHODS[method].values
    losses = [held_back_loss(*train(setting, method, value, seed)) for value in values]
    return values[int(np.nanargmin(losses))]


def measure(setting: str, dials: Mapping[str, float], seed: int) -> Report:
    """Train the methods in `dials` at these values and evaluate them, with floors and forest."""
    torch.set_num_threads(1)
    made = {method: train(setting, method, value, seed) for method, value in dials.items()}
    common = {n: t for n, (t, _) in made.items() if METHODS[n].scaler == "federated"}
    report = evaluate(common, SETTINGS[setting].federation(seed), seed=seed)
    for name, (trained, federation) in made.items():
        if name not in common:
            own = evaluate({name: trained}, federation, baselines=False, seed=seed)
            report = replace(report, results=report.results + own.results)
    return report


def _tune(job: tuple[str, str, int]) -> float:
    torch.set_num_threads(1)
    return tune(*job)


def _measure(job: tuple[str, Mapping[str, float], int]) -> Report:
    return measure(*job)


def compare(
    settings: Sequence[str] = tuple(SETTINGS),
    *,
    seeds: Sequence[int] = range(5),
    methods: Sequence[str] = tuple(METHODS),
    tuning_seed: int = 100,
    workers: int = 2,
) -> tuple[dict[str, dict[str, float]], dict[str, list[Report]]]:
    """Tune each method on one seed, then measure it on others, in `workers` processes.

    Returns, per setting, the dials {method: value} and one report per seed.
    """
    pairs = [(setting, method) for setting in settings for method in methods]
    # New interpreters: forking a process that has used threads may never return.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        values = pool.map(_tune, [(*pair, tuning_seed) for pair in pairs])
        dials: dict[str, dict[str, float]] = {setting: {} for setting in settings}
        for (setting, method), value in zip(pairs, values, strict=True):
            dials[setting][method] = value
        jobs = [(setting, dials[setting], seed) for setting in settings for seed in seeds]
        reports = list(pool.map(_measure, jobs))
    of = {s: [r for (n, _, _), r in zip(jobs, reports, strict=True) if n == s] for s in settings}
    return dials, of


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables; see the module's docstring."""
    from fedlab_utils.detect.report import format_summary, summarise

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10, help="seeds, at least 3")
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--workers", type=int, default=2)
    o = parser.parse_args(arguments)
    dials, reports = compare(
        o.settings, seeds=range(o.seeds), methods=o.methods, workers=o.workers
    )
    for setting in o.settings:
        table = format_summary(summarise(reports[setting]))
        columns = [name for name in table if "mean" in name or "worst" in name or "unseen" in name]
        print(f"\n{setting}; tuned: {dials[setting]}\n{table[columns].to_string()}")


if __name__ == "__main__":
    main()
