"""The figures of chapter 07. As in `figures`, each returns a figure with its alternative text."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fedlab_utils.course.plots import COLOURS, HATCHES, LINES, MARKERS, describe, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def seen_and_sent(sent: np.ndarray, seen: np.ndarray, bits: int = 32) -> "Figure":
    """Draw how often each value occurs among the numbers a client meant, and those it sent.

    `sent` and `seen` are [P] ring elements below 2^`bits`. Taught in chapter 07.
    """
    figure, panels = new_figure(width=8.0, height=2.8, columns=2)
    edges = np.linspace(0, 2.0**bits, 65)
    shares = []
    for i, (axes, values, name) in enumerate(
        zip(panels, (sent, seen), ("what the bank encoded", "what the server sees"), strict=True)
    ):
        counts, _ = np.histogram(np.asarray(values, dtype=float), edges)
        shares.append(counts / counts.sum())
        axes.stairs(shares[-1], edges / 2.0**bits, fill=True, color=COLOURS[i], hatch=HATCHES[i])
        axes.axhline(1 / 64, color="black", linestyle=":")
        axes.set(xlabel=f"Ring element, in parts of 2^{bits}", ylabel="Share", title=name)
    alt = (
        "Histograms of the numbers of one update over the ring, 64 bins. Encoded: the largest bin "
        f"holds {shares[0].max():.0%}. Masked: bins hold {shares[1].min():.1%} to "
        f"{shares[1].max():.1%}, uniform would be {1 / 64:.1%}."
    )
    return describe(figure, alt)


def cost(rows: Sequence[Mapping[str, float | int | str]]) -> "Figure":
    """Draw seconds, and bytes up per client, against clients and parameters.

    `rows` are those of `privacy.secure.bench.sweep`: clients, parameters, graph, seconds, kB up.
    The left panel has the largest vectors, the others the most clients. Taught in chapter 07.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    figure, panels = new_figure(width=9.0, height=3.2, columns=3)
    longest = max(int(r["parameters"]) for r in rows)
    most = max(int(r["clients"]) for r in rows)
    graphs = list(dict.fromkeys(str(r["graph"]) for r in rows))
    views = (
        ("clients", "seconds", "parameters", longest, "Seconds, all parties"),
        ("parameters", "seconds", "clients", most, "Seconds, all parties"),
        ("parameters", "kB up", "clients", most, "kB up per client"),
    )
    words = []
    for axes, (x, y, fixed, at, label) in zip(panels, views, strict=True):
        for i, graph in enumerate(graphs):
            line = sorted(
                (float(r[x]), float(r[y])) for r in rows if r["graph"] == graph and r[fixed] == at
            )
            if not line:
                continue
            axes.plot(
                *zip(*line, strict=True),
                label=graph,
                color=COLOURS[i],
                linestyle=LINES[i],
                marker=MARKERS[i],
            )
            words.append(
                f"{graph}, {at:,} {fixed}: {y} {line[0][1]:.2g} at {line[0][0]:,.0f} {x}, "
                f"{line[-1][1]:.2g} at {line[-1][0]:,.0f}"
            )
        axes.set_xscale("log")
        axes.set_yscale("log")
        # The sizes that were measured are the ticks: matplotlib writes too many in between.
        axes.set_xticks(ticks := sorted({int(r[x]) for r in rows}), [f"{t:,}" for t in ticks])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.set(xlabel=x.capitalize(), ylabel=label, title=f"{at:,} {fixed}")
    plain = sorted({float(r["parameters"]) for r in rows})
    panels[2].plot(plain, [4 * p / 1e3 for p in plain], color="black", linestyle=":", label="plain")
    panels[0].legend()
    panels[2].legend()
    return describe(figure, "Cost of a round. " + "; ".join(words) + ".")


def attacked(errors: Mapping[str, np.ndarray]) -> "Figure":
    """Draw an attack's relative error for each row, by what the attacker had.

    `errors` maps what it had to the errors of the true rows: 0 is the row itself, 1 the error of
    guessing the mean row. Taught in chapter 07.
    """
    figure, axes = new_figure(height=3.0)
    for i, values in enumerate(errors.values()):
        offsets = np.linspace(-0.25, 0.25, len(values)) if len(values) > 1 else [0.0]
        axes.scatter(i + np.asarray(offsets), values, color=COLOURS[i], marker=MARKERS[i], s=25)
    axes.axhline(1, color="black", linestyle=":", label="guess: the mean row")
    axes.set_xticks(range(len(errors)), list(errors))
    axes.set(xlabel="What the attacker has", ylabel="Error of each row (relative)")
    axes.set_ylim(-0.05, None)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1))  # above: inside it would hide rows
    words = "; ".join(
        f"{name}: median {np.median(v):.2g}, {np.mean(np.asarray(v) < 0.1):.0%} of {len(v)} rows "
        f"below 0.1"
        for name, v in errors.items()
    )
    return describe(figure, f"Relative error of recovered rows; 1 is a guess. {words}.")
