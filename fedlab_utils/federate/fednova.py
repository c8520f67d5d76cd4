"""FedNova: a client that takes more steps shall not pull the model its way. Taught in chapter 09.

With one pass over their rows, large clients take more steps than small ones. FedAvg then minimises
another objective than the mean over all rows. FedNova divides each update by the client's number
of (effective) steps before averaging, and scales the mean by the mean number of steps.
Source: Wang et al. 2020, "Tackling the Objective Inconsistency Problem", arXiv:2007.07481.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from fedlab_utils.errors import FedlabError
from fedlab_utils.federate.aggregators import Mean
from fedlab_utils.federate.solvers import SGD


@dataclass(frozen=True)
class FedNova:
    """Normalised averaging: sum_k p_k tau_k * sum_k p_k update_k / tau_k, p_k the share of rows.

    tau_k is the client's number of steps; with momentum m a gradient that enters in step s moves
    the weights by 1 + m + ... + m^(tau - s), and tau_k is the sum of these.

    Attributes:
        local: the solver that the clients use; it decides how many steps a client takes.

    Clients that all take equally many steps give `Mean()`. Taught in chapter 09.
    """

    local: SGD

    def aggregate(self, updates: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Updates [K, P] and training rows [K] -> [P]. Raises FedlabError as `Mean` does."""
        if not bool((weights > 0).all()):
            raise FedlabError("FedNova: every client needs a positive number of training rows.")
        tau = self.local.effective_steps(weights)
        mean_steps = (weights.double() * tau).sum() / weights.double().sum()
        normalised = updates / tau.to(updates.dtype)[:, None]
        return Mean().aggregate(normalised, weights) * mean_steps.to(updates.dtype)
