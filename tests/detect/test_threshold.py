from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fedlab_utils.detect import (
    ScoreHistogram,
    alarm_rate_bound,
    federated_threshold,
    local_threshold,
    score_edges,
)
from fedlab_utils.errors import DataError

scores_lists = st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=60)
rates = st.sampled_from([0.02, 0.05, 0.1, 0.25, 0.5, 0.9])
quick = settings(max_examples=40, deadline=None)


def simulated_rates(n: int, alarm_rate: float, draws: int, seed: int = 0) -> np.ndarray:
    """Draw calibration sets of U(0, 1) scores; a threshold t then has the true alarm rate 1 - t."""
    rng = np.random.default_rng(seed)
    return np.array([1 - local_threshold(rng.random(n), alarm_rate) for _ in range(draws)])


def test_threshold_is_the_ceil_formula() -> None:
    scores = np.random.default_rng(0).permutation(99) + 1.0
    for alarm_rate in (0.5, 0.1, 0.05, 0.29, 0.01):
        assert local_threshold(scores, alarm_rate) == ceil(round(100 * (1 - alarm_rate), 6))


@pytest.mark.parametrize(("n", "alarm_rate"), [(19, 0.05), (99, 0.05), (50, 0.1), (200, 0.02)])
def test_mean_alarm_rate_keeps_the_promise(n: int, alarm_rate: float) -> None:
    bound = alarm_rate_bound(n, alarm_rate)
    realised = simulated_rates(n, alarm_rate, draws=4000)
    noise = 4 * realised.std() / np.sqrt(len(realised))
    assert alarm_rate - 1 / (n + 1) < bound.expected <= alarm_rate
    assert realised.mean() == pytest.approx(bound.expected, abs=noise)


@pytest.mark.parametrize(("n", "alarm_rate"), [(19, 0.1), (100, 0.05)])
def test_realised_alarm_rates_follow_the_beta_law(n: int, alarm_rate: float) -> None:
    realised = simulated_rates(n, alarm_rate, draws=4000, seed=1)
    above = int((n + 1) * alarm_rate + 1e-9)
    assert stats.kstest(realised, stats.beta(above, n + 1 - above).cdf).pvalue > 1e-3
    # the law must be sharp: one rank off is told apart
    assert stats.kstest(realised, stats.beta(above + 1, n - above).cdf).pvalue < 1e-6
    bound = alarm_rate_bound(n, alarm_rate, delta=0.1)
    assert (realised <= bound.at_most).mean() == pytest.approx(0.9, abs=0.02)
    inside = (realised >= bound.low) & (realised <= bound.high)
    assert inside.mean() == pytest.approx(0.9, abs=0.02)


def test_dkw_margin_holds_for_all_thresholds_at_once() -> None:
    rng = np.random.default_rng(2)
    n, delta = 50, 0.1
    margin = alarm_rate_bound(n, 0.1, delta).any_threshold
    worst = np.array([stats.kstest(rng.random(n), "uniform").statistic for _ in range(1000)])
    assert (worst > margin).mean() <= delta + 0.02
    assert (worst > margin / 1.5).mean() > delta  # not a bound that anything meets


@given(scores=scores_lists, alarm_rate=rates)
@quick
def test_alarms_on_the_calibration_rows_never_exceed_the_rate(
    scores: list[float], alarm_rate: float
) -> None:
    values = np.array(scores)
    if (len(values) + 1) * alarm_rate < 1 - 1e-9:
        with pytest.raises(DataError, match="too few"):
            local_threshold(values, alarm_rate)
    else:
        threshold = local_threshold(values, alarm_rate)
        assert threshold in values
        assert (values > threshold).sum() <= (len(values) + 1) * alarm_rate + 1e-9
        assert (values >= threshold).sum() >= (len(values) + 1) * alarm_rate - 1


def test_too_few_rows_name_the_smallest_rate() -> None:
    match = r"10 calibration rows are too few for an alarm rate of 0.05.*= 0.09091"
    with pytest.raises(DataError, match=match):
        local_threshold(np.arange(10.0), 0.05)
    with pytest.raises(DataError, match=match):
        alarm_rate_bound(10, 0.05)
    assert local_threshold(np.arange(19.0), 0.05) == 18
    with pytest.raises(DataError, match="0 calibration rows"):
        local_threshold(np.array([]), 0.5)


@pytest.mark.parametrize("alarm_rate", [0, 1, -0.1, 5, float("nan")])
def test_impossible_alarm_rates_are_refused(alarm_rate: float) -> None:
    with pytest.raises(DataError, match="between 0 and 1"):
        local_threshold(np.arange(10.0), alarm_rate)


def test_bad_scores_and_delta_are_refused() -> None:
    with pytest.raises(DataError, match="row 2 is inf"):
        local_threshold(np.array([1, 2, np.inf]), 0.5)
    with pytest.raises(DataError, match="row 0 is nan"):
        ScoreHistogram.of(np.array([np.nan]))
    with pytest.raises(DataError, match=r"one list \[n\]"):
        local_threshold(np.ones((3, 2)), 0.5)
    with pytest.raises(DataError, match="delta"):
        alarm_rate_bound(100, 0.1, delta=1)


