"""Cosine filter, FoolsGold, buckets, free riders, and robust aggregators in `fit`."""

import numpy as np
import pytest
import torch

import fedlab_utils as fl
from fedlab_utils.attacks import Attacked, Colluding, FreeRider, SignFlip
from fedlab_utils.errors import FedlabError
from fedlab_utils.federate import (
    Bucketing,
    CentredClip,
    ContributionLog,
    CoordinateMedian,
    CosineFilter,
    FoolsGold,
    Krum,
    NormBound,
    Watched,
    contribution_signs,
    cosines,
    foolsgold_weights,
    robust_z,
)
from tests.federate import toy
from tests.federate.robust_toy import combined, context, rows


def test_cosines_are_scipys_and_zero_points_nowhere():
    from scipy.spatial.distance import cdist

    a, b = rows(4), rows(3, seed=1)
    np.testing.assert_allclose(cosines(a, b), 1 - cdist(a, b, "cosine"))
    assert cosines(torch.zeros(1, 6), b).tolist() == [[0.0] * 3]


def test_the_cosine_filter_drops_what_points_away_and_levels_lengths():
    base = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.8, -0.6], [-5.0, 0.0]])
    got = combined(CosineFilter(trusted="bank 1"), base).update
    # trust 1, 0.8, 0.8 and 0; all have length 1 already
    torch.testing.assert_close(got, torch.tensor([(1 + 0.64 + 0.64) / 2.6, 0.0]))
    long = base * torch.tensor([[1.0], [1e3], [1e-3], [1.0]])
    torch.testing.assert_close(combined(CosineFilter(trusted="bank 1"), long).update, got)
    strict = combined(CosineFilter(trusted="bank 1", least=0.9), base).update
    torch.testing.assert_close(strict, base[0])
    # Nobody trusted: no update.
    alone = CosineFilter().trust(base, -base.sum(dim=0) * 0 + torch.tensor([0.0, 0.0]))
    assert not alone.any()


def test_the_cosine_filter_needs_its_trusted_client():
    with pytest.raises(FedlabError, match="'bank 9' takes no part"):
        combined(CosineFilter(trusted="bank 9"), rows(4))
    updates = rows(4)
    for useless in (0.0, np.nan):
        updates[1] = useless
        with pytest.raises(FedlabError, match="no direction"):
            combined(CosineFilter(trusted="bank 2"), updates)


def test_a_minority_cannot_move_the_cosine_filter_beyond_the_median_length():
    updates = torch.cat([rows(7, 5), 1e9 * rows(3, 5, seed=1)])
    limit = float(updates[:7].norm(dim=1).max())
    assert float(combined(CosineFilter(), updates).update.norm()) <= limit


def test_foolsgold_silences_copies_and_pardons_the_honest():
    honest, copy = rows(5, 200, seed=2), rows(1, 200, seed=9)
    updates = torch.cat([honest, copy.expand(4, -1) + 1e-3 * rows(4, 200, seed=4)])
    say = foolsgold_weights(cosines(updates, updates))
    assert float(say[:5].min()) > 0.9 and float(say[5:].max()) == 0.0
    got = combined(FoolsGold(), updates).update
    torch.testing.assert_close(got, (say[:5] / say[:5].sum()) @ honest)


def test_foolsgold_pardons_whoever_only_resembles_a_copy():
    # 0 and 1 are copies; 2 resembles them somewhat, 3 nobody.
    similar = torch.tensor(
        [[1, 0.99, 0.75, 0], [0.99, 1, 0.75, 0], [0.75, 0.75, 1, 0], [0, 0, 0, 1]]
    ).double()
    say = foolsgold_weights(similar)
    raw = 1 - 0.75 * (0.75 / 0.99)
    assert float(say[2]) == pytest.approx(np.log(raw / (1 - raw)) + 0.5) and say[2] > 0.2
    assert say[:2].tolist() == [0, 0] and say[3] == 1


