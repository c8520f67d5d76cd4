"""The methods that are compared: how each trains, and what may be tuned. Taught in chapter 09.

Every method may take `passes` over each client's rows, and try six settings: six step sizes, or
three with two values of its own knob.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from fedlab_utils.data.federation import Federation
from fedlab_utils.federate.adaptive import ServerAdagrad, ServerAdam, ServerMomentum, ServerYogi
from fedlab_utils.federate.clustered import fit_clustered, split_by_updates
from fedlab_utils.federate.fednova import FedNova
from fedlab_utils.federate.fedprox import FedProx
from fedlab_utils.federate.fit import Run, fit, fit_local
from fedlab_utils.federate.own_scale import OwnScaled, own_scaled
from fedlab_utils.federate.personal import Ditto, fine_tune
from fedlab_utils.federate.scaffold import Scaffold
from fedlab_utils.federate.solvers import SGD

# What a method returns: one model for all, or {client name: its own}, as `evaluate` takes it.
Entry = nn.Module | Mapping[str, nn.Module] | Mapping[str, OwnScaled]


@dataclass(frozen=True)
class Job:
    """One training that a method is asked for.

    Attributes:
        start: draws a start model from a number.
        federation: the clients; the unseen one, if any, has unlabelled training rows as well.
        local: the clients' steps, `epochs` of them in a round.
        passes: passes over its rows that each client may take in all.
        seed: fixes everything.
    """

    start: Callable[[int], nn.Module]
    federation: Federation
    local: SGD
    passes: int
    seed: int

    @property
    def model(self) -> nn.Module:
        """The start of methods that need one."""
        return self.start(self.seed)

    @property
    def once(self) -> SGD:
        """The same steps, one pass at a time."""
        return replace(self.local, epochs=1)

    def rounds(self, share: float = 1.0) -> int:
        """Rounds that take this share of the passes, at least one."""
        return max(1, int(share * self.passes + 1e-9) // self.local.epochs)

    def train(self, local: Any = None, *, share: float = 1.0, **options: Any) -> Run:
        """`fit` with the job's budget; `options` go to `fit`."""
        options |= {"rounds": self.rounds(share), "seed": self.seed, "progress": False}
        return fit(self.model, self.federation, local=local or self.local, **options)

    def alone(self) -> dict[str, nn.Module]:
        """Everybody by itself, the unseen client too."""
        return fine_tune(
            self.model, self.federation, passes=self.passes, local=self.once, seed=self.seed
        )


@dataclass(frozen=True)
class Method:
    """One row of the comparison.

    Attributes:
        name: as the tables call it.
        kind: "bound" (no federated averaging), "one model", or "own models".
        train: trains for a job and a value of the knob.
        knob: name and two values of what is tuned beside the step size, if anything.
    """

    name: str
    kind: str
    train: Callable[[Job, float], Entry]
    knob: tuple[str, tuple[float, float]] | None = None

    def grid(self) -> list[tuple[float, float]]:
        """Six settings: (factor of the setting's step size, value of the knob)."""
        if self.knob is None:
            return [(factor, 0.0) for factor in (0.125, 0.25, 0.5, 1.0, 2.0, 4.0)]
        return [(factor, value) for factor in (0.5, 1.0, 2.0) for value in self.knob[1]]


def _central(job: Job, _: float) -> nn.Module:
    whole = job.federation.pooled_federation()
    options: Any = {"rounds": job.passes, "seed": job.seed, "progress": False}
    return fit(job.model, whole, local=job.once, **options).model


def _in_own_scale(job: Job) -> Job:
    return replace(job, federation=job.federation.standardised("own"))


def _fine_tuned(job: Job, share: float) -> dict[str, nn.Module]:
    rounds = job.rounds(1 - share)
    common = job.train(share=1 - share).model
    passes = job.passes - rounds * job.local.epochs
    return fine_tune(common, job.federation, passes=passes, local=job.once, seed=job.seed)


def _ditto(job: Job, mu: float) -> dict[str, nn.Module]:
    """Two models are trained side by side, so each gets half of the passes."""
    run = job.train(Ditto(job.local, mu), share=0.5)
    own = dict(run.personal)
    if (newcomer := job.federation.unseen) is not None:
        # It comes when the rest is done: what is left for it is to train its own model, pulled.
        only = replace(job.federation, clients=(newcomer,), unseen=None)
        pulled = FedProx(job.local.lr, 1, job.local.batch_size, job.local.momentum, mu)
        own |= fit_local(run.model, only, rounds=job.passes // 2, local=pulled, seed=job.seed)
    return own


def _ifca(job: Job, clusters: float) -> dict[str, nn.Module]:
    starts = [job.start(job.seed + 1000 * c) for c in range(int(clusters))]
    options: Any = {"rounds": job.rounds(), "seed": job.seed, "progress": False}
    return fit_clustered(starts, job.federation, local=job.local, **options).personal


def _by_updates(job: Job, clusters: float) -> dict[str, nn.Module]:
    """A third of the rounds together, one to see who goes where, the rest in clusters."""
    together = job.train(share=1 / 3).model
    number = min(int(clusters), len(job.federation))
    starts, _ = split_by_updates(together, job.federation, number, local=job.local, seed=job.seed)
    rounds = job.rounds() - job.rounds(1 / 3) - 1
    options: Any = {"rounds": rounds, "seed": job.seed, "progress": False}
    return fit_clustered(starts, job.federation, local=job.local, **options).personal


def _prox(job: Job, mu: float) -> nn.Module:
    local = job.local
    return job.train(FedProx(local.lr, local.epochs, local.batch_size, local.momentum, mu)).model


FEDAVG = "FedAvg"
BOUNDS = ("local", "local, own scaler", "central")
ALL = (
    Method("local", "bound", lambda job, _: job.alone()),
    Method(
        "local, own scaler",
        "bound",
        lambda job, _: own_scaled(_in_own_scale(job).alone(), job.federation),
    ),
    Method("central", "bound", _central),
    Method(FEDAVG, "one model", lambda job, _: job.train().model),
    Method("FedProx", "one model", _prox, ("mu", (0.001, 0.01))),
    Method("SCAFFOLD", "one model", lambda job, _: job.train(Scaffold(job.local)).model),
    Method("FedNova", "one model", lambda job, _: job.train(aggregator=FedNova(job.local)).model),
    Method(
        "FedAvgM",
        "one model",
        lambda job, momentum: job.train(server=ServerMomentum(1.0, momentum)).model,
        ("momentum", (0.5, 0.9)),
    ),
    Method(
        "FedAdagrad",
        "one model",
        lambda job, lr: job.train(server=ServerAdagrad(lr)).model,
        ("server lr", (0.03, 0.1)),
    ),
    Method(
        "FedAdam",
        "one model",
        lambda job, lr: job.train(server=ServerAdam(lr)).model,
        ("server lr", (0.03, 0.1)),
    ),
    Method(
        "FedYogi",
        "one model",
        lambda job, lr: job.train(server=ServerYogi(lr)).model,
        ("server lr", (0.03, 0.1)),
    ),
    Method(
        "own scaler",
        "own models",
        lambda job, _: own_scaled(_in_own_scale(job).train().model, job.federation),
    ),
    Method("fine-tuned", "own models", _fine_tuned, ("share of passes", (1 / 6, 1 / 2))),
    Method("Ditto", "own models", _ditto, ("mu", (0.01, 0.1))),
    Method("IFCA", "own models", _ifca, ("clusters", (2, 4))),
    Method("clusters by updates", "own models", _by_updates, ("clusters", (2, 4))),
)
METHODS = {method.name: method for method in ALL}
