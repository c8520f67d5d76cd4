"""The figures of chapter 12. As in `figures`, each returns a figure with its alternative text."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fedlab_utils.course.plots import COLOURS, LINES, MARKERS, describe, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def bytes_to_reach(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    goal: float,
    *,
    ylabel: str = "AP, pooled",
) -> "Figure":
    """Draw how good a model is after so many megabytes: name -> (megabytes, values).

    A horizontal line stands at `goal`; where a curve first reaches it, it has a large mark.
    Taught in chapter 12.
    """
    figure, axes = new_figure(width=8.2, height=4.2)
    parts = []
    for i, (name, (megabytes, values)) in enumerate(curves.items()):
        colour, mark = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
        look = {"color": colour, "linestyle": LINES[i % len(LINES)], "marker": mark}
        axes.plot(list(megabytes), list(values), label=name, markersize=4, **look)
        reached = np.flatnonzero(np.asarray(values) >= goal)
        if len(reached):
            at = megabytes[reached[0]]
            axes.plot(
                [at], [values[reached[0]]], marker=mark, markersize=11, color=colour, mec="black"
            )
            parts.append(f"{name} after {at:.3g} MB")
        else:
            parts.append(f"{name} never, it ends at {values[-1]:.3f}")
    axes.axhline(goal, color="black", linewidth=1, linestyle=":")
    _ticks(axes, (0.1, 0.2, 0.5, 1, 2, 5, 10))
    axes.set(xlabel="Megabytes, up and down, all clients together", ylabel=ylabel)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2)
    return describe(
        figure, f"{ylabel} against megabytes sent. Reached {goal:.3f}: {'; '.join(parts)}."
    )


def error_by_bytes(points: Mapping[str, Mapping[str, tuple[float, float]]]) -> "Figure":
    """Draw codecs by their bytes and their squared error: family -> {name: (bytes, error)}.

    Taught in chapter 12.
    """
    figure, axes = new_figure(width=8.2, height=4.6)
    parts = []
    for i, (family, codecs) in enumerate(points.items()):
        colour, mark = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
        sizes, errors = zip(*codecs.values(), strict=True)
        axes.plot(sizes, errors, linestyle=":", marker=mark, color=colour, label=family)
        for name, (size, error) in codecs.items():
            axes.annotate(
                name, (size, error), xytext=(5, 4), textcoords="offset points", fontsize=8
            )
            parts.append(f"{family} {name} {size:,.0f} bytes {error:.2g}")
    axes.axhline(1, color="black", linewidth=1)
    _ticks(axes, (200, 400, 800, 1600, 3200, 6400))
    axes.set_yscale("log")
    axes.set(xlabel="Bytes of a message", ylabel="Squared error / squared length")
    axes.legend(loc="lower left")
    alt = "Squared error of decoded updates, relative to their squared length, against bytes: "
    return describe(figure, alt + "; ".join(parts) + ". A line stands at 1, the error of zeros.")


def _ticks(axes: "Axes", places: Sequence[float]) -> None:
    """A logarithmic x-axis with these ticks and no others, written as plain numbers."""
    axes.set_xscale("log")
    axes.set_xticks(list(places), [f"{place:g}" for place in places])
    axes.minorticks_off()


def before_and_after(before: np.ndarray, after: np.ndarray, *, xlabel: str) -> "Figure":
    """Draw the numbers of an update [P] before and after a rotation, in units of their deviation.

    Taught in chapter 12.
    """
    figure, panels = new_figure(width=8.2, height=3.4, columns=2)
    words = []
    for axes, values, title in zip(panels, (before, after), ("before", "after"), strict=True):
        units = np.asarray(values, dtype=float) / np.sqrt(np.mean(np.square(values)))
        edges = np.linspace(-8, 8, 65)
        axes.hist(np.clip(units, -8, 8), edges, color=COLOURS[0], density=True)
        middle = (edges[1:] + edges[:-1]) / 2
        normal = np.exp(-(middle**2) / 2) / np.sqrt(2 * np.pi)
        axes.plot(middle, normal, color=COLOURS[1], linestyle="--", label="normal")
        axes.set_yscale("log")
        axes.set(xlabel=xlabel, ylabel="Density", title=title, ylim=(1e-4, 3))
        axes.legend()
        words.append(f"{title} the rotation the largest is {np.abs(units).max():.1f} deviations")
    return describe(figure, f"Histograms of the numbers of an update: {', '.join(words)}.")
