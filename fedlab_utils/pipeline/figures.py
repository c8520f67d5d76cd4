"""The pictures of a report, each with its alternative text. Taught in chapter 16."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from fedlab_utils.course.plots import COLOURS, MARKERS, describe, new_figure, png
from fedlab_utils.detect.scores import reconstruction_error
from fedlab_utils.pipeline.running import FEDERATED, LOCAL, Outcome

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_CLIENTS = 25


def label(name: str, longest: int = 24) -> str:
    """A name from somebody's file as text for matplotlib: short, printable, not mathematics."""
    short = name if len(name) <= longest else name[: longest - 1] + "…"
    return "".join(c if c.isprintable() else "?" for c in short).replace("$", r"\$")


def picture(figure: Figure) -> bytes:
    """The figure as PNG; letters that the font does not have become boxes, without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return png(figure)


def ap_by_client(outcome: Outcome) -> Figure | None:
    """Draw AP at each client by detector, and chance; None without labels. Taught in chapter 16."""
    table = outcome.by_client()
    if table is None:
        return None
    table = table.dropna(subset=["prevalence"]).head(MOST_CLIENTS)
    chosen = [name for name in table.columns if name != "prevalence"]
    figure, axes = new_figure(width=8.0, height=1.4 + 0.32 * len(table))
    places = np.arange(len(table))
    for i, name in enumerate(chosen):
        marker, colour = MARKERS[i % len(MARKERS)], COLOURS[i % len(COLOURS)]
        filled = colour if name == FEDERATED else "none"
        axes.plot(table[name], places, marker, color=colour, markerfacecolor=filled, label=name)
    axes.plot(table["prevalence"], places, "|", color="black", markersize=12, label="chance")
    axes.set_yticks(places, [label(str(name)) for name in table.index])
    axes.set(xlabel="Average precision", ylabel="Client", xlim=(-0.02, 1.02))
    axes.set_ylim(len(table) - 0.5, -0.5)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=9)
    better = int((table[FEDERATED] > table[LOCAL]).sum())
    alt = (
        f"Average precision at {_shown(len(table), outcome)} clients. Federated: mean "
        f"{table[FEDERATED].mean():.3f}, lowest {table[FEDERATED].min():.3f}; local: mean "
        f"{table[LOCAL].mean():.3f}, lowest {table[LOCAL].min():.3f}. Federated is higher than "
        f"local at {better} of {len(table)}."
    )
    return describe(figure, alt)


def scores_and_threshold(outcome: Outcome) -> Figure:
    """Draw each client's test scores as a box, and the federated threshold.

    The box holds the middle half, its whiskers 1% to 99%. Taught in chapter 16.
    """
    members = [c for c in outcome.prepared.federation.everyone if len(c.x_test)][:MOST_CLIENTS]
    scores = [reconstruction_error(outcome.run.model, client.x_test) for client in members]
    figure, axes = new_figure(width=8.0, height=1.4 + 0.32 * len(members))
    tails = [np.quantile(s, [0.01, 0.25, 0.5, 0.75, 0.99]) for s in scores]
    for place, (low, left, middle, right, high) in enumerate(tails):
        axes.plot([low, high], [place, place], "-", color=COLOURS[0], linewidth=1)
        axes.barh(place, right - left, left=left, height=0.5, color=COLOURS[4])
        axes.plot([middle], [place], "|", color="black", markersize=10)
    axes.axvline(outcome.threshold, color=COLOURS[3], linestyle="--", label="federated threshold")
    axes.set_xscale("log")
    axes.set_yticks(range(len(members)), [label(client.name) for client in members])
    axes.set(xlabel="Score (reconstruction error)", ylabel="Client")
    axes.set_ylim(len(members) - 0.5, -0.5)
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), fontsize=9)
    shares = [float((s > outcome.threshold).mean()) for s in scores]
    alt = (
        f"Scores of the test rows at {_shown(len(members), outcome)} clients, and the threshold "
        f"{outcome.threshold:.3g}. Medians from {min(t[2] for t in tails):.3g} to "
        f"{max(t[2] for t in tails):.3g}; above the threshold are {min(shares):.1%} to "
        f"{max(shares):.1%} of a client's test rows."
    )
    return describe(figure, alt)


def _shown(drawn: int, outcome: Outcome) -> str:
    """ "7", or "the first 25 of 120"."""
    everyone = len(outcome.prepared.federation.everyone)
    return f"{drawn}" if drawn < MOST_CLIENTS else f"the first {drawn} of {everyone}"


def training_loss(outcome: Outcome) -> Figure:
    """Draw the training loss of the federated model by round. Taught in chapter 16."""
    loss = outcome.run.history.loss
    figure, axes = new_figure(width=6.0, height=2.6)
    axes.plot(range(1, len(loss) + 1), loss, marker="o", color=COLOURS[0])
    axes.set(xlabel="Round", ylabel="Training loss")
    alt = f"Training loss by round: {loss[0]:.3g} in the first, {loss[-1]:.3g} in the last."
    return describe(figure, alt)
