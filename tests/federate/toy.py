"""Small clients of unequal size, and the comparison of the engines."""

import numpy as np
import torch
from torch import nn

import fedlab_utils as fl
from fedlab_utils.federate import RowStore

RAGGED = (1, 5, 31, 32, 33, 64, 100, 257)


def rows(sizes, shape=(8,), seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(n, *shape)).astype(np.float32) for n in sizes]


def of(parts, unseen=False):
    """A federation of these training rows."""
    none = np.empty((0, parts[0].shape[1]), dtype=np.float32)
    clients = [
        fl.Client(f"bank {i}", x, none, none, np.empty(0), np.empty(0, dtype=str))
        for i, x in enumerate(parts, start=1)
    ]
    features = [f"x{i}" for i in range(parts[0].shape[1])]
    if unseen:
        return fl.Federation("toy", clients[:-1], features, clients[-1])
    return fl.Federation("toy", clients, features)


def federation(sizes=(40, 64, 10), d=8):
    return of(rows(sizes, (d,)))


class Windows(nn.Module):
    """A small convolutional autoencoder of [n, T, c] windows: any module will do."""

    def __init__(self):
        super().__init__()
        self.encode = nn.Conv1d(3, 2, 3, padding=1)
        self.decode = nn.Conv1d(2, 3, 3, padding=1)

    def forward(self, x):
        return self.decode(torch.tanh(self.encode(x.transpose(1, 2)))).transpose(1, 2)


class Regression(nn.Module):
    """(u, v) -> (u, slope u): its loss is that of predicting v, so the optimum is known."""

    def __init__(self):
        super().__init__()
        self.slope = nn.Parameter(torch.zeros(()))

    def forward(self, x):
        return torch.stack([x[:, 0], self.slope * x[:, 0]], dim=1)


def lines(slopes=(-1.0, 0.5, 3.0), widths=(1.0, 3.0, 0.5), sizes=(32, 64, 16)):
    """Clients on lines of their own slope and width, and the slope that all rows together have."""
    parts = []
    for slope, width, n in zip(slopes, widths, sizes, strict=True):
        u = np.linspace(-width, width, n)
        parts.append(np.stack([u, slope * u], axis=1).astype(np.float32))
    u, v = np.concatenate(parts).T
    return of(parts), float((u * v).sum() / (u * u).sum())


def compare_engines(local, kind, own_starts=False):
    """Stacked against loop, clients of one row and of partial last batches included."""
    torch.manual_seed(0)
    model = fl.dense_autoencoder(8) if kind == "dense" else nn.Sequential(
        nn.Linear(8, 3), nn.Tanh(), nn.Linear(3, 8)
    )  # fmt: skip
    start, store, clients = fl.flatten(model), RowStore(rows(RAGGED), model), np.arange(len(RAGGED))
    if own_starts:
        start = start + 0.1 * torch.randn(len(RAGGED), len(start))
    (stacked, losses), (loop, expected) = (
        local.train(engine, model, start, store, clients, 3, 1) for engine in ("stacked", "loop")
    )
    assert_rows_close(stacked, loop)
    torch.testing.assert_close(losses, expected, rtol=1e-5, atol=1e-6)


def assert_rows_close(given, wanted):
    scale = wanted.abs().amax(dim=1, keepdim=True)
    assert float(scale.min()) > 1e-4  # everyone has learned something
    assert float(((given - wanted).abs() / scale).max()) < 1e-5
