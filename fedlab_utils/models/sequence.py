"""Autoencoders of windows [n, T, c]: an LSTM's and a Transformer's. Taught in chapter 11.

Both are written with plain products: torch's own LSTM cannot be differentiated for many clients
at once (`vmap`). They compute the same as torch's layers, and the tests compare them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

from fedlab_utils.errors import FedlabError

M = TypeVar("M", bound=nn.Module)


class LSTM(nn.Module):
    """One layer of long short-term memory: [n, T, inputs] -> hidden states [n, T, units].

    The weights are laid out as in torch.nn.LSTM (gates in the order input, forget, cell, output),
    with one bias instead of two. Source: Hochreiter and Schmidhuber 1997,
    https://doi.org/10.1162/neco.1997.9.8.1735. Taught in chapter 11.
    """

    def __init__(self, inputs: int, units: int) -> None:
        super().__init__()
        self.units = units
        self.weight_ih = nn.Parameter(torch.empty(4 * units, inputs))
        self.weight_hh = nn.Parameter(torch.empty(4 * units, units))
        self.bias = nn.Parameter(torch.empty(4 * units))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights as torch does, but begin with open forget gates."""
        bound = 1 / math.sqrt(self.units)
        with torch.no_grad():
            for p in self.parameters():
                p.uniform_(-bound, bound)
            # An open gate remembers, so the first steps get a gradient from the start.
            self.bias[self.units : 2 * self.units] += 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The hidden states of all steps."""
        # The inputs' part for all steps at once: only the rest needs the step before.
        from_input = (x @ self.weight_ih.T + self.bias).unbind(1)
        recurrent = self.weight_hh.T
        cell = hidden = torch.zeros_like(from_input[0][:, : self.units])
        states = []
        for step in from_input:
            i, f, g, o = (step + hidden @ recurrent).chunk(4, dim=1)
            cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
            hidden = torch.sigmoid(o) * torch.tanh(cell)
            states.append(hidden)
        return torch.stack(states, dim=1)


def one_step_later(x: torch.Tensor) -> torch.Tensor:
    """Windows [n, T, c] moved back by a step: each place shows the step before, the first zeros."""
    return torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], dim=1)


class LSTMAutoencoder(nn.Module):
    """Reads a window, keeps a code [z], and writes the window from it, last step first.

    For each step the writer gets the code and the (true) step that it has written before. Without
    that step, plain SGD hardly learns anything in the number of rounds that a federation can
    afford. Source: Malhotra et al. 2016 (EncDec-AD), arXiv:1607.00148, which shows the writer its
    own steps when it scores; here it always sees the true ones. Taught in chapter 11.

    Args:
        channels: c.
        units: width of the two LSTMs.
        code: z.
    """

    def __init__(self, channels: int, units: int, code: int) -> None:
        super().__init__()
        self.reader = LSTM(channels, units)
        self.narrow = nn.Linear(units, code)
        self.writer = LSTM(channels + code, units)
        self.output = nn.Linear(units, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Reconstruct windows: [n, T, c] -> [n, T, c]."""
        code = self.narrow(self.reader(x)[:, -1])
        everywhere = code.unsqueeze(1).expand(-1, x.shape[1], -1)
        seen = torch.cat([one_step_later(x.flip(1)), everywhere], dim=2)
        return self.output(self.writer(seen)).flip(1)


