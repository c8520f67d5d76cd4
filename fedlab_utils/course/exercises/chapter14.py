"""Exercises of chapter 14: From the notebook to the network."""

from typing import Any

import numpy as np

from fedlab_utils.course import expect
from fedlab_utils.course.checks import exercise
from fedlab_utils.detect.threshold import local_threshold


def ask_again(asked: dict, online: dict, answered: set) -> list:
    """Return the banks, sorted, whose question has to be put again."""
    return sorted(b for b in asked if b not in answered and b in online and online[b] != asked[b])


@exercise(
    "14.1",
    "Whom to ask again",
    solution=ask_again,
    wrong=(
        lambda asked, online, answered: sorted(b for b in asked if b not in answered),
        lambda asked, online, answered: sorted(
            b for b in asked if b in online and online[b] != asked[b]
        ),
        lambda asked, online, answered: sorted(
            b for b in asked if b not in answered and b not in online
        ),
        lambda asked, online, answered: sorted(
            b for b in asked if b not in answered and online.get(b) != asked[b]
        ),
        lambda asked, online, answered: sorted(
            b for b in online if b not in answered and online[b] != asked.get(b)
        ),
    ),
    hints=(
        "Three things must hold for a bank: no answer yet, a SuperNode online, and not the same "
        "one that got the question.",
        "Only banks in `asked` are meant. A bank that is offline cannot be asked, so it has to "
        "wait until it is in `online`.",
    ),
)
def check_ask_again(answer: Any) -> None:
    asked = {"a": "09:00", "b": "09:00", "c": "09:00", "d": "09:00"}

    def given(online: dict, answered: set) -> list:
        found = answer(dict(asked), dict(online), set(answered))
        expect.that(
            isinstance(found, list | tuple | set), "Return a list of names of banks, sorted."
        )
        return list(found)

    expect.that(given(asked, set()) == [], "All SuperNodes are the same: nobody is asked again.")
    later = {**asked, "b": "09:05"}
    expect.that(given(later, set()) == ["b"], "Bank b has a new SuperNode, and has not answered.")
    expect.that(given(later, {"b"}) == [], "Bank b has answered before its SuperNode was replaced.")
    gone = {name: since for name, since in later.items() if name != "c"}
    expect.that(given(gone, {"a"}) == ["b"], "Bank c is offline: there is nobody to ask.")
    more = {**later, "a": "09:07", "e": "09:01"}
    expect.that(
        given(more, {"d"}) == ["a", "b"], "Banks a and b come back, and e was never asked; sorted."
    )


def threshold_for(calibration: np.ndarray, alerts_per_day: float, rows_per_day: float) -> float:
    """Return the conformal threshold that gives so many false alarms on an ordinary day."""
    return local_threshold(np.asarray(calibration), alerts_per_day / rows_per_day)


def _conformal(scores: np.ndarray, rate: float) -> float:
    scores = np.sort(np.asarray(scores, dtype=float))
    return float(scores[int(np.ceil((len(scores) + 1) * (1 - rate) - 1e-9)) - 1])


@exercise(
    "14.2",
    "From a budget to a threshold",
    solution=threshold_for,
    wrong=(
        lambda calibration, alerts, rows: local_threshold(calibration, alerts / len(calibration)),
        lambda calibration, alerts, rows: local_threshold(calibration, 1 - alerts / rows),
        lambda calibration, alerts, rows: np.sort(calibration)[-int(alerts)],
        lambda calibration, alerts, rows: np.mean(calibration) + 3 * np.std(calibration),
        lambda calibration, alerts, rows: alerts / rows,
    ),
    hints=(
        "Which share of an ordinary day's rows may be above the threshold?",
        "That share is the alarm rate; `fl.local_threshold(scores, alarm_rate)` is the rest.",
    ),
)
def check_threshold_for(answer: Any) -> None:
    scores = np.random.default_rng(0).gamma(2.0, size=999)
    for alerts, rows in ((10, 1000), (5, 500), (30, 2000), (200, 1000)):
        given = expect.numbers(answer(scores, alerts, rows), "the threshold")
        expect.shape(given, (), "the threshold")
        wanted = _conformal(scores, alerts / rows)
        expect.close(given, wanted, f"{alerts} alerts a day among {rows} rows a day")


def psi(expected: np.ndarray, seen: np.ndarray) -> float:
    """Return the population stability index of counts [B], half a row added to each bin."""
    p = (np.asarray(seen) + 0.5) / (np.sum(seen) + 0.5 * len(seen))
    q = (np.asarray(expected) + 0.5) / (np.sum(expected) + 0.5 * len(expected))
    return float(((p - q) * np.log(p / q)).sum())


@exercise(
    "14.3",
    "The population stability index",
    solution=psi,
    wrong=(
        lambda expected, seen: psi(seen, seen),
        lambda expected, seen: float(
            (
                (np.asarray(seen) - np.asarray(expected))
                * np.log((np.asarray(seen) + 0.5) / (np.asarray(expected) + 0.5))
            ).sum()
        ),
        lambda expected, seen: -psi(expected, seen),
        lambda expected, seen: float(
            (
                np.asarray(seen)
                / np.sum(seen)
                * np.log(
                    (np.asarray(seen) + 0.5)
                    / np.sum(seen)
                    / ((np.asarray(expected) + 0.5) / np.sum(expected))
                )
            ).sum()
        ),
        lambda expected, seen: psi(expected, seen) / len(seen),
    ),
    hints=(
        "Turn both lists of counts into shares that add up to 1 first, half a row added to each "
        "bin.",
        "With shares p (seen) and q (expected) it is the sum over bins of (p - q) ln(p / q).",
    ),
)
def check_psi(answer: Any) -> None:
    same = np.array([100, 200, 300])
    expect.close(answer(same, same), 0.0, "the same counts twice", atol=1e-9)
    seen = np.array([300, 200, 100])
    expect.close(answer(same, seen), psi(same, seen), "counts turned round", rtol=1e-3)
    expect.close(answer(same, 3 * seen), psi(same, 3 * seen), "three times as many rows", rtol=1e-3)
    empty = np.array([0, 20, 40])
    given = expect.numbers(answer(same, empty), "an empty bin")
    expect.that(np.isfinite(given), "An empty bin must not give infinity.")
    expect.close(given, psi(same, empty), "an empty bin, half a row added to each", rtol=1e-3)
