"""Many small non-linear least-squares problems solved side by side."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import jvp, vmap


def least_squares(
    residual: Callable[[Tensor], Tensor],
    start: Tensor,
    steps: int,
    *,
    enough: float = 0.0,
    worth: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Minimise the sum of squares of `residual` from each of S starts by Levenberg-Marquardt.

    Args:
        residual: [S, n] -> [S, m], row by row.
        start: [S, n] float64.
        steps: at most this many steps; a start stops when it no longer gets better.
        enough: a start also stops when its sum of squares is below this.
        worth: and when a step lowers it by less than this.

    Returns:
        The points [S, n] and their sums of squares [S].

    Source: Marquardt 1963, doi:10.1137/0111030.
    """
    z = start.clone()
    r = residual(z)
    cost = r.square().sum(1)
    damping = torch.full_like(cost, 1e-2)
    basis = torch.eye(z.shape[1], dtype=z.dtype)
    running = torch.ones_like(cost, dtype=torch.bool)
    for _ in range(steps):
        at = running.nonzero()[:, 0]
        if not len(at):
            break
        here, lam = z[at], damping[at]

        def slope(direction: Tensor, here: Tensor = here) -> Tensor:
            return jvp(residual, (here,), (direction.expand_as(here),))[1]

        jacobian = vmap(slope)(basis).permute(1, 0, 2)  # [S, n, m]
        hessian = jacobian @ jacobian.transpose(1, 2)
        gradient = jacobian @ r[at].unsqueeze(2)
        diagonal = hessian.diagonal(dim1=1, dim2=2)
        floor = 1e-9 * diagonal.amax(1, keepdim=True) + 1e-300
        damped = hessian + torch.diag_embed(lam[:, None] * (diagonal + floor) + floor)
        step, _ = torch.linalg.solve_ex(damped, -gradient)
        there = here + step[:, :, 0]
        new = residual(there)
        new_cost = new.square().sum(1)
        better = new_cost < cost[at]  # False for NaN too
        gain = cost[at] - new_cost
        small = (1e-6 * cost[at]).clamp(min=worth)
        damping[at] = torch.where(better, (lam / 5).clamp(min=1e-12), lam * 5)
        good = at[better]
        z[good], r[good], cost[good] = there[better], new[better], new_cost[better]
        stalled = torch.where(better, gain < small, lam > 1e6)
        running[at] = ~stalled & (cost[at] > enough)
    return z, cost
