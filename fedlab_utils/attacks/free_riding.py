"""Clients that take the model and do no work. Taught in chapter 13."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch

from fedlab_utils.attacks.poisoning import Knowledge
from fedlab_utils.attacks.update_attacks import disguise
from fedlab_utils.errors import FedlabError

KINDS = ("zero", "noise", "last")


@dataclass(frozen=True)
class FreeRider:
    """Pretend to have trained. `own`, the update that honest work would have given, is not used.

    Attributes:
        kind: "zero": the model as it came; "noise": Gaussian noise; "last": the difference of the
            last two global models, which is the mean of what others have done.
        noise: for "noise", the length of each row over that of the last combined update; for "last"
            the noise that is added, as a share of its length.

    In the first round there is no last update: "last" and "noise" send zero.
    Source: Lin, Du and Liu 2019, arXiv:1911.12560 ("random" and "delta weights"). Taught in
    chapter 13.
    """

    kind: Literal["zero", "noise", "last"] = "last"
    noise: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise FedlabError(f"FreeRider: kind={self.kind!r}; choose one of {', '.join(KINDS)}.")
        if not (math.isfinite(self.noise) and self.noise >= 0):
            raise FedlabError(f"FreeRider: noise={self.noise} must not be negative.")

    def craft(self, knowledge: Knowledge) -> torch.Tensor:
        """[f, P]."""
        if self.kind == "zero":
            return torch.zeros_like(knowledge.own)
        noise = disguise(knowledge.last, len(knowledge.own), self.noise, knowledge)
        return noise if self.kind == "noise" else knowledge.last + noise