class LSTMPredictor(nn.Module):
    """Foretells each step of a window from those before it: [n, T, c] -> [n, T, c].

    Its output has the place of a reconstruction, so `fit` and `evaluate` take it as they take an
    autoencoder. On one-hot events its output estimates the probabilities of the next event,
    because the squared error is smallest there. Source: Du et al. 2017 (DeepLog),
    https://doi.org/10.1145/3133956.3134015, which minimises cross-entropy. Taught in chapter 11.
    """

    def __init__(self, channels: int, units: int) -> None:
        super().__init__()
        self.reader = LSTM(channels, units)
        self.output = nn.Linear(units, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Foretell every step, the first one from nothing."""
        return self.output(self.reader(one_step_later(x)))


class SelfAttention(nn.Module):
    """Every step looks at every step: [n, T, width] -> [n, T, width], in `heads` parts.

    The weights are laid out as in torch.nn.MultiheadAttention. Source: Vaswani et al. 2017,
    arXiv:1706.03762. Taught in chapter 11.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.enter = nn.Linear(width, 3 * width)  # queries, keys and values
        self.leave = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """For each step a mean of all steps' values; queries and keys give the weights."""
        n, steps, width = x.shape
        parts = self.enter(x).view(n, steps, 3, self.heads, width // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4).unbind(0)  # each [n, heads, T, width / heads]
        weights = torch.softmax(q @ k.transpose(2, 3) / math.sqrt(q.shape[3]), dim=3)
        return self.leave((weights @ v).transpose(1, 2).reshape(n, steps, width))


class TransformerBlock(nn.Module):
    """Attention, then a small network for each step, both added to what came in."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = SelfAttention(width, heads)
        self.inner = nn.Sequential(
            nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[n, T, width] -> [n, T, width]."""
        x = x + self.attention(self.norm1(x))
        return x + self.inner(self.norm2(x))


class TransformerAutoencoder(nn.Module):
    """Looks at all steps at once, keeps a code [z], and writes the window from it.

    Without the code, a Transformer could copy its input step by step, anomalies included. Windows
    have a fixed number of steps. Taught in chapter 11.

    Args:
        channels: c.
        steps: T.
        width: numbers that stand for a step between the layers.
        heads: parts of the attention; `width` is a multiple of it.
        code: z.
    """

    position: torch.Tensor

    def __init__(self, channels: int, steps: int, width: int, heads: int, code: int) -> None:
        super().__init__()
        self.embed = nn.Linear(channels, width)
        self.register_buffer("position", positions(steps, width))
        self.encoder = TransformerBlock(width, heads)
        self.narrow = nn.Linear(steps * width, code)
        self.widen = nn.Linear(code, steps * width)
        self.decoder = TransformerBlock(width, heads)
        self.output = nn.Linear(width, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Reconstruct windows: [n, T, c] -> [n, T, c]."""
        code = self.narrow(self.encoder(self.embed(x) + self.position).flatten(1))
        wide = self.widen(code).view(len(x), *self.position.shape)
        return self.output(self.decoder(wide + self.position))


def positions(steps: int, width: int) -> torch.Tensor:
    """Sines and cosines [steps, width] of growing wavelength, so that attention knows the order."""
    column = torch.arange(width)
    # 100 instead of the usual 10,000: windows are short, slower waves would stand still.
    angle = torch.arange(steps)[:, None] / 100.0 ** (2 * (column // 2) / width)
    return torch.where(column % 2 == 0, angle.sin(), angle.cos())


def lstm_autoencoder(
    channels: int, units: int = 16, code: int = 6, seed: int = 0
) -> LSTMAutoencoder:
    """An LSTMAutoencoder with weights fixed by `seed` (the global generator is left alone).

    Raises FedlabError for sizes below 1. Taught in chapter 11.
    """
    check_sizes("lstm_autoencoder", channels=channels, units=units, code=code)
    return seeded(lambda: LSTMAutoencoder(channels, units, code), seed)


def lstm_predictor(channels: int, units: int = 16, seed: int = 0) -> LSTMPredictor:
    """An LSTMPredictor with weights fixed by `seed`. Raises as `lstm_autoencoder`."""
    check_sizes("lstm_predictor", channels=channels, units=units)
    return seeded(lambda: LSTMPredictor(channels, units), seed)


def transformer_autoencoder(
    channels: int, steps: int, width: int = 16, heads: int = 2, code: int = 12, seed: int = 0
) -> TransformerAutoencoder:
    """A TransformerAutoencoder with weights fixed by `seed` (the global generator is left alone).

    Raises FedlabError for sizes below 1, a width that the heads do not divide, and a code as wide
    as the window. Taught in chapter 11.
    """
    sizes = {"channels": channels, "steps": steps, "width": width, "heads": heads, "code": code}
    check_sizes("transformer_autoencoder", **sizes)
    if width % heads:
        raise FedlabError(
            f"transformer_autoencoder: width={width} must be a multiple of heads={heads}."
        )
    if code >= channels * steps:
        raise FedlabError(
            f"transformer_autoencoder: code={code} is as wide as a window of {steps} steps with "
            f"{channels} channels, so it can copy every window. Choose a smaller one."
        )
    return seeded(lambda: TransformerAutoencoder(channels, steps, width, heads, code), seed)


def check_sizes(where: str, **sizes: int) -> None:
    """Raise FedlabError for a size that is not a whole number of at least 1."""
    for name, value in sizes.items():
        if int(value) != value or value < 1:
            raise FedlabError(f"{where}: {name}={value} must be a whole number of at least 1.")


def seeded(make: Callable[[], M], seed: int) -> M:
    """What `make` returns when torch's generator starts from `seed`; its state is put back."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()
