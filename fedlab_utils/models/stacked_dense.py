"""Many dense autoencoders as one batched computation, gradients by hand. Taught in chapter 03."""

from __future__ import annotations

import torch

from fedlab_utils.models.dense import DenseAutoencoder

# torch computes the last elements of an array, those that do not fill its vector registers, by
# other instructions, which may round differently. Lengths that are a multiple of this leave no
# such rest, so a client's bits do not depend on where in a buffer it lies.
LANES = 16
_MINUS_ONE = torch.tensor(-1.0)


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
        self.settings = (model.widths, model.activation, batch)
        self.weights = self.pack(start)
        self.gradients = torch.empty_like(self.weights)
        self._full_h = [_row_of_ones(clients, n, batch) for n, _ in self.shapes[:-1]]
        self._full_z = [torch.empty(clients, n, batch) for n, _ in self.shapes[:-1]]
        self._full_d = [torch.empty(clients, n, batch) for n, _ in self.shapes[:-1]]
        self._full_out = torch.empty(clients, batch, self.shapes[-1][0])
        self._positions = torch.arange(batch)
        self._counts: torch.Tensor | None = None
        self._used: torch.Tensor | None = None
        self._bind()

    def fits(self, model: DenseAutoencoder, clients: int, batch: int) -> bool:
        """Whether `restart` makes of this what a new one would be."""
        return self.clients == clients and self.settings == (model.widths, model.activation, batch)

    def restart(self, start: torch.Tensor) -> None:
        """Begin again with other weights, [P] or [K, P], in the same buffers."""
        rows, position = start.view(-1, start.shape[-1]), 0
        for block, (n_out, n_in) in zip(self._w, self.shapes, strict=True):
            size = n_out * n_in
            weight = rows[:, position : position + size]
            block[:, :, :n_in] = weight.view(-1, n_out, n_in)
            block[:, :, n_in] = rows[:, position + size : position + size + n_out]
            block[:, :, n_in + 1 :] = 0  # not zero any more if a client has diverged
            position += size + n_out

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
        rows = x[:, :, : self._out.shape[2]]
        return torch.baddbmm(rows, self._h_rows[-1], self._w_last, beta=-1, out=self._out)

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
        if counts is not self._counts:
            self._use_counts(counts)
        out = self.reconstruct(x)
        if self._used is not None:
            out.mul_(self._used)
        loss = torch.linalg.vector_norm(out.view(len(out), -1), dim=1).square_()
        # The mean loss is |out - x|^2 / (rows d); its gradient is 2 (out - x) / (rows d).
        out.mul_(self._scale)
        delta = self._out_t
        for layer in range(len(self.shapes) - 1, 0, -1):
            torch.bmm(delta, self._h_rows[layer - 1], out=self._g[layer])
            delta = self.send_back(layer, delta)
        torch.bmm(delta, x, out=self._g[0])
        return loss.div_(out.shape[2])

    def _use_counts(self, counts: torch.Tensor) -> None:
        """What the counts of a step decide; most steps have those of the step before."""
        self._counts = counts
        full = float(counts.min()) == len(self._positions)
        self._used = None if full else (self._positions < counts[:, None]).unsqueeze(2)
        self._scale = (2 / self._out.shape[2] / counts).view(-1, 1, 1)

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
