"""Robust aggregators: oracles, the honest hull up to f attackers, and where they break."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import minimize

import fedlab_utils as fl
from fedlab_utils.errors import FedlabError
from fedlab_utils.federate import (
    Bucketing,
    CentredClip,
    CoordinateMedian,
    CosineFilter,
    FoolsGold,
    GeometricMedian,
    Krum,
    MultiKrum,
    NormBound,
    TrimmedMean,
    krum_scores,
    weighted_median,
)
from tests.federate.robust_toy import attacked, combined, rows

EQUAL = torch.ones
ALL = {
    "median": CoordinateMedian(),
    "trimmed mean": TrimmedMean(2),
    "Krum": Krum(2),
    "multi-Krum": MultiKrum(2),
    "geometric median": GeometricMedian(),
    "norm bound": NormBound(),
    "centred clipping": CentredClip(),
    "cosine filter": CosineFilter(),
    "FoolsGold": FoolsGold(),
    "buckets of one": Bucketing(CoordinateMedian(), size=1),
}


# --- oracles ---


@pytest.mark.parametrize("clients", [1, 2, 5, 8])
def test_the_median_is_numpys(clients):
    updates = rows(clients, 50)
    got = CoordinateMedian().aggregate(updates, EQUAL(clients))
    assert np.array_equal(got, np.median(updates, axis=0))


@pytest.mark.parametrize("f", [0, 1, 3])
def test_the_trimmed_mean_is_scipys(f):
    updates = rows(8, 50)
    got = TrimmedMean(f).aggregate(updates, EQUAL(8))
    np.testing.assert_allclose(got, stats.trim_mean(updates, f / 8 + 1e-9, axis=0), rtol=1e-12)


@given(st.data())
def test_the_weighted_median_is_the_median_of_repeated_rows(data):
    clients = data.draw(st.integers(1, 6))
    weights = data.draw(st.lists(st.integers(0, 5), min_size=clients, max_size=clients).filter(sum))
    values = np.array(data.draw(st.lists(st.integers(-9, 9), min_size=clients, max_size=clients)))
    got = weighted_median(torch.tensor(values[:, None]).double(), torch.tensor(weights).double())
    assert float(got) == np.median(np.repeat(values, weights))


def krum_by_hand(updates, f):
    scores = []
    for i, u in enumerate(updates):
        others = sorted(
            sum((a - b) ** 2 for a, b in zip(u, v, strict=True))
            for j, v in enumerate(updates) if j != i
        )  # fmt: skip
        scores.append(sum(others[: len(updates) - f - 2]))
    return scores


@pytest.mark.parametrize(("clients", "f"), [(5, 1), (9, 2), (9, 3)])
def test_krum_is_brute_force(clients, f):
    updates = rows(clients, 7, seed=clients)
    scores = krum_by_hand(updates.tolist(), f)
    np.testing.assert_allclose(krum_scores(updates, f), scores)
    assert torch.equal(Krum(f).aggregate(updates, EQUAL(clients)), updates[np.argmin(scores)])
    best = np.argsort(scores)[: clients - f - 2]
    wanted = updates[best].mean(dim=0)
    torch.testing.assert_close(MultiKrum(f).aggregate(updates, EQUAL(clients)), wanted)
    torch.testing.assert_close(
        MultiKrum(f, keep=1).aggregate(updates, EQUAL(clients)), updates[best[0]]
    )


def test_flower_agrees():
    theirs = pytest.importorskip("flwr.server.strategy.aggregate")
    updates = rows(9, 12, seed=3)
    results = [([row.numpy()], 1) for row in updates]
    ours = {
        CoordinateMedian(): theirs.aggregate_median(results),
        TrimmedMean(2): theirs.aggregate_trimmed_avg(results, 2 / 9 + 1e-9),
        Krum(2): theirs.aggregate_krum(results, 2, 0),
        MultiKrum(2, keep=4): theirs.aggregate_krum(results, 2, 4),
    }
    for aggregator, (wanted,) in ours.items():
        np.testing.assert_allclose(aggregator.aggregate(updates, EQUAL(9)), wanted, rtol=1e-12)


@pytest.mark.parametrize("weights", [[1, 1, 1, 1, 1], [1, 2, 3, 1, 2], [10, 1, 1, 1, 1]])
def test_the_geometric_median_minimises_the_sum_of_distances(weights):
    updates, w = rows(5, 3, seed=8, around=100.0), np.array(weights, dtype=float)

    def cost(point):
        return float(w @ np.linalg.norm(updates.numpy() - point, axis=1))

    got = GeometricMedian(weighted=True).aggregate(updates, torch.tensor(w)).numpy()
    best = minimize(cost, updates.mean(dim=0), method="Nelder-Mead",
                    options={"xatol": 1e-9, "fatol": 1e-12, "maxiter": 5000})  # fmt: skip
    assert cost(got) <= best.fun * (1 + 1e-7)
    if max(weights) < 10:
        np.testing.assert_allclose(got, best.x, atol=1e-3)
    else:  # more than half of the weight is in one row: that row it is
        np.testing.assert_allclose(got, updates[0], atol=1e-4)


def test_most_rows_in_one_place_are_the_geometric_median():
    updates = torch.tensor([[1.0, 2.0]] * 3 + [[1e9, -1e9]] * 2)
    assert GeometricMedian().aggregate(updates, EQUAL(5)).tolist() == [1.0, 2.0]


# --- what holds up to f attackers ---


def inside(point, honest):
    slack = 1e-9 * honest.abs().max() + 1e-12
    return bool(((point >= honest.amin(0) - slack) & (point <= honest.amax(0) + slack)).all())


@settings(max_examples=150, deadline=None)
@given(attacked())
def test_the_median_stays_in_the_honest_hull(case):
    updates, honest, _ = case
    assert inside(CoordinateMedian().aggregate(updates, EQUAL(len(updates))), honest)


@settings(max_examples=150, deadline=None)
@given(attacked())
def test_the_trimmed_mean_stays_in_the_honest_hull(case):
    updates, honest, f = case
    assert inside(TrimmedMean(f).aggregate(updates, EQUAL(len(updates))), honest)


@settings(max_examples=100, deadline=None)
@given(attacked(), st.data())
def test_the_weighted_median_stays_in_the_hull_of_the_heavier_side(case, data):
    updates, honest, f = case
    # Honest rows weigh more in all than the attackers, however the weights are spread.
    good = torch.tensor([(honest == row).all(dim=1).any() for row in updates])
    heavy = data.draw(st.floats(1.01, 100))
    weights = torch.where(good, heavy * max(f, 1), 1.0)
    got = CoordinateMedian(weighted=True).aggregate(updates, weights)
    assert inside(got, honest)


@settings(max_examples=100, deadline=None)
@given(attacked())
def test_the_geometric_median_is_bounded_by_the_honest_radius(case):
    updates, honest, _ = case
    finite = updates.isfinite().all(dim=1)
    share = (int(finite.sum()) - len(honest)) / int(finite.sum())
    got = GeometricMedian().aggregate(updates, EQUAL(len(updates)))
    centre = honest.mean(dim=0)
    radius = float((honest - centre).norm(dim=1).max())
    # Two parts in a thousand: far attackers make the last Weiszfeld steps short.
    bound = 2 * (1 - share) / (1 - 2 * share) * radius
    assert float((got - centre).norm()) <= bound * 1.002 + 1e-6 * (1 + float(centre.norm()))


@settings(max_examples=100, deadline=None)
@given(attacked(honest_for=lambda f: f + 3))
def test_krum_returns_one_of_the_rows(case):
    updates, _, f = case
    got = Krum(f).aggregate(updates, EQUAL(len(updates)))
    assert bool((updates == got).all(dim=1).any())


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 3), st.integers(0, 1000), st.floats(50, 1e30), st.booleans())
def test_krum_takes_an_honest_row_if_the_attackers_are_far(f, seed, far, together):
    honest = rows(f + 3, 5, seed=seed)
    direction = rows(f, 5, seed=seed + 1)
    bad = far * (direction[:1].expand(f, -1) if together else direction)
    bad = bad + far * torch.sign(bad)
    updates = torch.cat([bad, honest])
    got = Krum(f).aggregate(updates, EQUAL(len(updates)))
    assert bool((honest == got).all(dim=1).any())
    many = MultiKrum(f).aggregate(updates, EQUAL(len(updates)))
    assert float(many.norm()) <= float(honest.norm(dim=1).max())


@settings(max_examples=100, deadline=None)
@given(attacked(), st.floats(0.1, 100))
def test_a_norm_bound_limits_what_attackers_move(case, bound):
    updates, honest, f = case
    finite = updates[updates.isfinite().all(dim=1)]
    f = len(finite) - len(honest)
    got = combined(NormBound(bound), updates).update
    alone = combined(NormBound(bound), honest).update
    assert float(got.norm()) <= bound * (1 + 1e-9)
    assert float((got - alone).norm()) <= 2 * f * bound / len(finite) * (1 + 1e-9) + 1e-9
    adaptive = combined(NormBound(), updates).update
    assert float(adaptive.norm()) <= float(honest.norm(dim=1).max()) * (1 + 1e-9) + 1e-9


@settings(max_examples=100, deadline=None)
@given(attacked(), st.floats(0.1, 100), st.integers(1, 3))
def test_centred_clipping_moves_by_its_radius_at_most(case, radius, steps):
    updates, _, _ = case
    done = combined(CentredClip(radius, steps), updates)
    assert float(done.update.norm()) <= steps * radius * (1 + 1e-6)
    assert torch.equal(done.state["centre"], done.update)


# --- where they break: one attacker too many ---


def test_with_one_attacker_too_many_everything_is_lost():
    honest, far = torch.zeros(3, 2), 1e12
    bad = torch.full((3, 2), far)
    half = torch.cat([honest, bad])  # f = K / 2
    for aggregator in (CoordinateMedian(), GeometricMedian()):
        assert float(aggregator.aggregate(half[:5], EQUAL(5)).norm()) < 1  # f < K / 2
        more = torch.cat([honest, bad, bad[:1]])
        assert float(aggregator.aggregate(more, EQUAL(7)).norm()) > far / 2
    assert float(CoordinateMedian().aggregate(half, EQUAL(6)).norm()) > far / 4
    assert float(TrimmedMean(1).aggregate(half[:4], EQUAL(4)).norm()) < 1
    assert float(TrimmedMean(1).aggregate(half[:5], EQUAL(5)).norm()) > far / 4


def test_krum_breaks_where_attackers_make_their_own_crowd():
    honest = rows(6, 4, seed=0)
    crowd = torch.full((3, 4), 100.0)
    updates = torch.cat([honest, crowd])
    assert float(Krum(3).aggregate(updates, EQUAL(9)).norm()) < 10
    # Made for 1, attacked by 7 of 13 that send the same: their own distances are zero.
    crowd = torch.full((7, 4), 100.0)
    assert float(Krum(1).aggregate(torch.cat([honest, crowd]), EQUAL(13)).norm()) == 200


def test_a_mean_breaks_with_a_single_attacker():
    updates = torch.cat([rows(9, 4), torch.full((1, 4), 1e12).double()])
    assert float(fl.Mean().aggregate(updates, EQUAL(10)).norm()) > 1e11


def test_whoever_claims_many_rows_has_the_weighted_majority():
    updates = torch.cat([rows(9, 4), torch.full((1, 4), 1e12).double()])
    claims = torch.tensor([1.0] * 9 + [10.0])
    for kind in (CoordinateMedian, GeometricMedian):
        assert float(kind(weighted=True).aggregate(updates, claims).norm()) > 1e11
        assert float(kind().aggregate(updates, claims).norm()) < 10


# --- all of them ---


@pytest.mark.parametrize("name", ALL)
def test_the_order_of_clients_does_not_matter(name):
    updates = rows(9, 12, seed=5)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(0))
    one, two = (combined(ALL[name], u).update for u in (updates, updates[order]))
    torch.testing.assert_close(one, two, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", sorted(set(ALL) - {"Krum"}))
def test_without_attackers_and_with_clients_alike_it_is_near_the_mean(name):
    updates = rows(40, 30, seed=1, around=3.0)
    mean = updates.mean(dim=0)
    got = combined(ALL[name], updates).update
    honest_error = math.sqrt(30 / 40)  # of the mean itself
    assert float((got - mean).norm()) < 2 * honest_error
    assert float(Krum(2).aggregate(updates, EQUAL(40)).sub(mean).norm()) > 2 * honest_error


@pytest.mark.parametrize("name", ALL)
def test_dtype_stays_and_rows_stay_as_they_are(name):
    updates = rows(9, 5).float()
    before = updates.clone()
    got = combined(ALL[name], updates).update
    assert got.dtype == torch.float32 and got.shape == (5,) and torch.equal(updates, before)


@pytest.mark.parametrize("name", ALL)
def test_rows_that_are_not_finite_do_no_harm(name):
    updates = rows(9, 5, around=2.0)
    updates[3, 2], updates[5] = np.nan, np.inf
    assert bool(combined(ALL[name], updates).update.isfinite().all())
    with pytest.raises(FedlabError, match="none of the 2 updates is finite"):
        combined(ALL[name], torch.full((2, 3), np.nan))


@pytest.mark.parametrize("name", ["norm bound", "centred clipping", "cosine filter", "FoolsGold",
                                  "buckets of one", "median"])  # fmt: skip
def test_a_round_without_clients_changes_nothing(name):
    assert not combined(ALL[name], torch.empty(0, 4)).update.any()


def test_too_few_clients_are_refused():
    for aggregator, least in ((TrimmedMean(2), 5), (Krum(2), 7), (MultiKrum(2), 7)):
        combined(aggregator, rows(least))
        with pytest.raises(FedlabError, match=f"f=2 .* at least {least}"):
            combined(aggregator, rows(least - 1))
    with pytest.raises(FedlabError, match=r"keep=6 .* at most 5"):
        combined(MultiKrum(2, keep=6), rows(7))
    # A row that is not finite counts as one of the attackers found.
    updates = rows(7)
    updates[0] = np.nan
    combined(Krum(2), updates)


def test_settings_and_shapes_that_make_no_sense_are_refused():
    wrong = {
        "whole number": [
            (TrimmedMean, -1),
            (Krum, 1.5),
            (MultiKrum, True),
            (Bucketing, Krum(1), 0),
        ],
        "positive": [(GeometricMedian, False, 0.0), (NormBound, -1.0), (CentredClip, math.nan)],
        "at least 1": [(MultiKrum, 1, 0)],
        "from 1 on": [(CentredClip, 1.0, 0)],
        "below 1": [(CosineFilter, None, 1.0)],
    }
    for message, cases in wrong.items():
        for kind, *arguments in cases:
            with pytest.raises(FedlabError, match=message):
                kind(*arguments)
    median = CoordinateMedian()
    with pytest.raises(FedlabError, match="do not fit"):
        median.aggregate(rows(3), EQUAL(2))
    with pytest.raises(FedlabError, match="negative"):
        median.aggregate(rows(3), -EQUAL(3))
    with pytest.raises(FedlabError, match="all be zero"):
        CoordinateMedian(weighted=True).aggregate(rows(3), torch.zeros(3))
