"""Measures the floors of the payments and writes them into the datasheet.

Run `python -m fedlab_utils.data.payments.datasheet`. Taught in chapter 01.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import nn

import fedlab_utils as fl
from fedlab_utils.data.payments.config import KINDS
from fedlab_utils.data.payments.table import payments_table

README = Path(__file__).resolve().parents[3] / "datasets" / "payments" / "README.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
HIDDEN, CODE = 46, 8  # 2 d and about d / 3
# The best of 0.05, 0.1, 0.2 in each setting. Averaging clients also averages out SGD's noise, so
# federated training bears a higher rate than one place with many steps a round.
FEDERATED = fl.SGD(lr=0.2, epochs=1, batch_size=32, momentum=0.9)
ALONE = replace(FEDERATED, lr=0.1)
CENTRAL = replace(FEDERATED, lr=0.05)
ROUNDS = 30


def checksum(table: fl.Table) -> str:
    """sha256 over the float32 features, labels, banks, kinds and split of a table.

    Text enters as UTF-8, so that the byte order and width of numpy's strings do not matter.
    """
    assert table.key is not None and table.kind is not None and table.split is not None
    digest = hashlib.sha256(np.ascontiguousarray(table.x, dtype="<f4").tobytes())
    digest.update(table.y.astype(np.uint8).tobytes())
    for column in (table.key, table.kind, table.split):
        digest.update("\n".join(column.tolist()).encode())
    return digest.hexdigest()


def autoencoder(federation: fl.Federation, seed: int) -> fl.DenseAutoencoder:
    """The untrained model of the measured table."""
    return fl.dense_autoencoder(federation.n_features, hidden=HIDDEN, code=CODE, seed=seed)


def norm(x: np.ndarray) -> np.ndarray:
    """[n] mean square of each standardised row of x [n, d]: how far out it is, without a model."""
    return np.square(x).mean(axis=1)


def central(federation: fl.Federation, seed: int, rounds: int = ROUNDS) -> nn.Module:
    """The model trained on all banks' rows in one place."""
    start = autoencoder(federation, seed)
    run = fl.fit(
        start, federation.pooled_federation(), rounds=rounds, local=CENTRAL, seed=seed,
        progress=False,
    )  # fmt: skip
    return run.model


def auc_by_kind(kind: np.ndarray, score: np.ndarray) -> dict[str, float]:
    """AUC of each anomaly type against the normal rows; kind [n] str, score [n]."""
    from sklearn.metrics import roc_auc_score

    result = {}
    for name in KINDS:
        rows = (kind == name) | (kind == "normal")
        result[name] = float(roc_auc_score(kind[rows] == name, score[rows]))
    return result


def scores(federation: fl.Federation, seed: int, rounds: int) -> dict[str, list[np.ndarray]]:
    """Each method's scores of the test rows, one array per bank."""
    from sklearn.ensemble import IsolationForest

    tests = [client.x_test for client in federation]
    start = autoencoder(federation, seed)
    forest = IsolationForest(n_estimators=200, random_state=seed)
    forest.fit(federation.pooled().x_train)
    # Twice the epochs: a bank alone takes few steps per epoch.
    alone = fl.fit_local(start, federation, rounds=2 * rounds, local=ALONE, seed=seed)
    run = fl.fit(start, federation, rounds=rounds, local=FEDERATED, seed=seed, progress=False)
    pooled = central(federation, seed, rounds)
    error = fl.reconstruction_error
    return {
        "norm of the row": [norm(x) for x in tests],
        "untrained autoencoder": [error(start, x) for x in tests],
        "isolation forest": [-forest.score_samples(x) for x in tests],
        "autoencoder, each bank alone": [error(alone[c.name], c.x_test) for c in federation],
        "autoencoder, federated": [error(run.model, x) for x in tests],
        "autoencoder, all rows in one place": [error(pooled, x) for x in tests],
    }


def measure(
    seeds: tuple[int, ...] = (0, 1, 2),
    shifts: tuple[float, ...] = (0, 0.6, 1),
    rounds: int = ROUNDS,
    customers: int = 100,
) -> str:
    """The measured part of the datasheet as Markdown. Takes some minutes."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    lines = [f"sha256 of the default table (seed 0): `{checksum(payments_table())}`"]
    for shift in shifts:
        rows: dict[str, list[list[float]]] = {}
        prevalence = []
        for seed in seeds:
            federation = fl.load("payments", shift=shift, seed=seed, customers=customers)
            truth = [client.y_test for client in federation]
            y = np.concatenate(truth)
            kind = np.concatenate([client.kind_test for client in federation])
            prevalence.append(y.mean())
            for method, score in scores(federation, seed, rounds).items():
                aps = list(map(average_precision_score, truth, score))
                pooled = np.concatenate(score)
                rows.setdefault(method, []).append(
                    [
                        average_precision_score(y, pooled), np.mean(aps), min(aps),
                        roc_auc_score(y, pooled), *auc_by_kind(kind, pooled).values(),
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
