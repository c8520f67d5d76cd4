"""Which rows train, which set the threshold, which test. Taught in chapter 16."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedlab_utils.errors import DataError
from fedlab_utils.pipeline.findings import Finding, some
from fedlab_utils.pipeline.table import OwnTable

_SPLIT = 0x5B117


@dataclass(frozen=True)
class Split:
    """The part of each row.

    Attributes:
        part: [n] str, "train", "calibration" or "test".
        findings: how it was split, and what is thin.
    """

    part: np.ndarray
    findings: tuple[Finding, ...]


def split_rows(
    table: OwnTable,
    *,
    test_fraction: float = 0.4,
    calibration_fraction: float = 0.2,
    min_rows: int = 20,
    unseen: str | None = None,
    seed: int = 0,
) -> Split:
    """Divide each client's rows into parts: by time if there is a time column, else at random.

    By time there are two moments, the same for all clients, before which everybody trains and
    after which everybody tests: the future of one client must not train the model that another
    client's past is tested with. At random, known anomalies are all for testing. In both cases
    known anomalies among the rows for training and calibration are left out later.

    Args:
        test_fraction: share of the rows (of the normal rows, at random) for testing.
        calibration_fraction: share of the rest that sets thresholds.
        min_rows: normal rows that a client must have for training.
        unseen: a client that does not train, and needs no rows for it.
        seed: fixes the random split.

    Raises DataError for shares out of range and clients with fewer rows than that, all named.
    Taught in chapter 16.
    """
    for name, value in (("test", test_fraction), ("calibration", calibration_fraction)):
        if not 0 < value < 1:
            raise DataError(f"{name}_fraction={value} must be above 0 and below 1.")
    known = np.zeros(len(table), dtype=bool) if table.label is None else table.label
    if table.time is not None:
        part, note = _by_time(table.time, test_fraction, calibration_fraction)
    else:
        part, note = _at_random(table, known, test_fraction, calibration_fraction, seed)
    findings = [Finding("note", table.mapping.time or "", note)]
    rows = {name: int(((table.client == name) & (part == "train") & ~known).sum())
            for name in table.clients if name != unseen}  # fmt: skip
    if small := [f"{name!r} ({count})" for name, count in rows.items() if count < min_rows]:
        hint = (
            "use a smaller test_fraction=, which lets the test begin later"
            if table.time is not None
            else "give their rows to a common client"
        )
        raise DataError(
            f"{table.source}: {len(small)} client(s) have fewer than {min_rows} normal rows to "
            f"train on: {some(small)}. Name them in leave_out= (or one as unseen=), lower "
            f"min_rows=, or {hint}."
        )
    findings += _thin(table, part, known)
    return Split(part, tuple(findings))


def _by_time(time: np.ndarray, test: float, calibration: float) -> tuple[np.ndarray, str]:
    """Rows at a moment itself belong to the later part."""
    ordered = np.sort(time)
    before = len(time) * (1 - test)
    cuts = [ordered[int(before * (1 - calibration))], ordered[min(int(before), len(time) - 1)]]
    part = np.full(len(time), "train", dtype="<U11")
    part[time >= cuts[0]] = "calibration"
    part[time >= cuts[1]] = "test"
    counts = [int((part == name).sum()) for name in ("train", "calibration", "test")]
    return part, (
        f"the past trains and the future tests: {counts[0]} rows to train on, then {counts[1]} for "
        f"the thresholds, then {counts[2]} to test on, with the same two moments for all clients."
    )


def _at_random(
    table: OwnTable, known: np.ndarray, test: float, calibration: float, seed: int
) -> tuple[np.ndarray, str]:
    rng = np.random.default_rng([seed, _SPLIT])
    part = np.full(len(table), "test", dtype="<U11")
    for name in table.clients:
        normal = rng.permutation(np.flatnonzero((table.client == name) & ~known))
        rest = normal[round(len(normal) * test) :]
        held = round(len(rest) * calibration)
        part[rest[:held]], part[rest[held:]] = "calibration", "train"
    return part, (
        "the rows were split at random, because there is no time column. If rows of one person or "
        "one event belong together, or the world changes, the results are too good."
    )


def _thin(table: OwnTable, part: np.ndarray, known: np.ndarray) -> list[Finding]:
    """Clients without rows for a purpose."""
    found = []
    for name in ("calibration", "test"):
        chosen = part == name if name == "test" else (part == name) & ~known
        if none := [c for c in table.clients if not chosen[table.client == c].any()]:
            text = f"no rows for {'testing' if name == 'test' else 'thresholds'} at {some(none)}."
            found.append(Finding("warning", none[0], text))
    if table.label is not None and not known[part == "test"].any():
        text = (
            "all known anomalies lie before the test, so nothing can be tested. Use a larger "
            "test_fraction, or set label=None."
        )
        found.append(Finding("error", table.mapping.label or "", text))
    return found
