"""The dense autoencoder as an attacker computes it: gradients of single rows, in float64."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from fedlab_utils.errors import FedlabError
from fedlab_utils.federate.solvers import SGD
from fedlab_utils.models.dense import DenseAutoencoder
from fedlab_utils.models.flat import flatten


class Network:
    """A dense autoencoder's layers as blocks [out, in + 1]: weights, and the bias as last column.

    With a column of ones beside the inputs, the gradient of a layer for one row is the outer
    product of two vectors, delta [out] and input [in + 1]; every attack here rests on that.

    Raises FedlabError for a model that is not a DenseAutoencoder.
    """

    def __init__(self, model: nn.Module) -> None:
        if not isinstance(model, DenseAutoencoder):
            raise FedlabError(
                f"gradient inversion knows the layers of a DenseAutoencoder only, not of a "
                f"{type(model).__name__}; make the model with dense_autoencoder(...)."
            )
        widths = model.widths + model.widths[-2::-1]
        self.shapes = [(n_out, n_in + 1) for n_in, n_out in pairwise(widths)]
        self.features = widths[0]
        self.size = sum(n_out * n_in for n_out, n_in in self.shapes)
        self._linear = {len(model.widths) - 2, len(self.shapes) - 1}
        self._tanh = model.activation == "tanh"
        self.blocks = self.split(flatten(model).double())

    def split(self, vector: Tensor) -> list[Tensor]:
        """A flat vector [P] in the order of `flatten` as one block [out, in + 1] per layer."""
        blocks, position = [], 0
        for n_out, width in self.shapes:
            n_in = width - 1
            weight = vector[position : position + n_out * n_in].view(n_out, n_in)
            position += n_out * n_in
            bias = vector[position : position + n_out].view(n_out, 1)
            position += n_out
            blocks.append(torch.cat([weight, bias], dim=1))
        return blocks

    def row_factors(
        self, x: Tensor, blocks: list[Tensor] | None = None
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Inputs [..., n, in + 1] and deltas [..., n, out] of every layer for rows [..., n, d].

        The gradient of row i's mean squared error is delta[i] times input[i], transposed.
        `blocks` are the weights, those of the model if not given; each may carry the leading
        axes of `x`.
        """
        blocks = self.blocks if blocks is None else blocks
        ones = torch.ones_like(x[..., :1])
        inputs, h = [], x
        for layer, block in enumerate(blocks):
            inputs.append(torch.cat([h, ones], dim=-1))
            h = inputs[-1] @ block.transpose(-1, -2)
            if layer not in self._linear:
                h = torch.tanh(h) if self._tanh else torch.relu(h)
        delta = (h - x) * (2 / self.features)
        deltas = [delta]
        for layer in range(len(blocks) - 1, 0, -1):
            delta = delta @ blocks[layer][..., :-1]
            if layer - 1 not in self._linear:
                h = inputs[layer][..., :-1]
                delta = delta * (1 - h.square() if self._tanh else (h > 0).to(h))
            deltas.append(delta)
        return inputs, deltas[::-1]

    def update(self, x: Tensor, local: SGD) -> Tensor:
        """The update [..., P] (block order) that local training on rows [..., n, d] gives.

        The order of the rows is their order in every epoch: with several batches an epoch the
        client's own shuffle is not known.
        """
        lead, n = x.shape[:-2], x.shape[-2]
        blocks = [b.expand(*lead, *b.shape) for b in self.blocks]
        velocity: list[Tensor] | None = None
        for _ in range(local.epochs):
            for batch in x.split(local.batch_size or n, dim=-2):
                inputs, deltas = self.row_factors(batch, blocks)
                gradients = [
                    d.transpose(-1, -2) @ i / batch.shape[-2]
                    for d, i in zip(deltas, inputs, strict=True)
                ]
                if local.momentum and velocity is not None:
                    gradients = [
                        local.momentum * v + g for v, g in zip(velocity, gradients, strict=True)
                    ]
                velocity = gradients
                blocks = [b - local.lr * g for b, g in zip(blocks, gradients, strict=True)]
        return flat([b - start for b, start in zip(blocks, self.blocks, strict=True)])


def flat(blocks: list[Tensor]) -> Tensor:
    """Blocks [..., out, in + 1] as one vector [..., P] (block order)."""
    return torch.cat([b.flatten(-2) for b in blocks], dim=-1)
