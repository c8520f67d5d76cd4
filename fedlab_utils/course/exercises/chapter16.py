"""Exercises of chapter 16: Your own data."""

from math import ceil
from typing import Any

import numpy as np

from fedlab_utils.course import expect
from fedlab_utils.course.checks import exercise
from fedlab_utils.detect.metrics import auc

_nan = np.nan


def federated_mean(parts: list[np.ndarray]) -> np.ndarray:
    """Return the mean [d] over all values that are there, from counts and sums."""
    counts = np.sum([(~np.isnan(part)).sum(axis=0) for part in parts], axis=0)
    sums = np.sum([np.nansum(part, axis=0) for part in parts], axis=0)
    return sums / counts


@exercise(
    "16.1",
    "The federated mean with missing values",
    solution=federated_mean,
    wrong=(
        lambda parts: np.mean([np.nanmean(part, axis=0) for part in parts], axis=0),
        lambda parts: np.sum([np.nansum(p, axis=0) for p in parts], axis=0) / sum(map(len, parts)),
        lambda parts: np.mean(np.concatenate(parts), axis=0),
        lambda parts: np.nanmean(np.concatenate(parts)),
    ),
    hints=(
        "The mean of the clients' means gives a small client as much say as a large one. What must "
        "a client tell beside its sum?",
        "np.nansum(part, axis=0), and (~np.isnan(part)).sum(axis=0). Add up both over the clients, "
        "then divide.",
    ),
)
def check_federated_mean(answer: Any) -> None:
    one = np.array([[120.0, 1.0], [_nan, 3.0], [140.0, _nan]])
    two = np.array([[_nan, 9.0], [160.0, _nan]])
    given = expect.numbers(answer([one, two]), "the means")
    expect.shape(given, (2,), "two features of two clients")
    expect.close(given, [140.0, 13 / 3], "two clients with missing values")
    expect.close(answer([one]), [130.0, 2.0], "a single client")
    without = np.array([[_nan, 5.0]])
    expect.close(answer([two, without]), [160.0, 7.0], "a client that lacks a feature altogether")


def parts_by_time(times: np.ndarray, test: float, calibration: float) -> np.ndarray:
    """Return "train", "calibration" or "test" for each row; equal times stay together."""
    return _cut(times, test, calibration)


def _cut(
    times: Any, test: float, calibration: float, of_all: bool = False, late: bool = True
) -> np.ndarray:
    ordered, n = np.sort(times), len(times)
    before = n - ceil(n * test - 1e-9)
    base = n if of_all else before
    trains = before - ceil(base * calibration - 1e-9)
    part = np.full(n, "train", dtype="<U11")
    after = np.greater_equal if late else np.greater
    part[after(times, ordered[trains])] = "calibration"
    part[after(times, ordered[before])] = "test"
    return part


def _by_rank(times: Any, test: float, calibration: float) -> np.ndarray:
    """Wrong: cuts by rank, so that equal times are torn apart."""
    part = np.empty(len(times), dtype="<U11")
    part[np.argsort(times, kind="stable")] = _cut(np.arange(len(times)), test, calibration)
    return part


@exercise(
    "16.2",
    "The past trains",
    solution=parts_by_time,
    wrong=(
        lambda times, test, calibration: _cut(times, test, calibration, of_all=True),
        lambda times, test, calibration: _cut(times, test, calibration, late=False),
        lambda times, test, calibration: _cut(np.arange(len(times)), test, calibration),
        lambda times, test, calibration: _cut(-np.asarray(times), test, calibration),
        _by_rank,
    ),
    hints=(
        "Find two moments in the sorted times; a row's part depends on its own time only.",
        "How many rows come before the test? n - ceil(n * test). The moment is the sorted time at "
        "that place, and rows at the moment itself (>=) test.",
    ),
)
def check_parts_by_time(answer: Any) -> None:
    times = np.array([30, 10, 50, 20, 40, 60, 80, 70, 100, 90])
    _compare(answer, times, 0.4, 0.5, "ten different times, not in order")
    _compare(answer, np.array([1, 1, 2, 2, 2, 3, 3, 3, 3, 4]), 0.3, 0.3, "times that are equal")
    _compare(answer, np.arange(20.0), 0.25, 0.2, "twenty times in order")


def _compare(answer: Any, times: np.ndarray, test: float, calibration: float, what: str) -> None:
    given = np.asarray(answer(times, test, calibration))
    wanted = parts_by_time(times, test, calibration)
    expect.shape(given, wanted.shape, what)
    for part in ("train", "calibration", "test"):
        count, right = int((given == part).sum()), int((wanted == part).sum())
        expect.that(count == right, f"{what}: {count} rows in {part!r}, expected are {right}.")
    expect.that((given == wanted).all(), f"{what}: the numbers are right, but not which rows.")


def single_aucs(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return for each feature the AUC that it has alone, high or low, [d]."""
    up = np.array([auc(y, column) for column in x.T])
    return np.maximum(up, 1 - up)


@exercise(
    "16.3",
    "One feature that knows too much",
    solution=single_aucs,
    wrong=(
        lambda x, y: np.array([auc(y, column) for column in x.T]),
        lambda x, y: 1 - np.array([auc(y, column) for column in x.T]),
        lambda x, y: np.array([max(auc(y, row), 1 - auc(y, row)) for row in x]),
        lambda x, y: max(auc(y, column) for column in x.T),
        lambda x, y: np.array([auc(y, np.abs(column)) for column in x.T]),
    ),
    hints=(
        "A feature that is low for anomalies has an AUC near 0. It knows as much as one near 1.",
        "np.maximum(up, 1 - up), with one AUC `up` for each column of x.",
    ),
)
def check_single_aucs(answer: Any) -> None:
    rng = np.random.default_rng(0)
    y = np.arange(40) % 4 == 0
    x = np.stack([y * 1.0, -3.0 * y, rng.normal(size=40), y + rng.normal(size=40)], axis=1)
    given = expect.numbers(answer(x, y), "the AUCs")
    expect.shape(given, (4,), "forty rows with four features")
    expect.close(given[0], 1.0, "a feature that is the label")
    expect.close(given[1], 1.0, "a feature that is low for anomalies")
    expect.close(given, single_aucs(x, y), "four features")
