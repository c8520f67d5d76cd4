"""Alert budget, drift monitor and the stream around them."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedlab_utils.detect import local_threshold
from fedlab_utils.errors import DataError, FedlabError
from fedlab_utils.serving import (
    AlertBudget,
    Calibration,
    DriftMonitor,
    Scorer,
    StreamScorer,
    calibrate,
)

OFFERS = st.lists(
    st.tuples(st.floats(0, 50), st.lists(st.floats(0, 9), max_size=8)), min_size=1, max_size=30
)


@given(offers=OFFERS, rate=st.floats(0.01, 2), burst=st.integers(1, 6), keep=st.integers(0, 10))
@settings(max_examples=150, deadline=None)
def test_never_more_than_the_budget_and_nothing_lost(offers, rate, burst, keep):
    budget, now, sent, offered = AlertBudget(rate, burst, keep), 0.0, [], 0
    for wait, scores in offers:
        now += wait
        waiting = sorted([-s for s, *_ in budget._waiting] and [-x[0] for x in budget._waiting])
        got = budget.offer(now, range(offered, offered + len(scores)), scores)
        offered += len(scores)
        # The highest of all that waited or came go first.
        best = sorted([*waiting, *scores], reverse=True)[: len(got)]
        assert [a.score for a in got] == best
        sent += got
        assert budget.waiting <= keep
        assert len(sent) + budget.waiting + budget.dropped == offered
    assert len({a.id for a in sent}) == len(sent)
    assert all(a.seen <= a.sent for a in sent)
    times = [a.sent for a in sent]
    for i, start in enumerate(times):
        for j in range(i, len(times)):
            assert j - i + 1 <= burst + rate * (times[j] - start) + 1e-6


def test_a_row_waits_for_its_token():
    budget = AlertBudget(0.1, burst=1)
    assert [a.id for a in budget.offer(0, ["a", "b", "c"], [1.0, 3.0, 2.0])] == ["b"]
    assert budget.offer(5) == [] and budget.waiting == 2
    (late,) = budget.offer(10)
    assert (late.id, late.seen, late.sent) == ("c", 0, 10)
    assert [a.id for a in budget.offer(1000)] == ["a"] and budget.offer(2000) == []


def test_what_waits_can_be_dropped():
    budget = AlertBudget(0.1, burst=1)
    budget.offer(0, ["a", "b", "c"], [1.0, 3.0, 2.0])
    assert budget.clear() == budget.dropped == 2 and budget.clear() == 0
    assert budget.offer(100) == []


def test_budgets_that_make_no_sense():
    assert AlertBudget.per_day(86_400).per_second == 1
    for options in ({"per_second": 0}, {"per_second": 1, "burst": 0}, {"per_second": np.nan}):
        with pytest.raises(FedlabError):
            AlertBudget(**options)
    budget = AlertBudget(1)
    budget.offer(5)
    with pytest.raises(FedlabError, match="earlier"):
        budget.offer(4)


EDGES = np.linspace(0.1, 0.9, 9)


def test_false_alarms_are_as_rare_as_promised():
    """Reference and windows from one distribution: 5% of 2000 windows, and PSI's known mean."""
    rng = np.random.default_rng(0)
    verdicts = []
    for _ in range(200):
        counts = np.bincount(np.searchsorted(EDGES, rng.uniform(size=600)), minlength=10)
        monitor = DriftMonitor(EDGES, counts, window=400, false_alarm_rate=0.05)
        verdicts += monitor.update(rng.uniform(size=4000))
    rate = np.mean([v.drifted for v in verdicts])
    assert len(verdicts) == 2000 and 0.03 < rate < 0.07
    # Yurdakul and Naranjo: PSI is about (1/n + 1/m) times a chi-square with 9 degrees.
    assert np.mean([v.psi for v in verdicts]) == pytest.approx(9 * (1 / 400 + 1 / 600), rel=0.1)


def test_a_shift_is_found_and_its_direction_told():
    rng = np.random.default_rng(1)
    counts = np.full(10, 100)
    (verdict,) = DriftMonitor(EDGES, counts).update(rng.uniform(size=500) ** 0.5)
    assert verdict.drifted and verdict.high > 1.5 and verdict.psi > 0.2
    (verdict,) = DriftMonitor(EDGES, counts).update(rng.uniform(size=500) ** 2)
    assert verdict.drifted and verdict.high < 0.8


