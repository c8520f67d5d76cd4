"""Secure sums of groups with a robust aggregator over them."""

import pytest
import torch

import fedlab_utils as fl
from fedlab_utils.attacks import Attacked, Scaling
from fedlab_utils.errors import FedlabError
from fedlab_utils.federate.aggregators import RoundContext
from fedlab_utils.federate.bounded import CentredClip
from fedlab_utils.federate.robust import CoordinateMedian
from fedlab_utils.privacy.secure import SecureGroups, SecureMean


def context(clients: int, round_: int = 0) -> RoundContext:
    names = tuple(f"bank {i}" for i in range(1, clients + 1))
    return RoundContext(seed=5, round=round_, clients=names, population=clients)


def some(clients: int, size: int = 12):
    draw = torch.Generator().manual_seed(clients)
    rows = torch.randint(1, 500, (clients,), generator=draw).float()
    return torch.randn(clients, size, generator=draw), rows


@pytest.mark.parametrize("weighted", [True, False])
def test_it_is_the_median_of_the_groups_means(weighted):
    updates, rows = some(11)
    groups = SecureGroups(3, secure=SecureMean(weighted=weighted, fraction_bits=16))
    members = groups.members(context(11))
    assert sorted(int(i) for group in members for i in group) == list(range(11))
    assert [len(group) for group in members] == [4, 4, 3]
    plain = fl.Mean(weighted=weighted)
    means = torch.stack([plain.aggregate(updates[g], rows[g]) for g in members])
    wanted = CoordinateMedian().aggregate(means, torch.ones(3))
    got = groups.aggregate_round(updates, rows, {}, context(11))
    torch.testing.assert_close(got.update, wanted, atol=1e-4, rtol=0)
    assert got.bytes_up > 11 * 4 * 12 and got.bytes_down > 11 * 4 * 12


def test_with_the_mean_of_groups_it_is_the_mean_of_all():
    updates, rows = some(10)
    got = SecureGroups(3, inner=fl.Mean()).aggregate_round(updates, rows, {}, context(10))
    torch.testing.assert_close(got.update, fl.Mean().aggregate(updates, rows), atol=1e-4, rtol=0)
    even = SecureGroups(5, inner=fl.Mean(), secure=SecureMean(weighted=False, fraction_bits=20))
    got = even.aggregate_round(updates, rows, {}, context(10))
    torch.testing.assert_close(got.update, updates.mean(dim=0), atol=1e-4, rtol=0)


def test_attackers_in_fewer_than_half_of_the_groups_do_no_harm():
    updates, rows = some(10)
    limit = 2 * float(updates.abs().max())
    for names, harmed in ((("bank 1", "bank 7"), False), (context(10).clients[:6], True)):
        secure = SecureGroups(5, secure=SecureMean(bits=64))
        attacked = Attacked(secure, Scaling(1e4), names)
        got = attacked.aggregate_round(updates, rows, attacked.start(12), context(10)).update
        assert (float(got.abs().max()) > limit) == harmed


def test_groups_stay_or_are_drawn_anew():
    def groups(reshuffle):
        aggregator = SecureGroups(4, reshuffle=reshuffle)
        return [[g.tolist() for g in aggregator.members(context(12, r))] for r in (0, 1)]

    one, two = groups(False)
    assert one == two
    one, two = groups(True)
    assert one != two


def test_the_inner_memory_is_kept_and_nobody_changes_nothing():
    updates, rows = some(8)
    groups = SecureGroups(2, inner=CentredClip(1.0))
    done = groups.aggregate_round(updates, rows, groups.start(12), context(8))
    assert torch.equal(done.state["centre"], done.update)
    empty = SecureGroups(2).aggregate_round(torch.empty(0, 5), torch.empty(0), {}, context(0))
    assert not empty.update.any() and empty.bytes_up == empty.bytes_down == 0


def test_groups_of_one_are_refused():
    updates, rows = some(7)
    with pytest.raises(FedlabError, match="7 clients cannot fill 4 groups"):
        SecureGroups(4).aggregate_round(updates, rows, {}, context(7))
    for wrong in (0, 1.5):
        with pytest.raises(FedlabError, match="whole number"):
            SecureGroups(wrong)
