"""Small CSV files for the tests of the pipeline."""

from pathlib import Path

import numpy as np

from fedlab_utils.pipeline import ColumnMapping

MAPPING = ColumnMapping(client="bank", label="fraud", categorical=("kind",))


def lines_of(
    clients: int = 3, rows: int = 60, seed: int = 0, label: bool = True, time: bool = False
) -> list[list[str]]:
    """Header and rows: two numbers that depend on each other, a category, some anomalies."""
    rng = np.random.default_rng(seed)
    header = ["bank", "amount", "hours", "kind"] + ["fraud"] * label + ["when"] * time
    out = [header]
    for i in range(clients * rows):
        odd = label and i % 10 == 0
        a = rng.normal()
        b = a + 0.1 * rng.normal() if not odd else -a + 2 * rng.normal()
        row = [
            f"bank {i % clients}",
            f"{10 + 3 * a:.4f}",
            f"{b:.4f}",
            "ab"[int(rng.random() < 0.3)],
        ]
        out.append(row + ["1" if odd else "0"] * label + [f"2026-01-{1 + i % 28:02d}"] * time)
    return out


def write(path: Path, rows: list[list[str]], separator: str = ",") -> Path:
    """Write rows as they are, without quotes."""
    path.write_text("\n".join(separator.join(row) for row in rows) + "\n", encoding="utf-8")
    return path