def test_foolsgold_has_nothing_to_say_where_all_agree_or_there_is_one():
    updates = torch.ones(4, 3)
    torch.testing.assert_close(combined(FoolsGold(), updates).update, torch.ones(3))
    assert foolsgold_weights(torch.ones(1, 1)).tolist() == [1.0]


def test_foolsgold_remembers_what_noise_hides_in_a_single_round():
    aim = rows(1, 50, seed=7)[0]

    def updates(round_):
        noise = rows(3, 50, seed=100 + round_) * 1.5
        return torch.cat([rows(4, 50, seed=round_), aim + noise])

    sizes, states = torch.ones(7), {True: {}, False: {}}
    for round_ in range(25):
        for memory, state in states.items():
            done = FoolsGold(memory).aggregate_round(updates(round_), sizes, state, context(7))
            states[memory] = done.state
    assert states[False] == {} and len(states[True]) == 7
    past = torch.stack([states[True][f"bank {i}"] for i in range(1, 8)])
    say = foolsgold_weights(cosines(past, past))
    one = foolsgold_weights(cosines(updates(24), updates(24)))
    assert float(say[4:].max()) == 0 and float(one[4:].min()) > 0.4


def test_buckets_are_means_of_all_clients_once_and_change_with_the_round():
    seen = []

    class Keep:
        def aggregate(self, updates, weights):
            seen.append(updates)
            return updates.mean(dim=0)

    updates = rows(7, 3)
    for round_ in (0, 0, 1):
        combined(Bucketing(Keep(), size=2), updates, round_=round_)
    first, again, other = seen
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert len(first) == 4  # 2 + 2 + 2 + 1
    torch.testing.assert_close(first[:3].sum(0) * 2 + first[3], updates.sum(0))
    middle = combined(Bucketing(CoordinateMedian(), size=7), updates).update
    torch.testing.assert_close(middle, updates.mean(dim=0))


def test_buckets_hand_on_the_memory_of_the_inner_one():
    done = combined(Bucketing(CentredClip(1.0)), rows(6))
    assert torch.equal(done.state["centre"], done.update)


@pytest.mark.parametrize("inner", [fl.Mean(), CentredClip(0.5)])
def test_a_watch_sees_what_the_server_sees_and_changes_nothing(inner):
    seen = []
    updates = rows(5).float()
    watched = combined(Watched(inner, lambda *round_: seen.append(round_)), updates)
    assert torch.equal(watched.update, combined(inner, updates).update)
    ((rows_seen, weights, about, done),) = seen
    assert torch.equal(rows_seen, updates) and weights.tolist() == [1.0] * 5
    assert about.clients[0] == "bank 1" and torch.equal(done.update, watched.update)


# --- free riders ---


def test_signs_of_work():
    last = torch.tensor([1.0, 0.0])
    updates = torch.tensor([[0.0, 10.0], [0.0, 10.0], [2.0, 0.0], [0.0, 0.0]])
    signs = contribution_signs(updates, last)
    to_others = 10 / np.hypot(2, 10)
    assert signs[0].tolist() == pytest.approx([1.0, 0.0, to_others, -to_others])
    assert signs[2].tolist() == pytest.approx([np.log10(2), 1.0, 0.0, 1.0])
    assert signs[3].tolist() == [-30.0, 0.0, 0.0, 0.0]
    with pytest.raises(FedlabError, match="at least three"):
        contribution_signs(updates[:2], last)


def test_robust_z_is_not_widened_by_outliers():
    values = np.array([[0.0], [1.0], [2.0], [3.0], [1e9]])
    z = robust_z(values)
    assert z[:4, 0].tolist() == pytest.approx(np.array([-2, -1, 0, 1]) / 1.4826)
    assert robust_z(np.array([[1.0], [1.0], [1.005]])).max() == pytest.approx(0.1)


