"""Server optimisers with a memory: FedAvgM, FedAdagrad, FedAdam, FedYogi. Taught in chapter 09.

The server treats the combined update as a gradient (with the sign turned) and takes a step of a
well-known optimiser with it. Source: Reddi et al. 2021, "Adaptive Federated Optimization",
arXiv:2003.00295, algorithm 2; momentum: Hsu, Qi and Brown 2019, arXiv:1909.06335.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from fedlab_utils.errors import FedlabError
from fedlab_utils.federate.servers import ServerState


def _check(name: str, positive: dict[str, float], shares: dict[str, float]) -> None:
    for what, value in positive.items():
        if not (math.isfinite(value) and value > 0):
            raise FedlabError(f"{name}: {what}={value} must be a positive number.")
    for what, value in shares.items():
        if not 0 <= value < 1:
            raise FedlabError(f"{name}: {what}={value} must be at least 0 and less than 1.")


@dataclass(frozen=True)
class ServerMomentum:
    """FedAvgM: velocity = momentum * velocity + update; weights + lr * velocity.

    momentum = 0 and lr = 1 is FedAvg. Source: Hsu, Qi and Brown 2019, arXiv:1909.06335. Taught in
    chapter 09.
    """

    lr: float = 1.0
    momentum: float = 0.9

    def __post_init__(self) -> None:
        _check("ServerMomentum", {"lr": self.lr}, {"momentum": self.momentum})

    def start(self, weights: torch.Tensor) -> ServerState:
        """A velocity of zero."""
        return {"velocity": torch.zeros_like(weights)}

    def step(
        self, weights: torch.Tensor, update: torch.Tensor, state: ServerState
    ) -> tuple[torch.Tensor, ServerState]:
        """See ServerOptimizer."""
        velocity = self.momentum * state["velocity"] + update
        return weights + self.lr * velocity, {"velocity": velocity}


@dataclass(frozen=True)
class _Adaptive:
    """The common part: a mean of updates, divided by the root of a mean of their squares.

    Attributes:
        lr: step size; every weight moves by about this much in a round at first.
        tau: added to the root. Weights whose updates are far below it move less than `lr`.
        beta1: how much of the mean update lives on into the next round.
    """

    lr: float = 0.01
    tau: float = 1e-3
    beta1: float = 0.9

    def __post_init__(self) -> None:
        shares = {name: getattr(self, name) for name in ("beta1", "beta2") if hasattr(self, name)}
        _check(type(self).__name__, {"lr": self.lr, "tau": self.tau}, shares)

    def start(self, weights: torch.Tensor) -> ServerState:
        """A mean of zero and a mean square of tau^2, as in the paper."""
        return {
            "mean": torch.zeros_like(weights),
            "square": torch.full_like(weights, self.tau**2),
        }

    def step(
        self, weights: torch.Tensor, update: torch.Tensor, state: ServerState
    ) -> tuple[torch.Tensor, ServerState]:
        """See ServerOptimizer. Like the paper's, without Adam's correction of the first rounds."""
        mean = self.beta1 * state["mean"] + (1 - self.beta1) * update
        square = self._square(state["square"], update.square())
        moved = weights + self.lr * mean / (square.sqrt() + self.tau)
        return moved, {"mean": mean, "square": square}

    def _square(self, before: torch.Tensor, now: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError


@dataclass(frozen=True)
class ServerAdagrad(_Adaptive):
    """FedAdagrad: squares add up, so steps only become smaller. Taught in chapter 09."""

    beta1: float = 0.0

    def _square(self, before: torch.Tensor, now: torch.Tensor) -> torch.Tensor:
        return before + now


@dataclass(frozen=True)
class ServerAdam(_Adaptive):
    """FedAdam: a share beta2 of the squares lives on. Taught in chapter 09."""

    beta2: float = 0.99

    def _square(self, before: torch.Tensor, now: torch.Tensor) -> torch.Tensor:
        return self.beta2 * before + (1 - self.beta2) * now


@dataclass(frozen=True)
class ServerYogi(_Adaptive):
    """FedYogi: as FedAdam, but large squares are forgotten slowly. Taught in chapter 09."""

    beta2: float = 0.99

    def _square(self, before: torch.Tensor, now: torch.Tensor) -> torch.Tensor:
        return before - (1 - self.beta2) * now * torch.sign(before - now)