@given(parts=st.lists(scores_lists, min_size=1, max_size=5), alarm_rate=rates)
@quick
def test_federated_is_above_the_exact_one_by_less_than_a_bin(
    parts: list[list[float]], alarm_rate: float
) -> None:
    pooled = np.concatenate([np.array(part) for part in parts])
    if (len(pooled) + 1) * alarm_rate < 1 - 1e-9:
        return
    edges = score_edges(1e-4, 1e4, per_decade=10)
    exact = local_threshold(pooled, alarm_rate)
    shared = federated_threshold(
        [ScoreHistogram.of(np.array(part), edges) for part in parts], alarm_rate
    )
    assert exact <= shared < exact * 10**0.1 * (1 + 1e-9)
    assert shared in edges
    assert (pooled > shared).sum() <= (pooled > exact).sum()


@given(
    parts=st.lists(st.lists(st.floats(-1, 1e8), max_size=20), min_size=2, max_size=5),
    data=st.data(),
)
@quick
def test_sum_is_the_histogram_of_the_union_in_any_order(
    parts: list[list[float]], data: st.DataObject
) -> None:
    order = data.draw(st.permutations(parts))
    union = ScoreHistogram.of(np.concatenate([np.array(part, dtype=float) for part in parts]))
    total = ScoreHistogram.of(np.array(order[0]))
    for part in order[1:]:
        total = total + ScoreHistogram.of(np.array(part))
    assert (total.counts == union.counts).all()
    assert total.n == sum(map(len, parts))


def test_counts_match_numpy_inside_the_range() -> None:
    scores = np.random.default_rng(0).lognormal(size=500)
    edges = score_edges(1e-3, 1e3)
    histogram = ScoreHistogram.of(scores, edges)
    assert (histogram.counts[1:-1] == np.histogram(scores, edges)[0]).all()
    assert histogram.counts[[0, -1]].tolist() == [0, 0]


def test_bins_are_closed_on_the_right_and_nothing_is_clipped() -> None:
    histogram = ScoreHistogram.of(
        np.array([-5.0, 0, 1, 1.5, 2, 3, 4.001, 1e9]), np.array([1.0, 2, 4])
    )
    assert histogram.counts.tolist() == [3, 2, 1, 2]
    assert (histogram.underflow, histogram.overflow, histogram.n) == (3, 2, 8)


def test_a_quantile_outside_the_edges_is_an_error() -> None:
    histogram = ScoreHistogram.of(np.array([0.5, 0.6, 0.7, 1.5, 8, 9]), np.array([1.0, 2, 4]))
    assert federated_threshold([histogram], 0.45) == 2
    with pytest.raises(DataError, match=r"above the last edge 4, where 2 of 6.*high="):
        federated_threshold([histogram], 0.2)
    with pytest.raises(DataError, match=r"below the first edge 1, where 3 of 6.*low="):
        federated_threshold([histogram], 0.6)


def test_too_few_rows_alone_may_be_enough_together() -> None:
    parts = [ScoreHistogram.of(np.arange(1.0, 11.0) + k) for k in range(5)]
    with pytest.raises(DataError, match="10 calibration rows"):
        federated_threshold(parts[:1], 0.05)
    assert federated_threshold(parts, 0.05) >= 13
    with pytest.raises(DataError, match="no histograms"):
        federated_threshold([], 0.05)


def test_vector_goes_there_and_back_through_a_float_sum() -> None:
    one, two = ScoreHistogram.of(np.array([1.0, 2])), ScoreHistogram.of(np.array([2.0, 1e9]))
    summed = (one.to_vector() + two.to_vector()) * (1 + 1e-9)
    back = ScoreHistogram.from_vector(summed, score_edges())
    assert (back.counts == (one + two).counts).all()
    for damage in (0.3, np.nan):
        with pytest.raises(DataError, match="whole counts"):
            ScoreHistogram.from_vector(summed + damage, score_edges())


@pytest.mark.parametrize(
    ("edges", "counts", "match"),
    [
        ([1, 1, 2], [0, 0, 0, 0], "increasing"),
        ([1], [0, 0], "increasing"),
        ([1, np.nan, 2], [0, 0, 0, 0], "increasing"),
        ([1, 2], [0, 0], "2 edges need 3 counts"),
        ([1, 2], [0, -4, 0], "lowest count of -4"),
    ],
)
def test_forged_histograms_are_refused(edges: list, counts: list, match: str) -> None:
    with pytest.raises(DataError, match=match):
        ScoreHistogram(np.array(edges), np.array(counts))


def test_histograms_cannot_be_changed_or_mixed() -> None:
    histogram = ScoreHistogram.of(np.array([1.0]))
    with pytest.raises(ValueError, match="read-only"):
        histogram.counts[0] = 5
    with pytest.raises(DataError, match="different edges"):
        histogram + ScoreHistogram.of(np.array([1.0]), score_edges(per_decade=10))


def test_edges() -> None:
    edges = score_edges()
    assert len(edges) == 601
    assert edges[1:] / edges[:-1] == pytest.approx(np.full(600, 10**0.02))
    for bad in ((0, 1, 5), (2, 1, 5), (1, 2, 0), (1, float("inf"), 5)):
        with pytest.raises(DataError, match="need 0 < low < high"):
            score_edges(*bad)
