"""Many clients' models trained as one batched computation. Taught in chapter 03.

A Python loop over clients spends its time on starting small operations. Here the parameters of
K clients lie on a leading axis, so that one batched matrix product does the work of K products.
The arithmetic of each client is that of the loop; only the bookkeeping is shared.

Both classes keep the K models' weights and gradients as one flat buffer each (`weights`,
`gradients`, same layout), so that a local solver is a line of elementwise arithmetic.
"""

from __future__ import annotations

import copy
from typing import Protocol

import torch
from torch import nn
from torch.func import functional_call, grad_and_value, vmap

from fedlab_utils.models.dense import DenseAutoencoder

# torch computes the last elements of an array, those that do not fill its vector registers, by
# other instructions, which may round differently. Lengths that are a multiple of this leave no
# such rest, so a client's bits do not depend on where in a buffer it lies.
LANES = 16
_MINUS_ONE = torch.tensor(-1.0)


class StackedModel(Protocol):
    """K models of one architecture, trained side by side."""

    weights: torch.Tensor
    gradients: torch.Tensor
    clients: int

    def differentiate(self, x: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        """Fill `gradients` with those of each client's mean loss; return the sum over its rows [K].

        A row's loss is its mean squared reconstruction error.

        Args:
            x: [K, B, ...] one batch of each client.
            counts: [K] how many rows of each batch count; those after them are padding.
        """
        ...

    def pack(self, values: torch.Tensor) -> torch.Tensor:
        """Values [P] or [K, P], in the order of `flatten`, as a new buffer of all clients."""
        ...

    def keep(self, buffer: torch.Tensor, k: int) -> torch.Tensor:
        """The part of a buffer that belongs to the first k clients, as a new buffer."""
        ...

    def shrink(self, k: int) -> None:
        """Go on with the first k clients only."""
        ...

    def matrix(self) -> torch.Tensor:
        """The weights as [K, P], parameters in the order of `flatten`."""
        ...


def with_ones(x: torch.Tensor) -> torch.Tensor:
    """Rows [..., d] as StackedDense takes them: a column of ones, then zeros up to its width."""
    wide = torch.zeros(*x.shape[:-1], stacked_width(x.shape[-1]))
    wide[..., : x.shape[-1]] = x
    wide[..., x.shape[-1]] = 1
    return wide


def _row_of_ones(clients: int, n: int, batch: int) -> torch.Tensor:
    """Room for activations [K, stacked_width(n), B] of n units: ones at n, zeros below."""
    h = torch.empty(clients, stacked_width(n), batch)
    h[:, n:] = 0
    h[:, n] = 1
    return h


def stacked_width(n: int) -> int:
    """Columns that n inputs and the bias take. Products of odd widths are up to 3 times slower."""
    return -(-(n + 1) // 8) * 8


def _padded(blocks: list[torch.Tensor]) -> torch.Tensor:
    """One buffer of all blocks, its length a multiple of `LANES`."""
    spare = -sum(b.numel() for b in blocks) % LANES
    return torch.cat([*blocks, torch.zeros(spare)])


class StackedDense:
    """K dense autoencoders; gradients by hand, activations stored features first.

    The bias is a column of each layer's weight, next to the inputs, and the activations have a
    row of ones there, so a layer is a single product. Zeros fill both up to `stacked_width(in)`;
    their gradient is zero. The buffers hold one block [K, out, stacked_width(in)] per layer.
    `batch`, the rows per client and step, must be a multiple of LANES. `start` is [P], or [K, P]
    if each client begins with weights of its own.
    """

    def __init__(self, model: DenseAutoencoder, start: torch.Tensor, clients: int, batch: int):
        widths = model.widths + model.widths[-2::-1]
        self.shapes = list(zip(widths[1:], widths[:-1], strict=True))
        code = len(model.widths) - 1
        last = len(self.shapes) - 1
        # The code and the output are linear.
        self.active = [i + 1 != code and i != last for i in range(len(self.shapes))]
        self.relu = model.activation == "relu"
        self.clients = clients
        self.weights = self.pack(start)
        self.gradients = torch.empty_like(self.weights)
        self._full_h = [_row_of_ones(clients, n, batch) for n, _ in self.shapes[:-1]]
        self._full_z = [torch.empty(clients, n, batch) for n, _ in self.shapes[:-1]]
        self._full_d = [torch.empty(clients, n, batch) for n, _ in self.shapes[:-1]]
        self._full_out = torch.empty(clients, batch, self.shapes[-1][0])
        self._positions = torch.arange(batch)
        self._bind()

    def pack(self, values: torch.Tensor) -> torch.Tensor:
        """See StackedModel."""
        # [P] is laid out once and then repeated.
        rows = values.view(-1, values.shape[-1])
        blocks, position = [], 0
        for n_out, n_in in self.shapes:
            size = n_out * n_in
            weight = rows[:, position : position + size].view(-1, n_out, n_in)
            bias = rows[:, position + size : position + size + n_out].unsqueeze(2)
            position += size + n_out
            zeros = torch.zeros(len(rows), n_out, stacked_width(n_in) - n_in - 1)
            block = torch.cat([weight, bias, zeros], dim=2)
            blocks.append(block.expand(self.clients, -1, -1).reshape(-1))
        return _padded(blocks)

    def _blocks(self, buffer: torch.Tensor, clients: int) -> list[torch.Tensor]:
        views, position = [], 0
        for n_out, n_in in self.shapes:
            width = stacked_width(n_in)
            size = clients * n_out * width
            views.append(buffer[position : position + size].view(clients, n_out, width))
            position += size
        return views

    def _bind(self) -> None:
        """Views are made once per set of clients: making them costs as much as a small product."""
        k = self.clients
        self._w = self._blocks(self.weights, k)
        self._g = self._blocks(self.gradients, k)
        inputs = [n_in for _, n_in in self.shapes]
        self._w_back = [w[:, :, :n].transpose(1, 2) for w, n in zip(self._w, inputs, strict=True)]
        self._w_last = self._w[-1].transpose(1, 2)
        self._h = [h[:k] for h in self._full_h]
        self._h_inner = [h[:, :n] for h, n in zip(self._h, inputs[1:], strict=True)]
        self._h_rows = [h.transpose(1, 2) for h in self._h]
        self._z = [z[:k] for z in self._full_z]
        self._d = [d[:k] for d in self._full_d]
        self._out = self._full_out[:k]
        self._out_t = self._out.transpose(1, 2)

    def reconstruct(self, x: torch.Tensor) -> torch.Tensor:
        """Fill the activations; return output minus input [K, B, d], which is a buffer."""
        below = x.transpose(1, 2)
        for layer in range(len(self.shapes) - 1):
            z, w, h = self._z[layer], self._w[layer], self._h_inner[layer]
            if not self.active[layer]:
                torch.bmm(w, below, out=z)
                h.copy_(z)
            elif self.relu:
                torch.bmm(w, below, out=z)
                torch.clamp(z, min=0, out=h)
            else:
                # tanh(z) = 2 sigmoid(2z) - 1, in a third of the time of torch's tanh.
                torch.baddbmm(z, w, below, beta=0, alpha=2, out=z)
                torch.add(_MINUS_ONE, torch.sigmoid(z, out=z), alpha=2, out=h)
            below = self._h[layer]
        out = torch.bmm(self._h_rows[-1], self._w_last, out=self._out)
        return out.sub_(x[:, :, : out.shape[2]])

    def send_back(self, layer: int, delta: torch.Tensor) -> torch.Tensor:
        """The delta of the layer below, from that of `layer`; a buffer [K, units, B]."""
        inner = torch.bmm(self._w_back[layer], delta, out=self._d[layer - 1])
        if self.active[layer - 1]:
            h = self._h_inner[layer - 1]
            if self.relu:
                inner.mul_(h > 0)
            else:
                torch.ops.aten.tanh_backward.grad_input(inner, h, grad_input=inner)
        return inner

    def differentiate(self, x: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        """See StackedModel. `x` is [K, B, stacked_width(d)], made by `with_ones`."""
        out = self.reconstruct(x)
        d = out.shape[2]
        if float(counts.min()) < x.shape[1]:
            out.mul_((self._positions < counts[:, None]).unsqueeze(2))
        loss = torch.linalg.vector_norm(out.view(len(out), -1), dim=1).square_().div_(d)
        # The mean loss is |out - x|^2 / (rows d); its gradient is 2 (out - x) / (rows d).
        out.mul_((2 / d / counts).view(-1, 1, 1))
        delta = self._out_t
        for layer in range(len(self.shapes) - 1, 0, -1):
            torch.bmm(delta, self._h_rows[layer - 1], out=self._g[layer])
            delta = self.send_back(layer, delta)
        torch.bmm(delta, x, out=self._g[0])
        return loss

    def keep(self, buffer: torch.Tensor, k: int) -> torch.Tensor:
        """See StackedModel."""
        return _padded([b[:k].reshape(-1) for b in self._blocks(buffer, self.clients)])

    def shrink(self, k: int) -> None:
        """See StackedModel."""
        self.weights = self.keep(self.weights, k)
        self.gradients = torch.empty_like(self.weights)
        self.clients = k
        self._bind()

    def matrix(self) -> torch.Tensor:
        """See StackedModel."""
        parts = []
        for w, (_, n) in zip(self._w, self.shapes, strict=True):
            parts += [w[:, :, :n].reshape(self.clients, -1), w[:, :, n]]
        return torch.cat(parts, dim=1)


class StackedModule:
    """K copies of any `nn.Module` autoencoder, by `functional_call` under `vmap(grad)`.

    The module must be a pure function of its parameters and input (no dropout, no batch
    statistics) and return what it was given, reconstructed.
    """

    def __init__(self, model: nn.Module, start: torch.Tensor, clients: int):
        self.clients = clients
        self.weights = self.pack(start)
        self.gradients = torch.empty_like(self.weights)
        # functional_call swaps the module's parameters while it runs: chunks that are trained on
        # different threads must not share one module.
        self._model = copy.deepcopy(model)
        self._named = list(self._model.named_parameters())
        self._buffers = dict(self._model.named_buffers())

        def loss(flat: torch.Tensor, x: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
            used = torch.arange(len(x)) < count
            return (self.row_errors(flat, x) * used).sum() / count

        self._gradient = vmap(grad_and_value(loss))

    def row_errors(self, flat: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Mean squared error of each row [B] of one model with the weights `flat` [P]."""
        values, position = dict(self._buffers), 0
        for name, p in self._named:
            values[name] = flat[position : position + p.numel()].view(p.shape)
            position += p.numel()
        error = functional_call(self._model, values, (x,)) - x
        return error.square().flatten(1).mean(1)

    def differentiate(self, x: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        """See StackedModel. `x` is [K, B, ...]."""
        self.gradients, loss = self._gradient(self.weights, x, counts)
        return loss * counts

    def pack(self, values: torch.Tensor) -> torch.Tensor:
        """See StackedModel."""
        return values.expand(self.clients, -1).clone()

    def keep(self, buffer: torch.Tensor, k: int) -> torch.Tensor:
        """See StackedModel."""
        return buffer[:k].clone()

    def shrink(self, k: int) -> None:
        """See StackedModel."""
        self.weights = self.keep(self.weights, k)
        self.clients = k

    def matrix(self) -> torch.Tensor:
        """See StackedModel."""
        return self.weights
