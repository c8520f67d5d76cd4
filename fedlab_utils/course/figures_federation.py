"""The figure of chapter 02 and of the README. It returns a figure with its alternative text."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fedlab_utils.course.plots import COLOURS, MARKERS, describe, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def ways_compared(
    by_client: Mapping[str, Mapping[str, float]],
    by_seed: Mapping[str, Mapping[str, Sequence[float]]],
    *,
    floor: tuple[str, float],
    ylabel: str = "Average precision",
) -> "Figure":
    """Draw each way of training (local, federated, central): per client, and over the seeds.

    `by_client` maps a way to its value for each client of one seed (left), `by_seed` to its
    values, one per seed, for each summary such as "mean bank" (right: a dot per seed, a bar at
    the mean). `floor` is the name and value of a dotted line. Taught in chapter 02.
    """
    figure, (left, right) = new_figure(width=8.6, height=3.8, columns=2)
    left.get_gridspec().set_width_ratios([1.5, 1])
    clients = list(next(iter(by_client.values())))
    summaries = list(next(iter(by_seed.values())))
    drawn = [v for values in by_client.values() for v in values.values()]
    drawn += [v for groups in by_seed.values() for seeds in groups.values() for v in seeds]
    top = max(drawn)
    middle = (len(by_client) - 1) / 2
    for i, (way, values) in enumerate(by_client.items()):
        at = np.arange(len(clients)) + 0.22 * (i - middle)
        look = {"color": COLOURS[i], "marker": MARKERS[i], "linestyle": "none"}
        left.plot(at, [values[c] for c in clients], **look, label=way, markersize=7)
        for j, summary in enumerate(summaries):
            seeds = np.asarray(by_seed[way][summary], dtype=float)
            x = j + 0.26 * (i - middle)
            right.plot(np.full(len(seeds), x), seeds, **look, markersize=4, alpha=0.6)
            right.hlines(seeds.mean(), x - 0.11, x + 0.11, color=COLOURS[i], linewidth=3)
    for axes in (left, right):
        axes.axhline(floor[1], color="black", linestyle=":", label=f"{floor[0]} {floor[1]:.2f}")
        axes.grid(False, axis="x")
        axes.set_ylim(0, 1.05 * top)
    _stripes(left, len(clients))
    left.set_xticks(range(len(clients)), clients, rotation=40, fontsize=9)
    right.set_xticks(range(len(summaries)), summaries, fontsize=9)
    left.set(xlabel="Client, by number of rows", ylabel=ylabel, title="One seed, each client")
    number = len(next(iter(by_seed[way].values())))
    right.set(xlabel="All clients in one number", title=f"{number} seeds, mean as a bar")
    handles, names = left.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=len(names), frameon=False)
    return describe(figure, _words(by_client, by_seed, floor, ylabel))


def _stripes(axes: "Axes", number: int) -> None:
    """Shade every other client, so that the eye keeps its markers together."""
    for k in range(0, number, 2):
        axes.axvspan(k - 0.5, k + 0.5, color="#f2f2f2", zorder=0)
    axes.set_xlim(-0.5, number - 0.5)


def _words(
    by_client: Mapping[str, Mapping[str, float]],
    by_seed: Mapping[str, Mapping[str, Sequence[float]]],
    floor: tuple[str, float],
    ylabel: str,
) -> str:
    lowest = "; ".join(
        f"{way} from {min(v.values()):.2f} to {max(v.values()):.2f}" for way, v in by_client.items()
    )
    means = "; ".join(
        f"{way} " + ", ".join(f"{summary} {np.mean(s):.2f}" for summary, s in groups.items())
        for way, groups in by_seed.items()
    )
    return (
        f"{ylabel} of one seed over the clients: {lowest}. Mean of the seeds: {means}. "
        f"The floor, {floor[0]}, is at {floor[1]:.2f}."
    )
