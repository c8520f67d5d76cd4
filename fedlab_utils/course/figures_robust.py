"""The figures of chapter 13. Each comes with its alternative text, as in `figures`."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fedlab_utils.course.plots import COLOURS, LINES, MARKERS, describe, new_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def pulled(rows: np.ndarray, attackers: np.ndarray, centres: Mapping[str, np.ndarray]) -> "Figure":
    """Draw rows [K, 2], `attackers` [K] bool among them, and the centre [2] that each rule finds.

    Taught in chapter 13.
    """
    rows, attackers = np.asarray(rows, dtype=float), np.asarray(attackers, dtype=bool)
    figure, axes = new_figure()
    size = {"linestyle": "none", "markersize": 6}
    axes.plot(*rows[~attackers].T, marker=".", color="#777777", label="honest", **size)
    axes.plot(*rows[attackers].T, marker="x", color="black", label="attackers", **size)
    words = []
    for i, (name, centre) in enumerate(centres.items()):
        axes.plot(
            *np.asarray(centre, dtype=float)[:, None],
            linestyle="none",
            marker=MARKERS[i % len(MARKERS)],
            markersize=10,
            markeredgecolor="black",
            color=COLOURS[i % len(COLOURS)],
            label=name,
        )
        words.append(f"{name} ({centre[0]:.1f}, {centre[1]:.1f})")
    axes.set(xlabel="First coordinate", ylabel="Second coordinate")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    middle = rows[~attackers].mean(axis=0)
    alt = (
        f"{int((~attackers).sum())} honest rows around ({middle[0]:.1f}, {middle[1]:.1f}), "
        f"{int(attackers.sum())} attackers far away; found: {'; '.join(words)}."
    )
    return describe(figure, alt)


def breakdown(moved: Mapping[str, Sequence[float]], *, unit: str) -> "Figure":
    """Draw how far each rule's result moves with 0, 1, 2, ... attackers, on a logarithmic axis.

    `unit` says in which unit the distances are; those below 0.01 are drawn there. Taught in
    chapter 13.
    """
    figure, axes = new_figure()
    words = []
    for i, (name, values) in enumerate(moved.items()):
        axes.plot(
            range(len(values)),
            np.maximum(values, 0.01),
            label=name,
            color=COLOURS[i % len(COLOURS)],
            linestyle=LINES[i % len(LINES)],
            marker=MARKERS[i % len(MARKERS)],
            markersize=5,
        )
        broken = [f for f, value in enumerate(values) if value > 100]
        words.append(f"{name} from {broken[0]}" if broken else f"{name} never")
    axes.set_yscale("log")
    axes.set(xlabel="Attackers", ylabel=f"Distance [{unit}]")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return describe(figure, f"Moves by more than 100 {unit}: {', '.join(words)} attackers on.")


def by_dial(
    panels: Mapping[str, Mapping[str, Mapping[float, float]]], *, xlabel: str, ylabel: str
) -> "Figure":
    """Draw one panel for each of `panels`: title -> method -> {setting of the dial: value}.

    Taught in chapter 13.
    """
    figure, row = new_figure(width=8.6, height=3.6, columns=len(panels))
    words = []
    for axes, (title, lines) in zip(np.atleast_1d(row), panels.items(), strict=True):
        for i, (name, values) in enumerate(lines.items()):
            axes.plot(
                *zip(*values.items(), strict=True),
                label=name,
                color=COLOURS[i % len(COLOURS)],
                linestyle=LINES[i % len(LINES)],
                marker=MARKERS[i % len(MARKERS)],
            )
            shown = list(values.values())
            words.append(f"{title}, {name}: {shown[0]:.3f} to {shown[-1]:.3f}")
        axes.set(xlabel=xlabel, ylabel=ylabel, title=title, ylim=(0, None))
    np.atleast_1d(row)[-1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return describe(figure, f"{ylabel} by {xlabel.lower()}. {'; '.join(words)}.")


def work(signs: Mapping[str, "pd.DataFrame"], riders: Iterable[str]) -> "Figure":
    """Draw two signs of work of every client, one panel for each kind of free rider.

    `signs`: title -> the table of a ContributionLog. Taught in chapter 13.
    """
    names = set(riders)
    figure, row = new_figure(width=8.6, height=3.4, columns=len(signs))
    words = []
    for axes, (title, table) in zip(np.atleast_1d(row), signs.items(), strict=True):
        riding = np.array([name in names for name in table.index])
        points = table[["cosine with last", "cosine with others"]].to_numpy()
        axes.plot(*points[~riding].T, "o", color=COLOURS[0], label="honest")
        axes.plot(*points[riding].T, "X", color=COLOURS[3], markersize=9, label="free rider")
        axes.set(xlabel="Cosine with last update", ylabel="Cosine with others", title=title)
        axes.set(xlim=(-0.15, 1.1), ylim=(-0.15, 1.1))
        x, y = points[riding].mean(axis=0)
        words.append(f"{title} at ({x:.2f}, {y:.2f})")
    np.atleast_1d(row)[0].legend(loc="lower right")
    both = ["cosine with last", "cosine with others"]
    honest = np.concatenate(
        [t.loc[[n not in names for n in t.index], both] for t in signs.values()]
    )
    low, high = honest.min(), honest.max()
    alt = (
        f"Cosine with the last update and with the other clients. Honest clients lie between "
        f"{low:.2f} and {high:.2f}; free riders: {', '.join(words)}."
    )
    return describe(figure, alt)