@given(st.lists(st.integers(0, 130), max_size=12))
def test_the_cut_into_batches_does_not_show(cuts):
    scores = np.random.default_rng(2).uniform(size=sum(cuts))
    whole, parts = DriftMonitor(EDGES, np.full(10, 50), window=60), []
    pieces = DriftMonitor(EDGES, np.full(10, 50), window=60)
    for part in np.split(scores, np.cumsum(cuts)):
        parts += pieces.update(part)
    assert parts == whole.update(scores) and len(parts) == len(scores) // 60
    assert [v.rows for v in parts] == [60 * (i + 1) for i in range(len(parts))]


@pytest.mark.parametrize(
    ("edges", "counts", "options", "match"),
    [
        ([], [10], {}, "edges"),
        ([0.5, 0.1], [50, 50, 50], {}, "edges"),
        (EDGES, [100] * 9, {}, "need 10 counts"),
        (EDGES, [-1, *[100] * 9], {}, "none negative"),
        (EDGES, [100] * 10, {"window": 49}, "at least 50"),
        (EDGES, [4] * 10, {}, "at least 50"),
        (EDGES, [100] * 10, {"false_alarm_rate": 0}, "false_alarm_rate"),
    ],
)
def test_monitors_that_make_no_sense(edges, counts, options, match):
    with pytest.raises(FedlabError, match=match):
        DriftMonitor(edges, counts, **options)


def test_own_calibration(made, tmp_path):
    scorer, rows = Scorer(made.bundle), made.draw(700)
    own = calibrate(scorer, 3, rows, 0.02)
    assert own.threshold == local_threshold(scorer.score(rows), 0.02) and sum(own.counts) == 700
    own.write(tmp_path / "own.json")
    assert Calibration.read(tmp_path / "own.json") == own
    (tmp_path / "bad.json").write_text('{"model": 1}')
    for path in ("bad.json", "none.json"):
        with pytest.raises(FedlabError, match="not a calibration"):
            Calibration.read(tmp_path / path)
    with pytest.raises(FedlabError, match="needs a threshold"):
        replace(own, counts=())
    (tmp_path / "bad.json").write_text((tmp_path / "own.json").read_text().replace("0.02", "2"))
    with pytest.raises(FedlabError, match="needs a threshold"):
        Calibration.read(tmp_path / "bad.json")
    with pytest.raises(FedlabError, match="calibrate again"):
        StreamScorer(scorer, replace(own, model="other"))


def test_the_stream_puts_the_parts_together(made):
    scorer = Scorer(made.bundle)
    own = calibrate(scorer, 1, made.draw(2000), 0.05)
    stream = StreamScorer(scorer, own, AlertBudget(1e-9, burst=3, keep=5), window=100)
    rows = made.draw(400)
    first, second = stream.feed(rows[:150], 0.0), stream.feed(rows[150:], 1.0, range(1000, 1250))
    scores = scorer.score(rows)
    np.testing.assert_allclose(np.concatenate([first.scores, second.scores]), scores, rtol=1e-6)
    np.testing.assert_array_equal(first.above, first.scores > own.threshold)
    assert stream.rows == 400 and stream.alarms == int((scores > own.threshold).sum()) > 8
    assert stream.sent == len(first.alerts) + len(second.alerts) == 3
    assert first.alerts[0].id == int(first.scores.argmax())
    assert len(first.verdicts) == 1 and len(second.verdicts) == 3
    with pytest.raises(FedlabError, match="as many ids"):
        stream.feed(rows, 2.0, ["a"])
    with pytest.raises(DataError):
        stream.feed(rows[:, :2], 2.0)
    assert stream.rows == 400


def test_a_bank_with_few_rows_is_compared_with_all(made):
    scorer = Scorer(made.bundle)
    few = StreamScorer(scorer, calibrate(scorer, 1, made.draw(49), 0.1)).drift.reference
    enough = StreamScorer(scorer, calibrate(scorer, 1, made.draw(60), 0.1)).drift.reference
    assert few.sum() == made.histogram.n and enough.sum() == 60


def test_without_a_budget_every_alarm_is_an_alert(made):
    stream = StreamScorer(Scorer(made.bundle))
    assert stream.threshold == made.bundle.card.threshold
    batch = stream.feed(made.draw(2000), 7.0)
    assert [a.id for a in batch.alerts] == list(np.flatnonzero(batch.above)) != []
    assert all(a.seen == a.sent == 7.0 for a in batch.alerts)
