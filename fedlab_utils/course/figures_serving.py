"""The figures of chapter 14. Each comes with its alternative text, as in `figures`."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fedlab_utils.course.plots import COLOURS, HATCHES, describe, new_figure, png

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fedlab_utils.serving.budget import Alert
    from fedlab_utils.serving.drift import Verdict


def parties(banks: Sequence[str]) -> "Figure":
    """Draw who opens a connection to whom: each bank and the analyst to the SuperLink.

    Taught in chapter 14.
    """
    figure, axes = new_figure(width=7.6, height=3.4)
    axes.set(xlim=(0, 10), ylim=(0, len(banks) + 0.6))
    axes.axis("off")
    middle = (len(banks) + 0.6) / 2
    box = {"boxstyle": "round,pad=0.45", "facecolor": "white", "edgecolor": "black"}
    axes.text(
        5.1, middle, "SuperLink\nServerApp\none port, TLS", ha="center", va="center", bbox=box
    )
    axes.text(8.9, middle, "analyst\nflwr run", ha="center", va="center", bbox=box)
    arrow = {"arrowstyle": "-|>", "color": COLOURS[0], "lw": 1.6}
    axes.annotate("", (5.95, middle), (8.2, middle), arrowprops=arrow)
    for i, bank in enumerate(banks):
        y = len(banks) - i - 0.2
        text = f"{bank}: SuperNode, ClientApp, rows"
        axes.text(1.55, y, text, ha="center", va="center", fontsize=9, bbox=box)
        axes.annotate("", (4.25, middle + 0.2 * (y - middle)), (3.1, y), arrowprops=arrow)
    axes.text(5.1, 0.15, "arrow: opens the connection", ha="center", fontsize=9, color=COLOURS[0])
    return describe(
        figure,
        f"{len(banks)} banks, each with a SuperNode, a ClientApp and its rows, open a connection "
        "to one port of the SuperLink. The analyst does, too. Nobody opens a connection to a bank.",
    )


def stream(
    hours: np.ndarray,
    scores: np.ndarray,
    threshold: float,
    alerts: "Sequence[Alert]",
    verdicts: "Sequence[tuple[float, Verdict]]",
    *,
    until: float,
) -> "Figure":
    """Draw a scorer at work: scores [n] over hours [n], what was alerted, and the drift below.

    `alerts` carry the row's number as id; `verdicts` are (hour, verdict) pairs; the time axis ends
    at `until` hours. Taught in chapter 14.
    """
    figure, (top, bottom) = new_figure(width=8.6, height=4.8, rows=2)
    above = scores > threshold
    top.plot(hours[~above], scores[~above], ".", markersize=2, color=COLOURS[4], label="row")
    top.plot(hours[above], scores[above], ".", markersize=3, color=COLOURS[1], label="above")
    top.axhline(threshold, color="black", linestyle="--", linewidth=1, label="threshold")
    if alerts:
        sent = [alert.id for alert in alerts]
        top.plot(hours[sent], scores[sent], "X", markersize=7, color=COLOURS[3], label="alert sent")
    top.set(ylabel="Score", yscale="log", xlim=(0, until))
    top.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, fontsize=9)  # beside no point
    if verdicts:
        at = [hour for hour, _ in verdicts]
        size = [verdict.psi for _, verdict in verdicts]
        bottom.plot(at, size, "o-", color=COLOURS[0], label="PSI of a window")
        bad = [i for i, (_, verdict) in enumerate(verdicts) if verdict.drifted]
        marked = (np.array(at)[bad], np.array(size)[bad])
        bottom.plot(*marked, "s", markersize=9, color=COLOURS[3], label="not by chance")
        bottom.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, fontsize=9)
    bottom.set(xlabel="Hours since the start", ylabel="Drift (PSI)", xlim=(0, until))
    drifted = [f"{hour:.0f}" for hour, verdict in verdicts if verdict.drifted]
    alt = (
        f"{len(scores)} scores over {hours[-1]:.0f} hours, {int(above.sum())} above the threshold, "
        f"{len(alerts)} alerts sent. Below, the drift of {len(verdicts)} windows; "
        + (f"drift in the windows that end at hours {', '.join(drifted)}." if drifted else "none.")
    )
    return describe(figure, alt)


def shares(parts: Mapping[str, np.ndarray]) -> "Figure":
    """Draw what share of scores falls into each bin of the reference: name -> counts [B].

    Taught in chapter 14.
    """
    figure, axes = new_figure(width=8.0, height=3.2)
    width = 0.8 / len(parts)
    words = []
    for i, (name, counts) in enumerate(parts.items()):
        share = np.asarray(counts) / np.sum(counts)
        places = np.arange(1, len(share) + 1) + (i - (len(parts) - 1) / 2) * width
        axes.bar(
            places, share, width, color=COLOURS[i], hatch=HATCHES[i], edgecolor="white", label=name
        )
        words.append(f"{name}: {share.min():.0%} to {share.max():.0%}, top bin {share[-1]:.0%}")
    axes.set(xlabel="Bin of the score, between quantiles of all banks", ylabel="Share of rows")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(parts), fontsize=9)
    return describe(
        figure, f"Shares of rows in {len(share)} bins of the score. {'; '.join(words)}."
    )


class LivePlot:
    """One place in the notebook whose picture is replaced each time: `live.draw(figure)`."""

    def __init__(self) -> None:
        self._handle: Any = None

    def draw(self, figure: "Figure") -> None:
        """Show a figure, in place of the last one. Raises ValueError without an alt text."""
        from IPython.display import display

        alt = str(figure.get_label())
        if not alt:
            raise ValueError("the figure has no alternative text; make it with `describe`")
        data = {"image/png": png(figure), "text/plain": f"Figure: {alt}"}
        metadata = {"image/png": {"alt": alt}}
        if self._handle is None:
            self._handle = display(data, metadata=metadata, raw=True, display_id=True)
        else:
            self._handle.update(data, metadata=metadata, raw=True)
