"""All methods for clients that differ, and four settings to try them on. Taught in chapter 09."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from torch import nn

from fedlab_utils.data.federation import Federation
from fedlab_utils.data.partition import Dirichlet, Quantity
from fedlab_utils.data.registry import load
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


def _tuned(
    start: nn.Module, federation: Federation, s: Setting, share: float, **options: Any
) -> Trained:
    at_home = round(share * s.rounds)
    common = _fedavg(start, federation, s, rounds=s.rounds - at_home, **options)
    # Alone, clients do best at half of the common rate or less: nobody's mean calms their steps.
    gentle = _rate(s.local, 0.5)
    return fine_tune(common, federation, passes=at_home * s.local.epochs, local=gentle)


def _both(start: nn.Module, federation: Federation, s: Setting, share: float) -> Trained:
    return _tuned(start, federation, s, share, server=ServerMomentum(1.0, 0.6))


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
    "FedAvgM, tuned": Method(_both, "share of passes at home", (0.1, 0.25, 0.5)),
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
