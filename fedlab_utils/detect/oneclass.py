"""A one-class SVM that can be federated: random features and a linear model. Taught in chapter 10.

A kernel one-class SVM *is* some of its training rows (the support vectors), so it cannot be sent.
Random Fourier features replace the kernel by a fixed map that everybody draws from a common seed.
What is learned is a vector of coefficients, and `fit` federates it like any other model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from fedlab_utils.detect.scores import check_rows
from fedlab_utils.errors import DataError, FedlabError
from fedlab_utils.federate.order import batch_order
from fedlab_utils.models.flat import flatten, unflatten

if TYPE_CHECKING:
    from fedlab_utils.federate.batches import RowStore
    from fedlab_utils.federate.solvers import Engine

_FEATURES = 0x2FF5
_BATCH_ROWS = 4096


class OneClass(nn.Module):
    """The linear one-class SVM on random Fourier features: a row is odd if w . z(x) < offset.

    z(x) = sqrt(2 / D) cos(x V + b), with the columns of V from N(0, 2 gamma) and b uniform: its
    dot products approach the Gaussian kernel exp(-gamma |x - y|^2) as D grows. V and b depend on
    the seed alone; only the coefficients w [D] and the offset are parameters. It starts at zero.

    Args:
        n_features: d (for windows: steps times channels).
        features: D. A narrow kernel (large gamma) needs more of them.
        gamma: of the kernel; None means 1 / d, scikit-learn's "scale" for standardised rows.
        seed: of V and b, the same for all clients.

    Raises FedlabError for numbers that make no sense.
    Source: Rahimi and Recht, "Random features for large-scale kernel machines", NIPS 2007;
    Schölkopf et al., "Estimating the support of a high-dimensional distribution", 2001,
    doi:10.1162/089976601750264965. Taught in chapter 10.
    """

    direction: torch.Tensor
    phase: torch.Tensor

    def __init__(
        self, n_features: int, features: int = 256, gamma: float | None = None, seed: int = 0
    ) -> None:
        super().__init__()
        if n_features < 1 or features < 1:
            raise FedlabError(f"OneClass: n_features={n_features}, features={features} must be > 0")
        gamma = 1.0 / n_features if gamma is None else gamma
        if not (math.isfinite(gamma) and gamma > 0):
            raise FedlabError(f"OneClass: gamma={gamma} must be a positive number.")
        rng = np.random.default_rng([seed, _FEATURES])
        direction = rng.normal(0.0, math.sqrt(2 * gamma), (n_features, features))
        phase = rng.uniform(0.0, 2 * math.pi, features)
        self.register_buffer("direction", torch.from_numpy(direction.astype(np.float32)))
        self.register_buffer("phase", torch.from_numpy(phase.astype(np.float32)))
        self.coefficients = nn.Parameter(torch.zeros(features))
        self.offset = nn.Parameter(torch.zeros(1))

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """The random Fourier features of rows [..., d] -> [..., D]."""
        return math.sqrt(2 / len(self.phase)) * torch.cos(x @ self.direction + self.phase)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The margin w . z(x) - offset of rows [n, d] -> [n]; negative for odd rows."""
        return self.features(x) @ self.coefficients - self.offset

    def score(self, X: np.ndarray, /) -> np.ndarray:
        """Return minus the margin, X [n, d] -> [n]: above 0 for rows outside of the boundary."""
        rows = check_rows(X).astype(np.float32)
        rows = rows.reshape(len(rows), math.prod(rows.shape[1:]))
        if rows.shape[1] != len(self.direction):
            raise DataError(
                f"the one-class SVM was made for {len(self.direction)} features, the rows have "
                f"{rows.shape[1]}"
            )
        with torch.no_grad():
            parts = [-self(part).double() for part in torch.from_numpy(rows).split(_BATCH_ROWS)]
        return torch.cat(parts).numpy()

    def score_edges(self) -> np.ndarray:
        """Return bin edges for a histogram of the scores: they follow from the public offset."""
        scale = abs(self.offset.item()) or 1.0
        return np.linspace(-9 * scale, 2 * scale, 1101)


