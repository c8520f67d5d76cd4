"""The figures of chapter 11. Each comes with its alternative text, as in `figures`."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fedlab_utils.course.plots import COLOURS, LINES, MARKERS, describe, new_figure
from fedlab_utils.detect.ranges import anomaly_ranges

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def _shade(axes: Any, anomaly: np.ndarray, first: int = 0) -> None:
    for start, end in anomaly_ranges(anomaly):
        axes.axvspan(
            first + start - 0.5, first + end - 0.5, color="#bbbbbb", alpha=0.6, linewidth=0
        )


def channels(values: np.ndarray, kind: np.ndarray, names: Sequence[str]) -> "Figure":
    """Draw the channels of a series [n, c]; events, where `kind` [n] is not "normal", are shaded.

    Taught in chapter 11.
    """
    figure, axes = new_figure(width=8.6, height=3.4)
    for i, name in enumerate(names):
        axes.plot(values[:, i], label=name, color=COLOURS[i], linestyle=LINES[i], linewidth=1.3)
    anomaly = kind != "normal"
    _shade(axes, anomaly)
    above = axes.get_xaxis_transform()  # x in samples, y in heights of the axes
    events = []
    for start, end in anomaly_ranges(anomaly):
        axes.text(
            (start + end - 1) / 2, 1.01, kind[start], transform=above, ha="center", fontsize=9
        )
        events.append(f"{kind[start]} at {start} to {end - 1}")
    axes.set(xlabel="Sample", ylabel="Value")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.08), ncols=len(names))
    words = ", ".join(events) or "none"
    return describe(figure, f"{len(values)} samples of {', '.join(names)}; events: {words}.")


def adjustment(lengths: Sequence[int], values: Mapping[str, Sequence[float]]) -> "Figure":
    """Draw what a random score gets by each measure, against the length of the anomalies.

    Taught in chapter 11.
    """
    figure, axes = new_figure()
    for i, (name, line) in enumerate(values.items()):
        axes.plot(
            lengths, list(line), label=name, color=COLOURS[i], linestyle=LINES[i], marker=MARKERS[i]
        )
    axes.set_xscale("log")
    axes.set(xlabel="Length of each anomaly (points)", ylabel="Random score", ylim=(0, 1.03))
    axes.legend()
    ends = "; ".join(f"{k} from {v[0]:.2f} to {v[-1]:.2f}" for k, v in values.items())
    alt = (
        f"What a random score gets with anomalies of {lengths[0]} to {lengths[-1]} points: {ends}."
    )
    return describe(figure, alt)


def series_scores(
    values: np.ndarray, anomaly: np.ndarray, score: Mapping[str, np.ndarray], around: slice
) -> "Figure":
    """Draw a stretch of a series [n] and, below it, the scores [n] of each method.

    Scores are divided by their largest value in the whole series. Taught in chapter 11.
    """
    rows = 1 + len(score)
    figure, panels = new_figure(width=8.6, height=1.0 + 0.95 * rows, rows=rows)
    at = np.arange(len(values))[around]
    words = []
    for i, (name, line) in enumerate({"series": values, **score}.items()):
        shown = line if i == 0 else line / line.max()
        axes = panels[i]
        axes.plot(at, shown[around], color=COLOURS[i % len(COLOURS)], linewidth=1.2, linestyle="-")
        _shade(axes, anomaly[around], int(at[0]))
        axes.set_ylabel(name, rotation=0, ha="right", va="center")
        axes.set_yticks([])
        axes.set_xlabel("Point" if i == rows - 1 else " ")
        axes.tick_params(labelbottom=i == rows - 1)
        if i:
            place = int(line.argmax())
            words.append(f"{name} at point {place} ({'inside' if anomaly[place] else 'outside'})")
    alt = (
        f"Points {at[0]} to {at[-1]} of a series with its anomaly shaded, and the scores below. "
        f"Highest score of the whole series: {', '.join(words)} the anomaly."
    )
    return describe(figure, alt)


def pictures(rows: Mapping[str, np.ndarray]) -> "Figure":
    """Draw rows of small grey images [m, h, w], dark is more; each row has its name and scale.

    Taught in chapter 11.
    """
    count = max(len(images) for images in rows.values())
    figure, panels = new_figure(width=0.85 * count + 1.6, height=0.9 * len(rows) + 0.3,
                                rows=len(rows), columns=count)  # fmt: skip
    for line, (name, images) in zip(panels, rows.items(), strict=True):
        for i, axes in enumerate(line):
            axes.set_axis_off()
            if i < len(images):
                axes.imshow(images[i], cmap="Greys", vmin=images.min(), vmax=images.max())
        line[0].text(-0.15, 0.5, name, transform=line[0].transAxes, ha="right", va="center")
    return describe(figure, f"Small images, {count} in a row; rows: {', '.join(rows)}.")
