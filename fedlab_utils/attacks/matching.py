"""Gradient matching: look for rows whose simulated update is the update that was seen."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fedlab_utils.attacks.least_squares import least_squares
from fedlab_utils.attacks.network import Network
from fedlab_utils.federate.solvers import SGD

# Unknowns x parameters up to which the Jacobian is worth its memory (8 bytes each).
_JACOBIAN = 4_000_000
# Squared share of an update that rounding to float32 leaves, with room.
_ROUNDING = 1e-7


def mismatch(network: Network, update: Tensor, x: Tensor, local: SGD) -> Tensor:
    """What rows x [S, n, d] leave unexplained of a unit vector `update` [P], as [S, P].

    The simulated update may be stretched or turned round, since clipping, weighting and masking
    hide the scale. The squared length of the result is 1 - cosine^2 of the two updates.
    """
    simulated = network.update(x, local)
    length = simulated.square().sum(-1, keepdim=True).clamp(min=1e-300)
    scale = (simulated @ update).unsqueeze(-1) / length
    return scale * simulated - update


def match(
    network: Network,
    update: Tensor,
    start: Tensor,
    local: SGD,
    *,
    ridge: float,
    steps: int,
    fixed: Tensor | None = None,
) -> tuple[Tensor, float]:
    """Improve guesses start [S, n, d]; returns the rows [k + n, d] of the best, and its objective.

    The k rows `fixed` [k, d] are in the batch too, and stay as they are.

    The objective is the mismatch plus `ridge` times the squared rows. With ridge = (noise std)^2
    relative to the squared update, its minimum is the most probable batch for standardised data.
    Small problems are solved by Levenberg-Marquardt, large ones by L-BFGS.

    Source: Zhu et al. 2019 (DLG), arXiv:1906.08935; the cosine is from Geiping et al. 2020,
    arXiv:2003.14053.
    """
    shape = start.shape[1:]
    fixed = start[0, :0] if fixed is None else fixed

    def batch(z: Tensor) -> Tensor:
        return torch.cat([fixed.expand(len(z), *fixed.shape), z.view(-1, *shape)], dim=1)

    def residual(z: Tensor) -> Tensor:
        return torch.cat([mismatch(network, update, batch(z), local), ridge**0.5 * z], dim=1)

    newton = start[0].numel() * network.size <= _JACOBIAN
    best, least = batch(start.flatten(1))[0], float("inf")
    for one in start.flatten(1).split(1):
        if newton:
            # Less than half a unit of log likelihood is not worth a step.
            z, cost = least_squares(residual, one, steps, worth=ridge)
        else:
            z, cost = _lbfgs(residual, one, steps)
        if float(cost) < least:
            best, least = batch(z)[0], float(cost)
        if least <= enough(ridge, network.size):
            break  # what is left is noise: another start cannot do better
    return best, least


def enough(ridge: float, size: int) -> float:
    """The objective below which noise of variance `ridge` in `size` numbers explains the rest."""
    return 2 * ridge * size + _ROUNDING


def _lbfgs(
    residual: Callable[[Tensor], Tensor], start: Tensor, steps: int
) -> tuple[Tensor, Tensor]:
    z = start.clone().requires_grad_()
    optimiser = torch.optim.LBFGS(
        [z], max_iter=steps, history_size=30, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        cost = residual(z).square().sum()
        cost.backward()
        return cost

    optimiser.step(closure)
    with torch.no_grad():
        return z.detach(), residual(z).square().sum()
