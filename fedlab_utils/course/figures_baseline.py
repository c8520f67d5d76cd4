"""The figure of chapter 01. As in `figures`, it comes with its alternative text."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fedlab_utils.course.plots import COLOURS, MARKERS, describe, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST = 1500  # dots of one kind: more of them hide each other and make a large picture


def two_features(
    rows: np.ndarray, kind: np.ndarray, show: Sequence[str], *, xlabel: str, ylabel: str
) -> "Figure":
    """Draw rows [n, 2] as dots, one colour and marker for each kind in `show`.

    `kind` [n] names each row's kind. Of a kind with more than 1,500 rows every k-th is drawn; the
    correlations in the alternative text are those of all its rows. Taught in chapter 01.
    """
    rows, kind = np.asarray(rows, dtype=float), np.asarray(kind)
    figure, axes = new_figure()
    parts = []
    for i, name in enumerate(show):
        chosen = rows[kind == name]
        if len(chosen) < 2:
            raise ValueError(f"kind {name!r} has {len(chosen)} rows; a correlation needs two")
        drawn = chosen[:: -(-len(chosen) // _MOST)]
        axes.scatter(
            *drawn.T,
            s=8 if i == 0 else 30,
            marker="." if i == 0 else MARKERS[i],
            color=COLOURS[4] if i == 0 else COLOURS[3 * i % len(COLOURS)],
            edgecolor="none" if i == 0 else "black",
            linewidth=0.5,
            label=f"{name} ({len(drawn):,} of {len(chosen):,})",
        )
        parts.append(f"{np.corrcoef(chosen.T)[0, 1]:.2f} of {name} rows")
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.legend()
    alt = f"Rows by {xlabel} and {ylabel}. The correlation is {', '.join(parts)}."
    return describe(figure, alt)
