"""What the pipeline is told to do. Taught in chapter 16."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from fedlab_utils.data.federation import Federation
from fedlab_utils.errors import FedlabError
from fedlab_utils.federate.dpsgd import DPSGD
from fedlab_utils.federate.solvers import SGD


@dataclass(frozen=True)
class Settings:
    """How to train, test and set thresholds; `run_pipeline` takes it.

    Attributes:
        rounds: of training.
        local: what a client does in a round.
        hidden, code: widths of the autoencoder; None takes those of `dense_autoencoder`.
        alarm_rate: share of normal rows that may give an alarm.
        seeds: three or more, each with its own start and order (and split, without time).
        masks: add up the updates, and the histograms of the thresholds, by a secure sum: the server
            sees sums only. Needs three members.
        epsilon: differential privacy of the training for single rows of the members (DP-SGD), at
            each member, whatever the others do; None for none. The encoding, the scaler and the
            thresholds are not covered.
        delta: of that guarantee.
        clip: largest norm of a row's gradient, if there is an epsilon.
        unseen: a client that takes no part in training, to see what the model is worth for it.
        test_fraction, calibration_fraction, min_rows, min_count: see `prepare`.

    Raises FedlabError for settings that make no sense. Taught in chapter 16.
    """

    rounds: int = 20
    local: SGD = field(default_factory=lambda: SGD(lr=0.1, momentum=0.9, batch_size=32))
    hidden: int | None = None
    code: int | None = None
    alarm_rate: float = 0.05
    seeds: tuple[int, ...] = (0, 1, 2)
    masks: bool = False
    epsilon: float | None = None
    delta: float = 1e-5
    clip: float = 1.0
    unseen: str | None = None
    test_fraction: float = 0.4
    calibration_fraction: float = 0.2
    min_rows: int = 20
    min_count: int = 10

    def __post_init__(self) -> None:
        object.__setattr__(self, "seeds", tuple(self.seeds))
        if self.rounds < 1 or int(self.rounds) != self.rounds:
            raise FedlabError(f"Settings: rounds={self.rounds} must be a whole number from 1 on.")
        if len(set(self.seeds)) < 3:
            raise FedlabError(f"Settings: seeds={self.seeds}: a spread needs three different ones.")
        if not 0 < self.alarm_rate < 1:
            raise FedlabError(f"Settings: alarm_rate={self.alarm_rate} must be between 0 and 1.")
        if self.epsilon is not None and not (math.isfinite(self.epsilon) and self.epsilon > 0):
            raise FedlabError(f"Settings: epsilon={self.epsilon} must be a positive number.")
        if self.epsilon is not None and self.local.batch_size is None:
            raise FedlabError("Settings: DP-SGD needs a batch_size in local=.")
        for name in ("min_rows", "min_count"):
            if getattr(self, name) < 1:
                raise FedlabError(f"Settings: {name}={getattr(self, name)} must be at least 1.")

    def check(self, federation: Federation) -> None:
        """Raise FedlabError if the settings do not fit the clients, before anything is trained."""
        if self.masks and len(federation) < 3:
            raise FedlabError(
                f"masks=True with {len(federation)} members: of a sum of two, each can subtract "
                f"its own part and has the other's. Use masks=False, or find a third member."
            )
        held = sum(len(client.x_calibration) for client in federation)
        if (held + 1) * self.alarm_rate < 1:
            raise FedlabError(
                f"{held} rows for thresholds are too few for alarm_rate={self.alarm_rate:g}: the "
                f"smallest possible is {1 / (held + 1):.3g}. Ask for a higher one, or hold back "
                f"more rows with calibration_fraction=."
            )

    def private(self, sizes: np.ndarray) -> DPSGD | None:
        """The DP-SGD solver for clients with these training rows [K]; None without an epsilon.

        All clients sample their rows at the same rate, which a batch of the smallest client has,
        so the guarantee is the same for the rows of all.
        """
        if self.epsilon is None:
            return None
        from fedlab_utils.privacy.dp import noise_for_epsilon

        assert self.local.batch_size is not None
        rate = min(1.0, self.local.batch_size / float(np.min(sizes)))
        steps = max(1, round(self.local.epochs / rate))
        noise = noise_for_epsilon(self.epsilon, self.delta, rate, self.rounds * steps)
        return DPSGD(
            self.local.lr,
            clip=self.clip,
            noise_multiplier=noise,
            sample_rate=rate,
            steps=steps,
            momentum=self.local.momentum,
        )
