"""The dense autoencoder that every chapter trains. Taught in chapter 01."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from fedlab_utils.errors import FedlabError

ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU}


class DenseAutoencoder(nn.Module):
    """An undercomplete autoencoder: d -> hidden -> code -> hidden -> d.

    The code and the output are linear; every other layer is followed by the activation.
    `forward` maps [n, d] to [n, d]. Taught in chapter 01.

    Args:
        widths: layer widths from the input to the code, for example (20, 10, 5); the decoder
            mirrors them.
        activation: "tanh" (bounded: far rows are reconstructed badly, which is what a detector
            wants) or "relu".
    """

    def __init__(self, widths: Sequence[int], activation: str = "tanh") -> None:
        super().__init__()
        if len(widths) < 2 or any(int(w) != w or w < 1 for w in widths):
            raise FedlabError(f"widths={tuple(widths)}: give two or more positive whole numbers.")
        if activation not in ACTIVATIONS:
            raise FedlabError(
                f"activation={activation!r}: choose one of {', '.join(sorted(ACTIVATIONS))}."
            )
        self.widths = tuple(int(w) for w in widths)
        self.activation = activation
        self.encoder = self._stack(self.widths)
        self.decoder = self._stack(self.widths[::-1])

    def _stack(self, widths: Sequence[int]) -> nn.Sequential:
        layers: list[nn.Module] = []
        for i, (n_in, n_out) in enumerate(pairwise(widths)):
            if i:
                layers.append(ACTIVATIONS[self.activation]())
            layers.append(nn.Linear(n_in, n_out))
        return nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Reconstruct rows: [n, d] -> [n, d]."""
        return self.decoder(self.encoder(x))


def dense_autoencoder(
    n_features: int,
    hidden: int | None = None,
    code: int | None = None,
    activation: str = "tanh",
    seed: int = 0,
) -> DenseAutoencoder:
    """The course's model, with weights fixed by `seed` (the global generator is left alone).

    Args:
        n_features: d.
        hidden: width of the hidden layers; default 2 d.
        code: width of the code, smaller than d; default d / 3 (at least 2). On the payments
            narrower models (d / 2 and d / 6) hardly beat an untrained one.

    Raises FedlabError for widths that make no undercomplete autoencoder.
    """
    if n_features < 2:
        raise FedlabError(f"n_features={n_features}: an autoencoder needs at least two features.")
    hidden = 2 * n_features if hidden is None else hidden
    code = max(min(2, n_features - 1), n_features // 3) if code is None else code
    if code >= n_features:
        raise FedlabError(
            f"code={code} with {n_features} features: a code as wide as the data can copy every "
            f"row, anomalies included. Choose a smaller one."
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return DenseAutoencoder((n_features, hidden, code), activation)
