import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from fedlab_utils.detect import (
    ClientMetrics,
    auc,
    average_precision,
    by_kind,
    mean_client,
    prevalence,
    worst_client,
)
from fedlab_utils.errors import DataError

labelled = st.lists(st.tuples(st.booleans(), st.integers(-20, 20)), min_size=2, max_size=40).filter(
    lambda rows: len({y for y, _ in rows}) == 2
)
quick = settings(max_examples=25, deadline=None)


def split(rows: list[tuple[bool, int]]) -> tuple[np.ndarray, np.ndarray]:
    y, scores = zip(*rows, strict=True)
    return np.array(y), np.array(scores, dtype=float)


def test_ap_by_hand() -> None:
    # ranks of the anomalies: 1, 3, 4 -> precisions 1/1, 2/3, 3/4
    y = np.array([True, False, True, True, False])
    assert average_precision(y, np.array([9.0, 8, 7, 6, 5])) == pytest.approx(
        (1 + 2 / 3 + 3 / 4) / 3
    )


@given(rows=labelled)
@quick
def test_ap_is_the_mean_precision_at_each_anomaly(rows: list[tuple[bool, int]]) -> None:
    y, scores = split(rows)
    expected = np.mean([y[scores >= threshold].mean() for threshold in scores[y]])
    assert average_precision(y, scores) == pytest.approx(expected)
    assert average_precision(y, scores) == pytest.approx(average_precision_score(y, scores))


@given(rows=labelled)
@quick
def test_auc_is_the_share_of_pairs_in_order(rows: list[tuple[bool, int]]) -> None:
    y, scores = split(rows)
    difference = scores[y][:, None] - scores[~y][None, :]
    expected = ((difference > 0) + 0.5 * (difference == 0)).mean()
    assert auc(y, scores) == pytest.approx(expected)
    assert auc(y, scores) == pytest.approx(roc_auc_score(y, scores))


@given(rows=labelled)
@quick
def test_only_the_order_counts(rows: list[tuple[bool, int]]) -> None:
    y, scores = split(rows)
    for metric in (average_precision, auc):
        for transformed in (np.exp(scores / 5), 3 * scores - 7, np.arctan(scores)):
            assert metric(y, transformed) == pytest.approx(metric(y, scores))
    assert auc(y, -scores) == pytest.approx(1 - auc(y, scores))


@given(rows=labelled)
@quick
def test_constant_scores_reach_the_chance_level(rows: list[tuple[bool, int]]) -> None:
    y, scores = split(rows)
    assert average_precision(y, 0 * scores) == pytest.approx(prevalence(y))
    assert auc(y, 0 * scores) == 0.5


@pytest.mark.parametrize("y", [[], [True, True], [False, False]])
def test_one_class_has_no_metric(y: list[bool]) -> None:
    scores = np.arange(len(y), dtype=float)
    assert math.isnan(average_precision(np.array(y), scores))
    assert math.isnan(auc(np.array(y), scores))
    assert not ClientMetrics.of("a", np.array(y, dtype=bool), scores).defined


def test_prevalence() -> None:
    assert prevalence(np.array([True, False, False, False])) == 0.25
    assert math.isnan(prevalence(np.array([])))
    assert math.isnan(ClientMetrics.of("a", np.array([]), np.array([])).prevalence)


@pytest.mark.parametrize("metric", [average_precision, auc])
def test_bad_scores_are_refused(metric: object) -> None:
    assert callable(metric)
    with pytest.raises(DataError, match=r"\[2\] and \[3\]"):
        metric(np.array([True, False]), np.zeros(3))
    with pytest.raises(DataError, match="row 1 is nan"):
        metric(np.array([True, False]), np.array([0, np.nan]))


def test_mean_and_worst_leave_undefined_clients_out() -> None:
    clients = [
        ClientMetrics("good", 10, 2, 0.9, 0.8),
        ClientMetrics("bad", 1000, 2, 0.5, 0.9),
        ClientMetrics("calm", 10, 0, math.nan, math.nan),
    ]
    assert mean_client(clients, "ap") == pytest.approx(0.7)
    assert worst_client(clients, "ap") == (0.5, "bad")
    assert worst_client(clients, "auc") == (0.8, "good")
    assert math.isnan(mean_client(clients[2:], "ap"))
    value, name = worst_client(clients[2:], "ap")
    assert math.isnan(value)
    assert name == ""


def test_each_kind_meets_all_normal_rows_and_no_other_kind() -> None:
    y = np.array([True, True, False, False, True])
    kind = np.array(["far", "near", "normal", "normal", "near"])
    scores = np.array([9.0, 0.5, 1.0, 2.0, 1.5])
    result = by_kind(y, kind, scores)
    assert list(result) == ["far", "near"]
    assert result["far"] == ClientMetrics("far", 3, 1, 1.0, 1.0)
    assert result["near"].auc == pytest.approx(auc(y[1:], scores[1:]))
    assert result["near"].auc == 0.25
    with pytest.raises(DataError, match="one entry per row, 5"):
        by_kind(y, kind[:2], scores)
