"""Measures the floors of the telemetry and writes them into the datasheet.

Run `python -m fedlab_utils.data.telemetry.datasheet`. Taught in chapter 11.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import fedlab_utils as fl
from fedlab_utils import detect, models
from fedlab_utils.data.payments.datasheet import checksum, write
from fedlab_utils.data.telemetry.config import KINDS
from fedlab_utils.data.telemetry.table import telemetry_table

README = Path(__file__).resolve().parents[3] / "datasets" / "telemetry" / "README.md"
DENSE = fl.SGD(lr=0.3, batch_size=32, momentum=0.9)
LSTM = fl.SGD(lr=1.0, batch_size=16, momentum=0.9)


def reports(federation: fl.Federation, seed: int, rounds: int) -> list[detect.Report]:
    """Report the sequence model and its floors, and a dense autoencoder of flattened windows."""
    flat = federation.flattened()
    dense = fl.dense_autoencoder(flat.n_features, hidden=64, code=12, seed=seed)
    lstm = models.lstm_autoencoder(federation.n_features, seed=seed)
    found = fl.fit(lstm, federation, rounds=rounds, local=LSTM, seed=seed, progress=False)
    plain = fl.fit(dense, flat, rounds=2 * rounds, local=DENSE, seed=seed, progress=False)
    return [
        fl.evaluate({"LSTM autoencoder, federated": found.model}, federation, seed=seed),
        fl.evaluate(
            {"dense autoencoder of flat windows, federated": plain.model}, flat, baselines=False
        ),
    ]


def measure(seeds: tuple[int, ...] = (0, 1, 2), rounds: int = 15, clients: int = 12) -> str:
    """The measured part of the datasheet as Markdown. Takes about half a minute."""
    rows: dict[str, list[list[float]]] = {}
    prevalence = []
    for seed in seeds:
        federation = fl.load("telemetry", clients=clients, seed=seed)
        for report in reports(federation, seed, rounds):
            prevalence.append(report.prevalence)
            for result in report.results:
                kinds = {kind.client: kind.auc for kind in result.kinds}
                values = [
                    result.pooled.ap,
                    result.pooled.auc,
                    *(kinds.get(k, np.nan) for k in KINDS),
                ]
                rows.setdefault(result.detector, []).append(values)
    lines = [
        f"sha256 of the default table (seed 0): `{checksum(telemetry_table())}`",
        "",
        f"Mean of seeds {', '.join(map(str, seeds))}; chance level of AP (prevalence) "
        f"{np.mean(prevalence):.3f}:",
        "",
        "| Method | AP pooled | AUC pooled | " + " | ".join(f"AUC {k}" for k in KINDS) + " |",
        "|---|" + "---|" * (2 + len(KINDS)),
    ]
    for name, each in rows.items():
        cells = " | ".join(f"{v:.3f}" for v in np.mean(each, axis=0))
        lines.append(f"| {name} | {cells} |")
    return "\n".join(lines)


if __name__ == "__main__":
    write(measure(), README)