def ten_clients(differ=1.0):
    """Ten clients that learn a dependence of their own around a common one."""
    rng = np.random.default_rng(0)
    mix, parts = rng.normal(size=(3, 8)), []
    for _ in range(10):
        own = mix + differ * rng.normal(size=mix.shape)
        rows_ = rng.normal(size=(60, 3)) @ own + 0.3 * rng.normal(size=(60, 8))
        parts.append(rows_.astype(np.float32))
    return toy.of(parts)


@pytest.mark.parametrize(
    ("rider", "sign"),
    [
        (FreeRider("zero"), "log norm"),
        (FreeRider("noise"), "cosine with others"),
        (FreeRider("last", noise=0.1), "cosine with last"),
    ],
    ids=lambda value: getattr(value, "kind", None),
)
def test_free_riders_are_found_and_nobody_else(rider, sign):
    members, log = ten_clients(), ContributionLog()
    options = {"rounds": 6, "local": fl.SGD(0.05, batch_size=16), "progress": False}
    model = fl.dense_autoencoder(8, hidden=12, code=3)
    watched = Watched(fl.Mean(), log)
    with pytest.raises(FedlabError, match="two rounds"):
        log.table()
    fl.fit(model, members, aggregator=Attacked(watched, rider, ("bank 4",)), **options)
    assert log.suspects() == {"bank 4": sign}
    honest = ContributionLog()
    fl.fit(model, members, aggregator=Watched(fl.Mean(), honest), **options)
    assert honest.suspects() == {} and len(honest.table()) == 10


def test_clients_that_are_alike_hide_a_copy():
    log = ContributionLog()
    attacked = Attacked(Watched(fl.Mean(), log), FreeRider("last", noise=0.1), ("bank 4",))
    model = fl.dense_autoencoder(8, hidden=12, code=3)
    fl.fit(model, ten_clients(0.0), rounds=6, aggregator=attacked, progress=False)
    assert log.suspects() == {} and log.table()["cosine with last"].min() > 0.7


# --- in `fit` ---


@pytest.mark.parametrize(
    "aggregator",
    [
        CoordinateMedian(),
        Krum(1),
        NormBound(),
        NormBound(1.0, inner=CoordinateMedian()),
        CentredClip(),
        FoolsGold(),
        Bucketing(CentredClip()),
        Attacked(FoolsGold(), SignFlip(), ("bank 2",)),
        Attacked(Attacked(CentredClip(), Colluding(), ("bank 1", "bank 3")), SignFlip(), "bank 2"),
    ],
    ids=lambda a: type(a).__name__,
)
def test_a_run_can_be_taken_up_again_to_the_same_bits(aggregator, tmp_path):
    members = toy.federation((40, 64, 10, 30, 50))
    model = fl.dense_autoencoder(8)
    options = {"aggregator": aggregator, "progress": False, "seed": 3}
    whole = fl.fit(model, members, rounds=4, **options)
    path = tmp_path / "run.npz"
    fl.fit(model, members, rounds=2, checkpoint=path, **options)
    resumed = fl.fit(model, members, rounds=4, checkpoint=path, **options)
    assert torch.equal(fl.flatten(whole.model), fl.flatten(resumed.model))


def test_the_median_learns_where_the_mean_is_destroyed():
    members = ten_clients(differ=0.0)
    model = fl.dense_autoencoder(8, hidden=12, code=3)
    options = {"rounds": 10, "local": fl.SGD(0.05, batch_size=16), "progress": False}
    bad = ("bank 1", "bank 6", "bank 9")
    found = {}
    for name, inner in {"mean": fl.Mean(), "median": CoordinateMedian()}.items():
        run = fl.fit(model, members, aggregator=Attacked(inner, SignFlip(10), bad), **options)
        found[name] = run.history.loss[-1] / run.history.loss[0]
    assert found["median"] < 0.8 and found["mean"] > 1
