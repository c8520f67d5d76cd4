"""The figures of chapter 10. Each comes with its alternative text, as in `figures`."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fedlab_utils.course.plots import COLOURS, describe, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Cuts = Sequence[tuple[int, float]]  # (feature 0 or 1, value), in the order in which they were made


def isolation(
    rows: np.ndarray,
    chosen: Mapping[str, tuple[np.ndarray, Cuts]],
    *,
    xlabel: str,
    ylabel: str,
) -> "Figure":
    """Draw how random cuts isolate a row: one panel for each of `chosen`, name -> (row, cuts).

    `rows` [n, 2] are the sample. A cut is drawn across the box that the cuts before it have left.
    Taught in chapter 10.
    """
    rows = np.asarray(rows, dtype=float)
    figure, panels = new_figure(width=8.6, height=3.8, columns=len(chosen))
    for axes, (name, (row, cuts)) in zip(np.atleast_1d(panels), chosen.items(), strict=True):
        margin = 0.05 * np.ptp(rows, axis=0)
        low, high = rows.min(axis=0) - margin, rows.max(axis=0) + margin
        axes.plot(*rows.T, linestyle="none", marker=".", markersize=4, color=COLOURS[4])
        for i, (feature, value) in enumerate(cuts):
            other = 1 - feature
            line = np.empty((2, 2))
            line[feature], line[other] = value, (low[other], high[other])
            # Later cuts are thinner: the first ones shape the box.
            axes.plot(*line, color="black", linestyle="-", linewidth=max(0.6, 1.8 - 0.2 * i))
            (high if row[feature] <= value else low)[feature] = value
        axes.plot(*row, linestyle="none", marker="X", markersize=11, color=COLOURS[3])
        axes.set(xlabel=xlabel, ylabel=ylabel, title=f"{name}: {len(cuts)} cuts")
    words = ", ".join(f"{name} after {len(cuts)}" for name, (_, cuts) in chosen.items())
    return describe(figure, f"{len(rows)} rows by {xlabel} and {ylabel}; random cuts: {words}.")


def score_maps(
    detectors: Mapping[str, Any], rows: np.ndarray, *, xlabel: str, ylabel: str
) -> "Figure":
    """Draw what each detector thinks of every place in the plane around rows [n, 2].

    The darker a place, the larger the share of `rows` that score lower than it; the line bounds the
    places that score higher than all but 5% of the rows. Taught in chapter 10.
    """
    rows = np.asarray(rows, dtype=np.float32)
    low, high = rows.min(axis=0), rows.max(axis=0)
    margin = 0.35 * (high - low)
    sides = [np.linspace(a, b, 120) for a, b in zip(low - margin, high + margin, strict=True)]
    grid = np.stack(np.meshgrid(*sides), axis=-1).reshape(-1, 2).astype(np.float32)
    figure, panels = new_figure(width=8.6, height=3.8, columns=len(detectors))
    words = []
    for axes, (name, detector) in zip(np.atleast_1d(panels), detectors.items(), strict=True):
        known = np.sort(detector.score(rows))
        rank = np.searchsorted(known, detector.score(grid)) / len(known)
        shape = (len(sides[1]), len(sides[0]))
        levels = np.linspace(0, 1, 6)
        axes.contourf(*sides, rank.reshape(shape), levels=levels, cmap="Greys", alpha=0.8)
        axes.contour(*sides, rank.reshape(shape), levels=[0.95], colors=COLOURS[3], linewidths=1.5)
        axes.plot(*rows.T, linestyle="none", marker=".", markersize=3, color=COLOURS[0])
        axes.set(xlabel=xlabel, ylabel=ylabel, title=name)
        axes.grid(False)
        words.append(f"{name} {(rank >= 0.95).mean():.0%}")
    alt = (
        f"Maps of scores by {xlabel} and {ylabel}. Share of the drawn area that scores higher than "
        f"95% of the rows: {', '.join(words)}."
    )
    return describe(figure, alt)
