"""The figures of chapter 03. As in `figures`, each returns a figure with its alternative text."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from fedlab_utils.course.plots import COLOURS, LINES, MARKERS, describe, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def rounds_and_work(
    curves: Mapping[int, Sequence[float]], *, ylabel: str = "Loss on held-back rows"
) -> "Figure":
    """Draw the same curves against rounds (messages) and against passes over the data (work).

    `curves` maps local epochs a round to the values after round 1, 2, ... Taught in chapter 03.
    """
    figure, panels = new_figure(width=8.0, columns=2)
    for i, (epochs, values) in enumerate(curves.items()):
        rounds = np.arange(1, len(values) + 1)
        word = "epoch" if epochs == 1 else "epochs"
        for axes, x in zip(panels, (rounds, epochs * rounds), strict=True):
            axes.plot(
                x,
                list(values),
                label=f"{epochs} {word} a round",
                color=COLOURS[i % len(COLOURS)],
                linestyle=LINES[i % len(LINES)],
                marker=MARKERS[i % len(MARKERS)],
                markevery=max(1, len(values) // 8),
            )
    panels[0].set(xlabel="Rounds (messages)", ylabel=ylabel)
    panels[1].set(xlabel="Passes over the data (work)", ylabel=ylabel)
    for axes in panels:
        axes.xaxis.get_major_locator().set_params(integer=True)
    panels[0].legend()
    ends = "; ".join(
        f"with {epochs} local epochs {values[-1]:.3g} after {len(values)} rounds "
        f"({epochs * len(values)} passes)"
        for epochs, values in curves.items()
    )
    return describe(figure, f"{ylabel}, against rounds and against passes: {ends}.")


def update_matrix(
    updates: np.ndarray, clients: Sequence[str], parts: Mapping[str, int]
) -> "Figure":
    """Draw the absolute values of an update matrix [K, P] as colours, one row per client.

    `parts` maps the layers, in order, to their numbers of parameters. Colours end at the 99th
    percentile, or a few large entries would leave the rest dark. Taught in chapter 03.
    """
    values = np.abs(np.asarray(updates, dtype=float))
    figure, axes = new_figure(width=8.0, height=max(2.6, 0.25 * len(clients) + 1.2))
    top = float(np.quantile(values, 0.99))
    image = axes.imshow(
        values, aspect="auto", cmap="cividis", vmin=0, vmax=top, interpolation="nearest"
    )
    edges = np.concatenate([[0], np.cumsum(list(parts.values()))])
    for edge in edges[1:-1]:
        axes.axvline(edge - 0.5, color="white", linewidth=1)
    axes.set_xticks((edges[:-1] + edges[1:]) / 2 - 0.5, list(parts), fontsize=9)
    axes.set_yticks(range(len(clients)), clients)
    axes.grid(False)
    axes.set(xlabel="Parameters, by layer", ylabel="Client")
    figure.colorbar(image, ax=axes, label="Absolute change", extend="max")
    norms = np.linalg.norm(values, axis=1)
    most, least = int(norms.argmax()), int(norms.argmin())
    blocks = [values[:, a:b].mean() for a, b in pairwise(edges)]
    alt = (
        f"Absolute values of an update matrix with {values.shape[0]} rows (clients) and "
        f"{values.shape[1]} columns (parameters). The largest row norm is {norms[most]:.3g} "
        f"({clients[most]}), the smallest {norms[least]:.3g} ({clients[least]}); mean change by "
        f"layer: " + ", ".join(f"{n} {v:.2g}" for n, v in zip(parts, blocks, strict=True)) + "."
    )
    return describe(figure, alt)


def expected_and_given(
    given: np.ndarray, wanted: np.ndarray, *, xlabel: str, ylabel: str
) -> "Figure":
    """Draw two matrices of one shape beside each other: what an exercise expects, and the answer.

    Taught in chapter 03.
    """
    figure, panels = new_figure(width=8.0, height=2.6, columns=2)
    found, expected = np.asarray(given, dtype=float), np.asarray(wanted, dtype=float)
    top = float(np.nanmax(np.concatenate([found.ravel(), expected.ravel()])))
    for axes, values, name in zip(panels, (expected, found), ("expected", "given"), strict=True):
        axes.imshow(values, aspect="auto", cmap="cividis", vmin=0, vmax=top)
        for (i, j), value in np.ndenumerate(values):
            colour = "white" if value < top / 2 else "black"
            axes.text(j, i, f"{value:.2g}", ha="center", va="center", color=colour, fontsize=8)
        axes.set(xlabel=xlabel, ylabel=ylabel, title=name, xticks=[], yticks=[])
        axes.grid(False)
    right = int(np.isclose(found, expected).sum())
    return describe(figure, f"Expected and given values; {right} of {expected.size} agree.")
