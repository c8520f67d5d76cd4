"""The figures of chapter 06. As in `figures`, each returns a figure with its alternative text."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fedlab_utils.course.plots import COLOURS, LINES, MARKERS, describe, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def two_bells(noise_multiplier: float, epsilons: Sequence[float]) -> "Figure":
    """Draw the output of a Gaussian sum without and with a member, and their log ratio.

    Left the two densities, in units of the sensitivity; right the logarithm of their ratio with the
    band from -epsilon to epsilon for each of `epsilons`. Taught in chapter 06.
    """
    from fedlab_utils.privacy.dp import gaussian_delta

    s = noise_multiplier
    x = np.linspace(-3.2 * s, 1 + 3.2 * s, 300)
    figure, (left, right) = new_figure(width=8.0, columns=2)
    for mean, name, i in ((0, "without the member", 0), (1, "with the member", 1)):
        density = np.exp(-((x - mean) ** 2) / (2 * s**2)) / (s * np.sqrt(2 * np.pi))
        left.plot(x, density, label=name, color=COLOURS[i], linestyle=LINES[i])
    left.set(xlabel="Output / sensitivity", ylabel="Density", ylim=(0, None))
    left.legend(loc="upper left", fontsize=9)
    left.set_ylim(0, 1.35 * left.get_ylim()[1])
    right.plot(x, (2 * x - 1) / (2 * s**2), color=COLOURS[0])
    for i, epsilon in enumerate(epsilons, start=1):
        for sign in (-1, 1):
            right.axhline(
                sign * epsilon,
                color=COLOURS[i],
                linestyle=LINES[i],
                label=f"epsilon = {epsilon:g}" if sign > 0 else None,
            )
    right.set(xlabel="Output / sensitivity", ylabel="Log of the densities' ratio")
    right.legend(fontsize=9)
    deltas = ", ".join(f"{gaussian_delta(s, e):.2g} at epsilon {e:g}" for e in epsilons)
    return describe(
        figure,
        f"Left: two bell curves of standard deviation {s:g}, one sensitivity apart. Right: the log "
        f"of their ratio is a straight line; delta, the part of the mass outside the band that "
        f"e^epsilon does not cover, is {deltas}.",
    )


def budgets(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    xlabel: str = "Steps",
    ylabel: str = "Epsilon",
) -> "Figure":
    """Draw epsilon against steps for several ways of counting, both axes logarithmic.

    `curves` maps a name to (steps, epsilons). Taught in chapter 06.
    """
    figure, axes = new_figure()
    for i, (name, (x, y)) in enumerate(curves.items()):
        axes.plot(
            x,
            y,
            label=name,
            color=COLOURS[i % len(COLOURS)],
            linestyle=LINES[i % len(LINES)],
            marker=MARKERS[i % len(MARKERS)],
        )
    axes.set(xlabel=xlabel, ylabel=ylabel, xscale="log", yscale="log")
    axes.legend()
    ends = "; ".join(f"{name} {y[-1]:.3g} at {x[-1]:g}" for name, (x, y) in curves.items())
    return describe(figure, f"{ylabel} against {xlabel.lower()}: {ends}.")


def _by_epsilon(axes, values: Mapping[float, Sequence[float]], label: str, i: int) -> str:  # type: ignore[no-untyped-def]
    """One line with a bar of one standard deviation at each epsilon; its description."""
    places = range(len(values))
    means = [float(np.mean(v)) for v in values.values()]
    spread = [float(np.std(v, ddof=1)) if len(v) > 1 else 0.0 for v in values.values()]
    axes.errorbar(
        places, means, yerr=spread, label=label, capsize=3,
        color=COLOURS[i], linestyle=LINES[i], marker=MARKERS[i],
    )  # fmt: skip
    return f"{label} " + ", ".join(
        f"{m:.3f} at {name_of(e)}" for e, m in zip(values, means, strict=True)
    )


def name_of(epsilon: float) -> str:
    """How an epsilon is written on an axis: infinity is "no noise"."""
    return "no noise" if np.isinf(epsilon) else f"{epsilon:g}"


def utility_and_attack(
    utility: Mapping[float, Sequence[float]],
    attack: Mapping[float, Sequence[float]],
    levels: Mapping[str, float],
    *,
    attack_level: float = 0.01,
    ylabel: str = "Average precision",
    attack_label: str = "Members found at 1% false alarms",
) -> "Figure":
    """Draw detection against epsilon (left) and the attack's success against epsilon (right).

    Args:
        utility, attack: epsilon (infinite: no noise) -> values of the seeds or targets.
        levels: horizontal lines of the left panel, such as the floor.
        attack_level: what guessing reaches in the right panel.

    Taught in chapter 06.
    """
    figure, (left, right) = new_figure(width=8.0, columns=2)
    said = [_by_epsilon(left, utility, "with DP-SGD", 0)]
    for i, (name, level) in enumerate(levels.items(), start=1):
        left.axhline(level, label=name, color=COLOURS[i], linestyle=LINES[i])
        said.append(f"{name} {level:.3f}")
    left.set(ylabel=ylabel, ylim=(0, None))
    left.set_ylim(0, 1.35 * left.get_ylim()[1])  # room for the legend
    left.legend(fontsize=9, loc="upper left")
    said.append("Attack: " + _by_epsilon(right, attack, "attack", 3))
    right.axhline(attack_level, label="guessing", color="black", linestyle=":")
    right.set(ylabel=attack_label, ylim=(0, 1))
    right.legend(fontsize=9)
    for axes, values in ((left, utility), (right, attack)):
        axes.set_xticks(range(len(values)), [name_of(e) for e in values])
        axes.set_xlabel("Epsilon (less privacy to the right)")
    return describe(figure, "; ".join(said) + ".")


def noise_on_the_sum(table: Mapping[str, Mapping[int, float]]) -> "Figure":
    """Draw the noise of the mean against the number of clients, for each way to add it.

    `table` maps a way to {clients: standard deviation}. Taught in chapter 06.
    """
    figure, axes = new_figure()
    for i, (name, values) in enumerate(table.items()):
        axes.plot(
            list(values),
            list(values.values()),
            label=name,
            color=COLOURS[i],
            linestyle=LINES[i],
            marker=MARKERS[i],
        )
    axes.set(xlabel="Clients", ylabel="Noise on the mean / clip norm", xscale="log", yscale="log")
    axes.legend()
    ends = "; ".join(f"{n} {list(v.values())[-1]:.3g} at {list(v)[-1]}" for n, v in table.items())
    return describe(figure, f"Standard deviation of the noise on the mean: {ends} clients.")
