"""Exercises of chapter 15: Everything at once."""

from itertools import combinations
from math import ceil, sqrt
from typing import Any

import numpy as np

from fedlab_utils.course import expect
from fedlab_utils.course.checks import exercise


def members_needed(
    noise_multiplier: float, clip: float, parameters: int, signal: float, share: float
) -> int:
    """Return the smallest number of members with noise of at most `share` of the signal."""
    noise = noise_multiplier * clip * sqrt(parameters)
    return ceil(noise / (share * signal) - 1e-9)


@exercise(
    "15.1",
    "How many members client-level privacy needs",
    solution=members_needed,
    wrong=(
        lambda z, clip, p, signal, share: ceil(z * clip / (share * signal) - 1e-9),
        lambda z, clip, p, signal, share: ceil(z * clip * p / (share * signal) - 1e-9),
        lambda z, clip, p, signal, share: ceil((z * clip * sqrt(p) / (share * signal)) ** 2 - 1e-9),
        lambda z, clip, p, signal, share: int(z * clip * sqrt(p) / (share * signal)),
        lambda z, clip, p, signal, share: z * clip * sqrt(p) / (share * signal),
    ),
    hints=(
        "How long is a vector of 100 numbers with deviation 1? And what does dividing by the "
        "number of members do to it?",
        "noise_multiplier * clip * sqrt(parameters) / members <= share * signal. Solve for "
        "members, and round up.",
    ),
)
def check_members_needed(answer: Any) -> None:
    expect.close(answer(1.0, 1.0, 100, 1.0, 1.0), 10, "100 parameters, noise as long as the signal")
    expect.close(answer(1.0, 1.0, 100, 1.0, 0.1), 100, "noise a tenth as long as the signal")
    expect.close(answer(1.3, 5.0, 2975, 4.0, 0.1), 887, "about the banks of section 15.2")
    expect.close(answer(0.5, 2.0, 50, 10.0, 0.5), 2, "a number that must be rounded up")


def alert_budget(rows_a_day: Any, alerts_a_day: float) -> tuple[float, int]:
    """Return the alarm rate and the smallest number of calibration rows that can keep it."""
    rate = alerts_a_day / float(np.sum(rows_a_day))
    return rate, ceil(1 / rate - 1 - 1e-9)


@exercise(
    "15.2",
    "From people to thresholds",
    solution=alert_budget,
    wrong=(
        lambda rows, alerts: (alerts / np.mean(rows), ceil(np.mean(rows) / alerts - 1 - 1e-9)),
        lambda rows, alerts: (alerts / np.sum(rows), ceil(np.sum(rows) / alerts - 1e-9)),
        lambda rows, alerts: (alerts / np.sum(rows), int(np.sum(rows) / alerts - 1 - 1e-9)),
        lambda rows, alerts: (np.sum(rows) / alerts, ceil(np.sum(rows) / alerts - 1 - 1e-9)),
        lambda rows, alerts: (1 - alerts / np.sum(rows), ceil(np.sum(rows) / alerts - 1 - 1e-9)),
    ),
    hints=(
        "The budget is for all members together, and so are the rows.",
        "rate = alerts / all rows. From 1/(n+1) <= rate follows n >= 1/rate - 1; round up.",
    ),
)
def check_alert_budget(answer: Any) -> None:
    given = answer(np.array([900, 100]), 10)
    expect.that(np.size(given) == 2, "Return two numbers: the alarm rate and the rows.")
    expect.close(given, (0.01, 99), "1,000 rows and 10 alerts a day: (rate, rows)")
    expect.close(
        answer(np.array([5000]), 1), (0.0002, 4999), "5,000 rows and 1 alert: (rate, rows)"
    )
    expect.close(
        answer(np.array([10, 20, 30]), 7), (7 / 60, 8), "60 rows and 7 alerts: (rate, rows)"
    )


_ORDER = ("noise", "bound", "common codec", "own codec", "masks", "median")
_CLASH = ({"masks", "own codec"}, {"masks", "median"}, {"own codec", "common codec"})


def order_steps(wanted: Any) -> list[str]:
    """Return the steps in the order of an update; raise ValueError for what does not compose."""
    for clash in _CLASH:
        if clash <= set(wanted):
            raise ValueError(f"{' and '.join(sorted(clash))} do not go together")
    return [step for step in _ORDER if step in wanted]


def _ordered(wanted: Any, order: tuple[str, ...], clashes: Any) -> list[str]:
    for clash in clashes:
        if clash <= set(wanted):
            raise ValueError
    return [step for step in order if step in wanted]


_LATE_NOISE = ("bound", "common codec", "own codec", "noise", "masks", "median")
_MASKS_FIRST = ("noise", "bound", "masks", "common codec", "own codec", "median")


@exercise(
    "15.3",
    "What composes, in order",
    solution=order_steps,
    wrong=(
        lambda wanted: _ordered(wanted, _ORDER, ()),
        lambda wanted: _ordered(wanted, _ORDER, _CLASH[:1]),
        lambda wanted: _ordered(wanted, _LATE_NOISE, _CLASH),
        lambda wanted: _ordered(wanted, _MASKS_FIRST, _CLASH),
        lambda wanted: _ordered(wanted, _ORDER, (*_CLASH, {"masks", "bound"})),
        lambda wanted: sorted(wanted),
    ),
    hints=(
        "Three pairs clash: two with masks, and two codecs. Look at the table of section 15.12.",
        "Noise is in the training, so it comes first; masks are the last thing that a bank does; "
        "a median is the server's.",
    ),
)
def check_order_steps(answer: Any) -> None:
    steps = list(_ORDER)
    for size in range(len(steps) + 1):
        for chosen in combinations(steps, size):
            wanted = set(chosen)
            listed = ", ".join(sorted(wanted)) or "nothing"
            try:
                given = answer(set(wanted))
            except ValueError:
                clash = any(pair <= wanted for pair in _CLASH)
                expect.that(clash, f"These do compose, but you raise ValueError: {listed}.")
                continue
            clash = any(pair <= wanted for pair in _CLASH)
            expect.that(not clash, f"These do not compose, so raise ValueError: {listed}.")
            right = isinstance(given, list) and given == order_steps(wanted)
            expect.that(right, f"The order is not right (or not a list) for: {listed}.")
