"""Gradient inversion: what a server can read from one client's update. Taught in chapters 06-08."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from fedlab_utils.attacks.matching import enough, match, mismatch
from fedlab_utils.attacks.network import Network, flat
from fedlab_utils.attacks.row_search import affine_rows, noise_level, search_rows
from fedlab_utils.errors import FedlabError
from fedlab_utils.federate.solvers import SGD

# Squared share of noise in an update below which the ratio needs no second look.
_EXACT = 1e-8
# Changes of a layer's spaces over several local steps that are tried, relative.
_DRIFTS = (0.02, 0.005)
Method = Literal["ratio", "row search", "matching"]


@dataclass(frozen=True)
class Inversion:
    """What `invert_update` recovered. Taught in chapters 06-08.

    Attributes:
        rows: [n, d] float32, the attacker's best guess of the client's rows, in no order.
        method: "ratio" (one row, read off the first layer), "row search" (every row found by
            itself) or "matching" (gradient matching, for what the others did not find).
        residual: length of what the rows leave unexplained of the update, relative to the
            update: 0 to 1. Near 0 the attacker knows that the rows are right (or fit as well);
            near 1 they explain nothing.
        found: how many rows passed the row search.
    """

    rows: np.ndarray
    method: Method
    residual: float
    found: int


def invert_update(
    model: nn.Module,
    update: Tensor | np.ndarray,
    *,
    local: SGD,
    rows: int,
    noise: float | None = None,
    restarts: int = 2,
    steps: int = 50,
    seed: int = 0,
) -> Inversion:
    """Recover a client's training rows from its update: the attack of an honest-but-curious server.

    The server knows the model that it sent, the local solver and how many rows the client has
    (FedAvg's weights tell it). It does not need the update's scale or sign, so clipping alone
    does not stop it. Rows are taken to be standardised where the update does not determine them.

    Three ways, the first that applies: one row is the ratio of the weight and bias gradients of
    the first layer; the rows of a small batch (fewer than features and hidden units) are found
    one by one, as the update's layers have low rank; otherwise gradient matching from random
    starts. Noise that fills the update's empty directions is measured, and pulls the guess
    towards the mean row, zeros.

    Args:
        model: the DenseAutoencoder that the client started from.
        update: [P], new weights minus old, in the order of `flatten`.
        local: the client's solver. Exact for one step or full batches; with several batches an
            epoch the client's shuffle is unknown and its order in the first epoch is assumed.
        rows: n, how many rows to recover.
        noise: standard deviation of noise known to be in each number of the update (a privacy
            mechanism's is public); None estimates it where the first layer is large enough.
        restarts: random starts of gradient matching.
        steps: at most this many steps of each start.
        seed: fixes the starts. Same seed, same guess.

    Raises:
        FedlabError: an update of the wrong length or with NaN or infinite values, rows < 1, or
            a model that is not a DenseAutoencoder. An update that holds no information is no
            error: the guess is then bad, and the residual says so.

    Source: the ratio is in Phong et al. 2018, doi:10.1109/TIFS.2017.2787987; matching is Zhu et
    al. 2019, arXiv:1906.08935. Taught in chapters 06-08.
    """
    network = Network(model)
    vector = _checked(update, network.size, rows, restarts, steps, noise)
    length = float(vector.norm())
    if length == 0:
        return Inversion(np.zeros((rows, network.features), np.float32), "matching", 1.0, 0)
    blocks = [b / length for b in network.split(vector)]
    target = flat(blocks)
    spread = noise_level(blocks[0], rows) if noise is None else noise / length
    generator = torch.Generator().manual_seed(seed)
    guess = torch.randn(restarts, rows, network.features, generator=generator, dtype=torch.float64)
    fill = partial(match, network, target, local=local, ridge=spread**2, steps=steps)
    fits = enough(spread**2, network.size)
    if rows > min(blocks[0].shape):
        best, _ = fill(guess)
        return _inversion(network, target, best, local, "matching", 0)
    point, across = affine_rows(blocks[0], rows)
    if rows == 1:
        best = point[None]
        if spread**2 * network.size > _EXACT:
            best, left = fill(best[None])
            best = best if left <= fits else fill(torch.cat([best[None], guess]))[0]
        return _inversion(network, target, best, local, "ratio", 1)
    # Only the part of a guess in the plane of the rows can be right.
    guess = point + (guess - point) @ torch.linalg.pinv(across) @ across
    # A single step's factor is known; after several it is near this.
    per_batch = min(local.batch_size or rows, rows)
    factor = -local.lr * local.epochs / per_batch / length
    single = rows == per_batch and local.epochs == 1
    tried = []
    for drift in (0.0,) if single else _DRIFTS:
        found = search_rows(network, blocks, rows, generator, restarts * 8, factor, drift)
        if len(found) < rows:
            best, _ = fill(guess[:, len(found) :], fixed=found)
        else:
            best = found
        best, left = fill(best[None])
        if left <= fits:
            method: Method = "row search" if len(found) == rows else "matching"
            return _inversion(network, target, best, local, method, len(found))
        tried.append(best)
    # Some row found was none: start again, from there and without them.
    best, _ = fill(torch.cat([torch.stack(tried), guess]))
    return _inversion(network, target, best, local, "matching", len(found))


def _inversion(
    network: Network, target: Tensor, best: Tensor, local: SGD, method: Method, found: int
) -> Inversion:
    residual = float(mismatch(network, target, best[None], local).norm())
    return Inversion(best.numpy().astype(np.float32), method, min(residual, 1.0), found)


def _checked(
    update: Tensor | np.ndarray,
    size: int,
    rows: int,
    restarts: int,
    steps: int,
    noise: float | None,
) -> Tensor:
    vector = torch.as_tensor(update).detach().double()
    if vector.shape != (size,):
        raise FedlabError(
            f"invert_update: an update of shape {tuple(vector.shape)} does not fit the model, "
            f"which has {size} parameters; give one client's row of the update matrix."
        )
    bad = ~vector.isfinite()
    if bool(bad.any()):
        raise FedlabError(
            f"invert_update: {int(bad.sum())} of {size} numbers of the update are NaN or infinite, "
            f"the first at place {int(bad.nonzero()[0])}; attack an update that was really sent."
        )
    if rows < 1 or restarts < 1 or steps < 1:
        raise FedlabError(
            f"invert_update: rows={rows}, restarts={restarts} and steps={steps} must be at least 1."
        )
    if noise is not None and noise < 0:
        raise FedlabError(f"invert_update: noise={noise} is a standard deviation, 0 or more.")
    return vector
