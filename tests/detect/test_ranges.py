"""Measures of ranges, against plain loops and the numbers of the authors' code."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedlab_utils import detect
from fedlab_utils.errors import DataError

series = st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=1, max_size=40)


def arrays(points):
    y, s = zip(*points, strict=True)
    return np.array(y), np.array(s, dtype=float)


def plain_f1(y, alarms):
    hits = (y & alarms).sum()
    return 2 * hits / (alarms.sum() + y.sum())


@given(series)
def test_ranges_cover_exactly_the_anomalies(points):
    y, _ = arrays(points)
    covered = np.zeros(len(y), bool)
    last = -1
    for first, end in detect.anomaly_ranges(y):
        assert first > last and first < end and y[first:end].all()
        covered[first:end] = True
        last = end
    np.testing.assert_array_equal(covered, y)


@given(series)
def test_adjustment_fills_ranges_that_were_hit_and_nothing_else(points):
    y, s = arrays(points)
    alarms = s > 3
    adjusted = detect.adjust_points(y, alarms)
    np.testing.assert_array_equal(adjusted[~y], alarms[~y])
    for first, end in detect.anomaly_ranges(y):
        assert (
            adjusted[first:end].all() if alarms[first:end].any() else not adjusted[first:end].any()
        )


@given(series, st.booleans())
def test_best_f1_is_the_best_of_all_thresholds(points, adjust):
    y, s = arrays(points)
    best, threshold = detect.best_f1(y, s, adjust=adjust)
    if not 0 < y.sum() < len(y):
        assert math.isnan(best) and math.isnan(threshold)
        return
    found = {}
    for t in np.unique(s):
        alarms = s >= t
        found[t] = plain_f1(y, detect.adjust_points(y, alarms) if adjust else alarms)
    assert best == pytest.approx(max(found.values()))
    assert found[threshold] == pytest.approx(best)
    assert detect.best_f1(y, s, adjust=True)[0] >= detect.best_f1(y, s)[0] - 1e-12


def test_a_random_score_is_wonderful_after_adjustment_only():
    rng = np.random.default_rng(0)
    y = np.zeros(20_000, bool)
    for start in range(1_000, 20_000, 4_000):
        y[start : start + 400] = True
    s = rng.random(len(y))
    assert detect.best_f1(y, s, adjust=True)[0] > 0.85
    assert detect.best_f1(y, s)[0] < 0.2
    assert abs(detect.vus_pr(y, s, 100) - y.mean()) < 0.05


def loop_area(y, s, buffer):
    """R-AUC-PR as the paper says it, threshold by threshold."""
    soft = detect.range_labels(y, buffer)
    ranges = detect.anomaly_ranges(soft > 0)
    positives = (y.sum() + soft.sum()) / 2
    recall, precision = [0.0], [1.0]
    for t in np.unique(s)[::-1]:
        alarms = s >= t
        hits = soft[alarms].sum()
        exist = np.mean([alarms[a:b].any() for a, b in ranges])
        recall.append(min(hits / positives, 1) * exist)
        precision.append(hits / alarms.sum())
    steps = np.diff(recall)
    return float(np.sum(steps * (np.array(precision[1:]) + np.array(precision[:-1])) / 2))


@given(series, st.integers(0, 9))
@settings(max_examples=150)
def test_range_area_equals_a_plain_loop_and_vus_is_its_mean(points, buffer):
    y, s = arrays(points)
    area = detect.range_pr_auc(y, s, buffer)
    volume = detect.vus_pr(y, s, buffer)
    if not 0 < y.sum() < len(y):
        assert math.isnan(area) and math.isnan(volume)
        return
    assert area == pytest.approx(loop_area(y, s, buffer), abs=1e-12)
    each = [detect.range_pr_auc(y, s, b) for b in range(buffer + 1)]
    assert volume == pytest.approx(np.mean(each), abs=1e-12)
    # Only the order of the scores counts.
    assert detect.range_pr_auc(y, np.exp(s), buffer) == pytest.approx(area, abs=1e-12)


def recorded(seed):
    rng = np.random.default_rng(seed)
    y = np.zeros(250, bool)
    for a, b in ((0, 4), (60, 75), (90, 93), (200, 230), (247, 250)):
        y[a:b] = True
    s = rng.normal(size=250) + 1.5 * y
    return y, np.round(s) if seed == 1 else s  # with ties


# Made once with `metricor().RangeAUC` of the authors' repository (github.com/TheDatumOrg/VUS,
# commit d0f2a44), whose 250 thresholds are all scores of a series of 250 points.
@pytest.mark.parametrize(
    "seed, areas, volume",
    [
        (0, (0.7214729325431435, 0.7638856813709166, 0.801562007514631), 0.7531075363910136),
        (1, (0.618712801982001, 0.6390235962545466, 0.703530046717844), 0.6593177634938975),
        (2, (0.6210702904428493, 0.7262928040816978, 0.7890222834347502), 0.7173427832980639),
    ],
)
def test_numbers_are_those_of_the_authors_code(seed, areas, volume):
    y, s = recorded(seed)
    for buffer, wanted in zip((0, 10, 30), areas, strict=True):
        assert detect.range_pr_auc(y, s, buffer) == pytest.approx(wanted, abs=1e-12)
    assert detect.vus_pr(y, s, 30) == pytest.approx(volume, abs=1e-12)


def test_soft_labels_fall_to_both_sides():
    y = np.zeros(12, bool)
    y[5:7] = True
    soft = detect.range_labels(y, 4)
    side = [math.sqrt(1 - 1 / 4), math.sqrt(1 - 2 / 4)]
    np.testing.assert_allclose(soft, [0, 0, 0, side[1], side[0], 1, 1, *side, 0, 0, 0])
    np.testing.assert_array_equal(detect.range_labels(y, 0), y)
    np.testing.assert_array_equal(detect.range_labels(y, 1), y)


def test_bad_input_is_refused():
    y, s = np.array([True, False]), np.array([1.0, 2.0])
    for call in (detect.range_pr_auc, detect.vus_pr):
        with pytest.raises(DataError, match="buffer=-1"):
            call(y, s, -1)
        with pytest.raises(DataError, match="one length"):
            call(y, s[:1], 2)
    with pytest.raises(DataError, match="one length"):
        detect.adjust_points(y, s[:1] > 1)
    with pytest.raises(DataError, match="must be finite"):
        detect.best_f1(y, np.array([1.0, np.nan]))
