"""Measures the floors of the payments and writes them into the datasheet.

Run `python -m fedlab_utils.data.payments.datasheet`. Taught in chapter 01.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from fedlab_utils.data.payments.config import KINDS
from fedlab_utils.data.payments.table import payments_table
from fedlab_utils.data.table import Table

README = Path(__file__).resolve().parents[3] / "datasets" / "payments" / "README.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
HIDDEN, CODE = 46, 8  # 2 d and about d / 3


def checksum(table: Table) -> str:
    """sha256 over the float32 features, labels, banks, kinds and split of a table.

    Text enters as UTF-8, so that the byte order and width of numpy's strings do not matter.
    """
    assert table.key is not None and table.kind is not None and table.split is not None
    digest = hashlib.sha256(np.ascontiguousarray(table.x, dtype="<f4").tobytes())
    digest.update(table.y.astype(np.uint8).tobytes())
    for column in (table.key, table.kind, table.split):
        digest.update("\n".join(column.tolist()).encode())
    return digest.hexdigest()


def autoencoder(d: int, seed: int) -> nn.Module:
    """A dense tanh autoencoder with PyTorch's initial weights."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(d, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, CODE), nn.Tanh(),
        nn.Linear(CODE, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, d),
    )  # fmt: skip


def train(model: nn.Module, x: np.ndarray, epochs: int, seed: int) -> nn.Module:
    """Train by SGD with rate 0.3, momentum 0.9, batches of 64; returns `model`. x: [n, d]."""
    rows = torch.from_numpy(x)
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
    for _ in range(epochs):
        for batch in torch.randperm(len(rows), generator=generator).split(64):
            optimiser.zero_grad()
            (model(rows[batch]) - rows[batch]).square().mean().backward()
            optimiser.step()
    return model


def error(model: nn.Module, x: np.ndarray) -> np.ndarray:
    """[n] mean squared reconstruction error of each row of x [n, d]."""
    rows = torch.from_numpy(x)
    with torch.no_grad():
        return (model(rows) - rows).square().mean(dim=1).numpy()


def prepared(**options: Any) -> tuple[Table, np.ndarray, np.ndarray, np.ndarray]:
    """The table, its rows standardised by the normal training rows, training and test masks."""
    table = payments_table(**options)
    assert table.split is not None
    fit = (table.split == "train") & ~table.y
    x = ((table.x - table.x[fit].mean(axis=0)) / table.x[fit].std(axis=0)).astype(np.float32)
    return table, x, fit, table.split == "test"


def auc_by_kind(table: Table, test: np.ndarray, score: np.ndarray) -> dict[str, float]:
    """AUC of each anomaly type against the normal test rows; `score` has one value a test row."""
    from sklearn.metrics import roc_auc_score

    assert table.kind is not None
    kind = table.kind[test]
    result = {}
    for name in KINDS:
        rows = (kind == name) | (kind == "normal")
        result[name] = float(roc_auc_score(kind[rows] == name, score[rows]))
    return result


def scores(seed: int, shift: float, epochs: int) -> tuple[Table, np.ndarray, dict[str, Any]]:
    """Test scores of the floors and of the trained models, by name of the method."""
    from sklearn.ensemble import IsolationForest

    table, x, fit, test = prepared(seed=seed, shift=shift)
    assert table.key is not None
    d = x.shape[1]
    forest = IsolationForest(n_estimators=200, random_state=seed).fit(x[fit])
    central = train(autoencoder(d, seed), x[fit], epochs, seed)
    own = np.zeros(len(x), dtype=np.float32)
    for bank in np.unique(table.key):
        here = table.key == bank
        # Three times the epochs: a bank alone has few steps per epoch.
        local = train(autoencoder(d, seed), x[fit & here], 3 * epochs, seed)
        own[test & here] = error(local, x[test & here])
    return table, test, {
        "norm of the row": np.square(x[test]).mean(axis=1),
        "untrained autoencoder": error(autoencoder(d, seed), x[test]),
        "isolation forest": -forest.score_samples(x[test]),
        "autoencoder, each bank alone": own[test],
        "autoencoder, all banks' rows": error(central, x[test]),
    }  # fmt: skip


def measure(
    seeds: tuple[int, ...] = (0, 1, 2), shifts: tuple[float, ...] = (0, 0.6, 1), epochs: int = 20
) -> str:
    """The measured part of the datasheet as Markdown. Takes some minutes."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    lines = [f"sha256 of the default table (seed 0): `{checksum(payments_table())}`"]
    for shift in shifts:
        rows: dict[str, list[list[float]]] = {}
        prevalence = []
        for seed in seeds:
            table, test, by_method = scores(seed, shift, epochs)
            assert table.key is not None
            y, key = table.y[test], table.key[test]
            prevalence.append(y.mean())
            for method, score in by_method.items():
                banks = [(y[key == b], score[key == b]) for b in np.unique(key)]
                aps = [average_precision_score(*bank) for bank in banks]
                rows.setdefault(method, []).append(
                    [
                        average_precision_score(y, score), np.mean(aps), min(aps),
                        roc_auc_score(y, score), *auc_by_kind(table, test, score).values(),
                    ]
                )  # fmt: skip
        lines += [
            "",
            f"Shift {shift:g}, mean of seeds {', '.join(map(str, seeds))}; chance level of AP "
            f"(prevalence) {np.mean(prevalence):.3f}:",
            "",
            "| Method | AP pooled | AP mean bank | AP worst bank | AUC pooled | "
            + " | ".join(f"AUC {kind}" for kind in KINDS)
            + " |",
            "|---|" + "---|" * (4 + len(KINDS)),
        ]
        for method, values in rows.items():
            cells = " | ".join(f"{v:.3f}" for v in np.mean(values, axis=0))
            lines.append(f"| {method} | {cells} |")
    return "\n".join(lines)


def write(text: str, path: Path = README) -> None:
    """Replace what stands between the markers of the datasheet. Raises ValueError without them."""
    old = path.read_text(encoding="utf-8")
    if BEGIN not in old or END not in old:
        raise ValueError(f"{path}: the markers {BEGIN} and {END} are missing; put them back.")
    head, tail = old.split(BEGIN)[0], old.split(END)[1]
    path.write_text(f"{head}{BEGIN}\n{text}\n{END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    write(measure())
