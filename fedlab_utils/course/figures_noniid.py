"""The figures of chapter 09. As in `figures`, each returns a figure with its alternative text."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fedlab_utils.course.plots import COLOURS, LINES, MARKERS, describe, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def drift(
    epochs: Sequence[int],
    angles: Mapping[str, Sequence[float]],
    kept: Mapping[str, Sequence[float]],
) -> "Figure":
    """Draw how clients part as they take more local epochs, one line per way to divide the rows.

    `angles` are mean degrees between a client's update and the others' mean (left), `kept` what is
    left of the updates' length in their mean (right). Taught in chapter 09.
    """
    figure, panels = new_figure(width=8.2, height=3.8, columns=2)
    labels = ("Angle to the others' mean (degrees)", "Length kept by the mean")
    for axes, lines, label in zip(panels, (angles, kept), labels, strict=True):
        for i, (name, values) in enumerate(lines.items()):
            look = {"color": COLOURS[i], "linestyle": LINES[i], "marker": MARKERS[i]}
            axes.plot(epochs, list(values), label=name, **look)
        axes.set_xscale("log", base=2)
        axes.set_xticks(list(epochs), [str(e) for e in epochs])
        axes.set(xlabel="Local epochs", ylabel=label)
    panels[0].axhline(90, color="black", linewidth=1, linestyle=":")
    panels[1].set_ylim(0, 1)
    figure.legend(
        *panels[0].get_legend_handles_labels(),
        loc="outside upper center",
        ncols=len(angles),
        frameon=False,
    )
    parts = [
        f"{name}: angle from {a[0]:.0f} to {a[-1]:.0f} degrees, kept from {kept[name][0]:.2f} to "
        f"{kept[name][-1]:.2f}"
        for name, a in angles.items()
    ]
    alt = f"Drift from {epochs[0]} to {epochs[-1]} local epochs. {'; '.join(parts)}."
    return describe(figure, alt)


def verdict(
    values: Mapping[str, Mapping[str, Sequence[float]]],
    base: str,
    goals: Sequence[str],
    *,
    xlabel: str = "AP, mean client",
) -> "Figure":
    """Draw each method's values over the seeds, one panel per setting, the mean as a bar.

    `values` maps a setting to {method: one value per seed}. Vertical lines stand at the means of
    `base` (dotted) and of the best of `goals` (solid). Taught in chapter 09.
    """
    columns = 2
    rows = -(-len(values) // columns)
    methods = list(next(iter(values.values())))
    height = rows * (0.22 * len(methods) + 0.9)
    figure, grid = new_figure(width=8.6, height=height, rows=rows, columns=columns)
    panels = np.ravel(grid)
    words = []
    for axes, (setting, found) in zip(panels, values.items(), strict=False):
        means = {m: float(np.mean(v)) for m, v in found.items()}
        goal = max(goals, key=lambda m: means[m])
        for i, (method, seeds) in enumerate(found.items()):
            kind = 0 if method == base else 1 if method in goals else 2
            look = {"color": COLOURS[kind], "marker": MARKERS[kind], "linestyle": "none"}
            axes.plot(list(seeds), np.full(len(seeds), i), **look, markersize=4, alpha=0.55)
            axes.vlines(means[method], i - 0.35, i + 0.35, color=COLOURS[kind], linewidth=3)
        axes.axvline(means[base], color=COLOURS[0], linestyle=":")
        axes.axvline(means[goal], color=COLOURS[1], linestyle="-", linewidth=1)
        axes.set_yticks(range(len(found)), list(found), fontsize=8)
        axes.invert_yaxis()
        axes.set(xlabel=xlabel, ylabel="Method", title=setting)
        best = max(means, key=lambda m: means[m])
        words.append(
            f"{setting}: {base} {means[base]:.3f}, {goal} {means[goal]:.3f}, best {best} "
            f"{means[best]:.3f}"
        )
    for axes in panels[len(values) :]:
        axes.set_axis_off()
    return describe(figure, f"{xlabel} by method and setting; {'; '.join(words)}.")