@dataclass(frozen=True)
class OneClassSGD:
    """A client's work on a `OneClass` model; give it to `fit(local=...)`.

    Stochastic gradient descent on

        nu / 2 |w|^2 - nu * offset + mean of max(0, offset - w . z(x))

    whose minimum is scikit-learn's SGDOneClassSVM for the same nu. What a client sends is the mean
    of the weights it passed through (Polyak averaging), which is calmer than the last ones.

    Attributes:
        nu: 0 to 1; about this share of the training rows ends up outside of the boundary.
        lr: step size in the first epoch; in epoch e = 0, 1, ... of the run it is lr / (1 + e).
        epochs: passes over the client's rows in each round.
        batch_size: rows in a step; the last batch of an epoch may be smaller.

    Raises FedlabError for settings that make no sense. Taught in chapter 10.
    """

    nu: float = 0.05
    lr: float = 1.0
    epochs: int = 1
    batch_size: int = 64

    def __post_init__(self) -> None:
        if not 0 < self.nu <= 1:
            raise FedlabError(f"OneClassSGD: nu={self.nu} must be above 0 and at most 1.")
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise FedlabError(f"OneClassSGD: lr={self.lr} must be a positive number.")
        if self.epochs < 1 or self.batch_size < 1:
            raise FedlabError("OneClassSGD: epochs and batch_size must be at least 1.")

    def loss(
        self, features: torch.Tensor, coefficients: torch.Tensor, offset: torch.Tensor
    ) -> torch.Tensor:
        """The objective for features [n, D], coefficients [D] and offset [1] -> a number."""
        hinge = torch.relu(offset - features @ coefficients).mean()
        return self.nu / 2 * coefficients.square().sum() - self.nu * offset.sum() + hinge

    def train(
        self,
        engine: Engine,
        model: nn.Module,
        weights: torch.Tensor,
        store: RowStore,
        clients: np.ndarray,
        seed: int,
        round_: int,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See LocalSolver. Raises FedlabError if `model` is not a `OneClass` for these rows."""
        if not isinstance(model, OneClass):
            raise FedlabError(f"OneClassSGD trains a OneClass model, not {type(model).__name__}.")
        if store.rows[0].numel() != len(model.direction):
            raise FedlabError(
                f"the model takes {len(model.direction)} features, the rows have "
                f"{store.rows[0].numel()}."
            )
        run = self._stacked if engine == "stacked" else self._loop
        return run(model, weights, store, clients, seed, round_)

    def _rate(self, round_: int, epoch: int) -> float:
        return self.lr / (1 + round_ * self.epochs + epoch)

    def _stacked(
        self,
        model: OneClass,
        weights: torch.Tensor,
        store: RowStore,
        clients: np.ndarray,
        seed: int,
        round_: int,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """All clients at once, the gradient by hand."""
        sizes = store.sizes[clients]
        longest = int(sizes.max(initial=0))
        own = weights.repeat(len(clients), 1)
        mean, loss_sum = torch.zeros_like(own), torch.zeros(len(clients))
        columns = torch.arange(self.batch_size)
        steps = torch.from_numpy(-(-sizes // self.batch_size) * self.epochs).unsqueeze(1)
        for epoch in range(self.epochs):
            lr = self._rate(round_, epoch)
            when = np.full(len(clients), epoch)
            numbers = batch_order(seed, round_, clients, when, longest, sizes)
            order = torch.from_numpy(numbers + store.offsets[clients][:, None])
            for start in range(0, longest, self.batch_size):
                counts = torch.from_numpy(sizes - start).clamp(max=self.batch_size)
                here = torch.nonzero(counts > 0).squeeze(1)  # the others have seen all their rows
                rows = order[here, start : start + self.batch_size]
                inside = columns[: rows.shape[1]] < counts[here, None]
                share = inside / counts[here, None]  # padding counts nothing
                z = model.features(store.rows[rows].flatten(2))
                w, offset = own[here, :-1], own[here, -1:]
                short = offset - torch.bmm(z, w.unsqueeze(2)).squeeze(2)
                odd = share * (short > 0)
                pull = torch.bmm(odd.unsqueeze(1), z).squeeze(1)
                value = self.nu / 2 * w.square().sum(1) - self.nu * offset.squeeze(1)
                loss_sum[here] += (value + (odd * short).sum(1)) * counts[here]
                gradient = torch.cat([self.nu * w - pull, odd.sum(1, keepdim=True) - self.nu], 1)
                own[here] -= lr * gradient
                mean[here] += own[here] / steps[here]
        rows_seen = torch.from_numpy(sizes * self.epochs)
        return mean - weights, loss_sum / rows_seen

    def _loop(
        self,
        model: OneClass,
        weights: torch.Tensor,
        store: RowStore,
        clients: np.ndarray,
        seed: int,
        round_: int,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """One client after the other, the gradient by autograd: the readable reference."""
        updates, losses = torch.zeros(len(clients), len(weights)), torch.zeros(len(clients))
        for i, client in enumerate(clients):
            own, rows = unflatten(weights, model), store.of(client).flatten(1)
            assert isinstance(own, OneClass)
            path, loss_sum = [], 0.0
            for epoch in range(self.epochs):
                lr = self._rate(round_, epoch)
                who, when, size = np.array([client]), np.array([epoch]), len(rows)
                order = batch_order(seed, round_, who, when, size, np.array([size]))[0]
                for batch in torch.from_numpy(order).split(self.batch_size):
                    loss = self.loss(own.features(rows[batch]), own.coefficients, own.offset)
                    gradients = torch.autograd.grad(loss, list(own.parameters()))
                    with torch.no_grad():
                        for weight, gradient in zip(own.parameters(), gradients, strict=True):
                            weight.sub_(lr * gradient)
                    loss_sum += loss.item() * len(batch)
                    path.append(flatten(own))
            updates[i] = torch.stack(path).mean(dim=0) - weights
            losses[i] = loss_sum / (len(rows) * self.epochs)
        return updates, losses
