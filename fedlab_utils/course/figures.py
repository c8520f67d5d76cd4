"""The figures of the chapters. Each function returns a figure with its alternative text attached:
show it with `fedlab_utils.course.show(figure)`."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fedlab_utils.course.plots import COLOURS, HATCHES, LINES, MARKERS, describe, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def scores(
    score: np.ndarray,
    anomaly: np.ndarray,
    threshold: float | None = None,
    *,
    xlabel: str = "Anomaly score",
) -> "Figure":
    """Draw histograms of the scores [n] of normal rows and anomalies (`anomaly` [n] bool).

    Positive scores get a logarithmic axis if they span more than two decades.
    Taught in chapter 00.
    """
    score, anomaly = np.asarray(score, dtype=float), np.asarray(anomaly, dtype=bool)
    figure, axes = new_figure()
    low, high = float(score.min()), float(score.max())
    logarithmic = low > 0 and high / low > 100
    edges = np.geomspace(low, high, 41) if logarithmic else np.linspace(low, high, 41)
    groups = (("normal", ~anomaly, "-"), ("anomaly", anomaly, "--"))
    for i, (label, rows, line) in enumerate(groups):
        share = np.full(int(rows.sum()), 1 / max(int(rows.sum()), 1))
        axes.hist(
            *(score[rows], edges),
            weights=share,
            histtype="stepfilled",
            alpha=0.45,
            color=COLOURS[i],
            edgecolor=COLOURS[i],
            linestyle=line,
            hatch=HATCHES[i],
            label=f"{label} ({int(rows.sum()):,})",
        )
    alt = f"Histograms of {xlabel.lower()}: median {np.median(score[~anomaly]):.3g} of normal rows"
    if anomaly.any():
        alt += f", {np.median(score[anomaly]):.3g} of anomalies"
    if threshold is not None:
        axes.axvline(threshold, color="black", linestyle=":", label=f"threshold {threshold:.3g}")
        above = [float((score[rows] > threshold).mean()) for _, rows, _ in groups if rows.any()]
        alt += f"; above the threshold {threshold:.3g} lie " + " and ".join(
            f"{share:.1%} of {label}"
            for share, label in zip(above, ("normal rows", "anomalies"), strict=False)
        )
    if logarithmic:
        axes.set_xscale("log")
    axes.set(xlabel=xlabel, ylabel="Share of rows")
    axes.legend()
    return describe(figure, alt + ".")


def curves(
    lines: Mapping[str, Sequence[float]],
    *,
    xlabel: str = "Round",
    ylabel: str = "Loss",
    first: int = 1,
) -> "Figure":
    """Draw one line per name, its values at `first`, `first` + 1, ...: learning curves.

    Taught in chapter 01.
    """
    figure, axes = new_figure()
    for i, (name, values) in enumerate(lines.items()):
        axes.plot(
            range(first, first + len(values)),
            list(values),
            label=name,
            color=COLOURS[i % len(COLOURS)],
            linestyle=LINES[i % len(LINES)],
            marker=MARKERS[i % len(MARKERS)],
            markevery=max(1, len(values) // 8),
        )
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend()
    ends = "; ".join(f"{k} from {v[0]:.3g} to {v[-1]:.3g}" for k, v in lines.items() if len(v))
    return describe(figure, f"{ylabel} by {xlabel.lower()}: {ends}.")


def bars(
    groups: Mapping[str, Mapping[str, float]],
    *,
    ylabel: str = "Average precision",
    xlabel: str = "Client",
    chance: float | None = None,
) -> "Figure":
    """Draw bars side by side: `groups` maps a method to its value for each client.

    `chance` draws the chance level (for average precision: the prevalence). Taught in chapter 02.
    """
    clients = list(dict.fromkeys(client for values in groups.values() for client in values))
    figure, axes = new_figure()
    width = 0.8 / max(len(groups), 1)
    for i, (method, values) in enumerate(groups.items()):
        axes.bar(
            np.arange(len(clients)) + (i - (len(groups) - 1) / 2) * width,
            [values.get(client, np.nan) for client in clients],
            width,
            label=method,
            color=COLOURS[i % len(COLOURS)],
            hatch=HATCHES[i % len(HATCHES)],
            edgecolor="white",
        )
    if chance is not None:
        axes.axhline(chance, color="black", linestyle=":", label=f"chance {chance:.3g}")
    axes.set_xticks(range(len(clients)), clients, rotation=30 if len(clients) > 5 else 0)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    # Above the axes: inside it would hide bars.
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3)
    means = "; ".join(
        f"{method} mean {np.mean(list(v.values())):.3f}, lowest {min(v.values()):.3f} "
        f"({min(v, key=lambda client: v[client])})"
        for method, v in groups.items()
    )
    return describe(figure, f"{ylabel} by {xlabel.lower()}: {means}.")


def heat_map(
    values: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    xlabel: str,
    ylabel: str,
    label: str,
) -> "Figure":
    """Draw a matrix [rows, columns] as colours with the numbers written in.

    Taught in chapter 02.
    """
    values = np.asarray(values, dtype=float)
    figure, axes = new_figure(height=max(2.4, 0.35 * len(rows) + 1.2))
    image = axes.imshow(values, aspect="auto", cmap="cividis")
    middle = (np.nanmin(values) + np.nanmax(values)) / 2
    if values.size <= 200:
        for (i, j), value in np.ndenumerate(values):
            colour = "white" if value < middle else "black"
            axes.text(j, i, f"{value:.2g}", ha="center", va="center", color=colour, fontsize=8)
    axes.set_xticks(range(len(columns)), columns, rotation=30 if len(columns) > 5 else 0)
    axes.set_yticks(range(len(rows)), rows)
    axes.grid(False)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    figure.colorbar(image, ax=axes, label=label)
    top = np.unravel_index(np.nanargmax(values), values.shape)
    low = np.unravel_index(np.nanargmin(values), values.shape)
    alt = (
        f"{label} by {ylabel.lower()} and {xlabel.lower()}: highest {values[top]:.3g} at "
        f"{rows[int(top[0])]}, {columns[int(top[1])]}; lowest {values[low]:.3g} at "
        f"{rows[int(low[0])]}, {columns[int(low[1])]}."
    )
    return describe(figure, alt)


def partition(
    counts: np.ndarray,
    clients: Sequence[str],
    groups: Sequence[str],
    *,
    xlabel: str = "Client",
    ylabel: str = "Cluster",
) -> "Figure":
    """Draw who holds what: a disc of area `counts` [clients, groups] for each pair.

    Taught in chapter 02.
    """
    counts = np.asarray(counts, dtype=float)
    figure, axes = new_figure(height=max(2.4, 0.3 * len(groups) + 1.4))
    x, y = np.meshgrid(np.arange(len(clients)), np.arange(len(groups)), indexing="ij")
    areas = 260 * counts.ravel() / max(float(counts.max()), 1.0)
    axes.scatter(x.ravel(), y.ravel(), s=areas, color=COLOURS[0], edgecolor="black")
    axes.set_xticks(range(len(clients)), clients, rotation=30 if len(clients) > 5 else 0)
    axes.set_yticks(range(len(groups)), groups)
    axes.margins(0.08, 0.15)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    sizes = counts.sum(axis=1)
    big, small = int(sizes.argmax()), int(sizes.argmin())
    seen = (counts > 0).sum(axis=1)
    alt = (
        f"Rows by {xlabel.lower()} and {ylabel.lower()}: {clients[big]} holds most "
        f"({sizes[big]:,.0f}), {clients[small]} least ({sizes[small]:,.0f}); a {xlabel.lower()} "
        f"holds rows of {int(seen.min())} to {int(seen.max())} of the {len(groups)} groups."
    )
    return describe(figure, alt)


def precision_recall(
    score: Mapping[str, np.ndarray], anomaly: np.ndarray | Mapping[str, np.ndarray]
) -> "Figure":
    """Draw precision against recall for the scores [n] of each method, and the chance level.

    `anomaly` [n] bool are the labels, of all methods or by method. Taught in chapter 01.
    """
    from sklearn.metrics import average_precision_score, precision_recall_curve

    figure, axes = new_figure()
    parts = []
    prevalence = 0.0
    for i, (name, values) in enumerate(score.items()):
        labels = np.asarray(anomaly[name] if isinstance(anomaly, Mapping) else anomaly, dtype=bool)
        prevalence = float(labels.mean())
        precision, recall, _ = precision_recall_curve(labels, values)
        parts.append(f"{name} {average_precision_score(labels, values):.3f}")
        axes.plot(
            *(recall, precision),
            drawstyle="steps-post",
            label=f"{name} (AP {parts[-1].rsplit(' ', 1)[1]})",
            color=COLOURS[i % len(COLOURS)],
            linestyle=LINES[i % len(LINES)],
        )
    axes.axhline(prevalence, color="black", linestyle=":", label=f"chance {prevalence:.3g}")
    axes.set(xlabel="Recall", ylabel="Precision", xlim=(0, 1.01), ylim=(0, 1.03))
    axes.legend()
    alt = (
        f"Precision-recall curves; average precision: {', '.join(parts)}; chance {prevalence:.3g}."
    )
    return describe(figure, alt)
