"""Forests of many clients: unions, committees, common trees and noisy counts."""

import math
from dataclasses import replace

import numpy as np
import pytest

from fedlab_utils.data.federation import Client, Federation
from fedlab_utils.detect import (
    CommonTrees,
    CountNoise,
    RangeHistograms,
    add_counts,
    auc,
    committee,
    fixed_ranges,
    grow_common,
    grow_forest,
    grow_local,
    laplace_deviation,
    union,
)
from fedlab_utils.detect.forest_union import Committee
from fedlab_utils.errors import DataError, FedlabError
from fedlab_utils.privacy.secure import SecureMean


@pytest.fixture(scope="module")
def alike() -> Federation:
    """Five clients of the same distribution and of different sizes."""
    rng = np.random.default_rng(3)

    def client(k: int) -> Client:
        n = 200 + 150 * k
        y = np.arange(200) < 20
        x = rng.normal(size=(n + 100 + 200, 4)).astype(np.float32)
        x[-200:][y] *= 2.5
        kind = np.where(y, "far", "normal")
        return Client(f"client {k}", x[:n], x[n : n + 100], x[-200:], y, kind)

    return Federation("alike", tuple(client(k) for k in range(5)), tuple("abcd"))


def quality(detector: object, federation: Federation) -> float:
    test = federation.pooled()
    return auc(test.y_test, detector.score(test.x_test))  # type: ignore[attr-defined]


def central(federation: Federation) -> tuple[float, float]:
    """Mean and deviation of the central forest's AUC over seeds."""
    rows = federation.pooled().x_train
    values = [quality(grow_forest(rows, seed=s), federation) for s in range(4)]
    return float(np.mean(values)), float(np.std(values))


def test_all_variants_equal_the_central_forest_on_clients_that_are_alike(
    alike: Federation,
) -> None:
    wanted, spread = central(alike)
    forests = grow_local(alike, trees=20)
    variants = {
        "union": union(forests.values(), alike.sizes),
        "score": committee(forests, alike, "score"),
        "rank": committee(forests, alike, "rank"),
        "common": grow_common(alike, trees=100),
        "fixed": grow_common(alike, ranges=fixed_ranges(4)),
        "noisy": grow_common(
            alike, ranges=fixed_ranges(4), noise=CountNoise(4.0, 1e-5, 100, fewest=5)
        ),
    }
    for name, detector in variants.items():
        assert quality(detector, alike) > wanted - 4 * spread - 0.01, name
    # Votes are coarse: the rows below everybody's threshold are all tied.
    assert 0.6 < quality(committee(forests, alike, "alarm"), alike) < wanted + 0.01


def test_union_weighs_by_rows_and_takes_trees_of_any_depth(alike: Federation) -> None:
    data, test = alike.pooled().x_train, alike.pooled().x_test
    deep, flat = grow_forest(data, trees=7, seed=0), grow_forest(data, trees=3, sample=20, seed=1)
    both = union([deep, flat], [300, 100])
    assert both.trees == 10 and both.depth == 8
    assert np.allclose(both.weight, [0.75 / 7] * 7 + [0.25 / 3] * 3)
    # The exponent is the weighted mean of the parts' exponents.
    wanted = deep.score(test) ** 0.75 * flat.score(test) ** 0.25
    assert np.allclose(both.score(test), wanted, rtol=1e-12)
    assert np.allclose(union([deep]).score(test), deep.score(test), rtol=1e-14)


def test_union_and_committee_refuse_what_does_not_fit(alike: Federation) -> None:
    forest = grow_forest(alike.pooled().x_train, trees=2)
    with pytest.raises(DataError, match="no forests"):
        union([])
    with pytest.raises(DataError, match="different features"):
        union([forest, grow_forest(np.random.default_rng(0).normal(size=(9, 2)), trees=1)])
    with pytest.raises(DataError, match="1 positive numbers"):
        union([forest], [0])
    members = committee(grow_local(alike, trees=2), alike).members
    for wrong in ({"members": ()}, {"vote": "loud"}, {"alarm_rate": 1.0}):
        with pytest.raises(DataError):
            Committee(**{"members": members, **wrong})  # type: ignore[arg-type]


def test_committee_without_calibration_rows_ranks_by_training_rows(alike: Federation) -> None:
    bare = [replace(client, x_calibration=client.x_calibration[:0]) for client in alike]
    members = committee(grow_local(alike, trees=2), replace(alike, clients=bare)).members
    assert [m.reference.histogram.n for m in members] == list(alike.sizes)


def test_common_trees_do_not_know_the_rows(alike: Federation) -> None:
    trees = CommonTrees.draw(*fixed_ranges(4), trees=5, depth=4, seed=1)
    again = CommonTrees.draw(*fixed_ranges(4), trees=5, depth=4, seed=1)
    assert np.array_equal(trees.threshold, again.threshold)
    data = alike.pooled().x_train
    with_row, without = trees.counts(data), trees.counts(data[1:])
    difference = with_row - without
    assert difference.sum() == 5 and difference.max() == 1 and np.square(difference).sum() == 5
    assert (with_row.reshape(5, 16).sum(axis=1) == len(data)).all()
    parts = [trees.counts(client.x_train) for client in alike]
    assert np.array_equal(np.sum(parts, axis=0), with_row)


def test_thresholds_of_common_trees_lie_in_the_box_that_is_left() -> None:
    low, high = np.array([-1.0, 5.0, 2.0]), np.array([1.0, 9.0, 2.0])
    trees = CommonTrees.draw(low, high, trees=30, depth=5)
    assert set(np.unique(trees.feature)) == {0, 1}  # the third has no room for a cut
    for t in range(30):
        for node in range(1, 31):
            ends = np.stack([low, high])
            path, child = [], node
            while child:
                parent = (child - 1) // 2
                path.append((parent, child % 2))  # odd numbers are left children
                child = parent
            for parent, left in path[::-1]:
                ends[int(left), trees.feature[t, parent]] = trees.threshold[t, parent]
            f = trees.feature[t, node]
            assert ends[0, f] <= trees.threshold[t, node] <= ends[1, f]


def test_common_forest_depends_on_proportions_and_ends_where_few_rows_are() -> None:
    trees = CommonTrees.draw(np.array([0.0]), np.array([8.0]), trees=1, depth=3, seed=0)
    data = np.linspace(0, 8, 801)[:, None]
    one, ten = trees.forest(trees.counts(data)), trees.forest(10 * trees.counts(data))
    assert np.allclose(one.score(data), ten.score(data))
    inner, leaf = one.count[0, :7], one.count[0, 7:]
    assert one.count[0, 0] == 256 and np.isclose(leaf.sum(), 256)
    assert np.allclose(inner, one.count[0, 1:14:2] + one.count[0, 2:15:2])
    assert ((one.feature[0, :7] < 0) == (inner <= 1)).all()
    # One row of a thousand is less than one of 256: the tree ends above it.
    lonely = np.concatenate([np.full((999, 1), 0.01), [[7.99]]])
    forest = trees.forest(trees.counts(lonely))
    assert forest.path_lengths(np.array([[7.99]]))[0, 0] <= 3
    assert forest.score(np.array([[7.99]])) > forest.score(np.array([[0.01]]))


def test_only_sums_are_needed_and_a_secure_sum_gives_the_same_forest(alike: Federation) -> None:
    options = {"trees": 6, "depth": 5, "seed": 2}
    plain = grow_common(alike, **options)  # type: ignore[arg-type]
    secure = SecureMean(weighted=False, fraction_bits=0)
    hidden = grow_common(alike, aggregator=secure, **options)  # type: ignore[arg-type]
    assert np.allclose(plain.threshold, hidden.threshold, atol=1e-12)
    assert np.allclose(plain.count, hidden.count, rtol=1e-9)
    alone = grow_common(alike.pooled_federation(), **options)  # type: ignore[arg-type]
    assert np.allclose(plain.count, alone.count, rtol=1e-9)


def test_ranges_cover_all_but_the_tails(alike: Federation) -> None:
    data = alike.pooled().x_train
    histograms = RangeHistograms(width=5.0, bins=100)
    counts = np.sum([histograms.counts(client.x_train) for client in alike], axis=0)
    assert np.array_equal(counts, histograms.counts(data))
    assert counts.sum() == data.size
    low, high = histograms.ranges(counts, tail=0.01)
    assert (np.mean(data < low, axis=0) <= 0.01).all()
    assert (np.mean(data > high, axis=0) <= 0.01).all()
    inside = 0.1 + 1e-6  # a bin tighter, and too much would lie outside
    assert (np.mean(data <= low + inside, axis=0) > 0.01).all()
    assert (np.mean(data > high - inside, axis=0) > 0.01).all()
    # Values beyond the bins count at the end, and a constant feature gets its bin.
    odd = np.column_stack([np.full(50, 99.0), np.zeros(50)])
    low, high = histograms.ranges(histograms.counts(odd))
    assert np.allclose(high - low, 0.1) and high[0] == 5.0 and low[1] <= 0 <= high[1]


def test_bad_counts_and_ranges_are_named(alike: Federation) -> None:
    trees = CommonTrees.draw(*fixed_ranges(4), trees=2, depth=2)
    for wrong, match in (
        (lambda: fixed_ranges(3, 0.0), "width=0.0"),
        (lambda: RangeHistograms(bins=1), "bins=1"),
        (lambda: RangeHistograms().ranges(np.ones(7)), "d times 400"),
        (lambda: RangeHistograms(bins=2).ranges(np.ones(4), tail=0.5), "tail=0.5"),
        (lambda: RangeHistograms(bins=2).ranges(np.zeros(4)), "no counts"),
        (lambda: CommonTrees.draw(np.ones(2), np.ones(2)), "not all ="),
        (lambda: CommonTrees.draw(np.zeros(2), np.ones(2), depth=17), "depth=17"),
        (lambda: trees.forest(np.ones(7)), "expected 8 counts"),
        (lambda: trees.forest(np.zeros(8)), "add up to nothing"),
        (lambda: add_counts([np.ones(2), np.ones(3)], ["a", "b"]), "equally many"),
        (lambda: grow_common(alike, noise=CountNoise(1.0, 1e-5, 100)), "public ranges"),
    ):
        with pytest.raises(DataError, match=match):
            wrong()


def test_noise_is_enough_and_not_much_more() -> None:
    from fedlab_utils.privacy.dp.mechanisms import gaussian_noise

    noise = CountNoise(1.0, 1e-5, trees=100)
    exact = gaussian_noise(1.0, 1e-5) * math.sqrt(100)  # normal noise, the best possible
    assert exact < noise.deviation < 1.15 * exact
    assert CountNoise(2.0, 1e-5, trees=100).deviation < noise.deviation
    assert laplace_deviation(100, 1.0) == pytest.approx(141.42, abs=0.01)
    shares = replace(noise, fewest=10)
    zeros = [np.zeros(4000, dtype=np.int64)] * 10
    names = [f"client {k}" for k in range(10)]
    noisy = shares.add(zeros, names)
    assert all(np.issubdtype(message.dtype, np.integer) for message in noisy)
    assert np.std(np.sum(noisy, axis=0)) == pytest.approx(noise.deviation, rel=0.05)
    assert np.array_equal(noisy[3], shares.add(zeros, names)[3])
    assert not np.array_equal(noisy[3], noisy[4])
    assert not np.array_equal(noisy[3], shares.add(zeros, names, seed=1)[3])


def test_noise_refuses_what_makes_no_sense() -> None:
    with pytest.raises(FedlabError, match="shared out among 3"):
        CountNoise(1.0, 1e-5, 10, fewest=3).add([np.zeros(2)] * 2, ["a", "b"])
    for wrong in ({"epsilon": 0}, {"delta": 1.0}, {"trees": 0}, {"fewest": 0}):
        with pytest.raises(FedlabError):
            CountNoise(**{"epsilon": 1.0, "delta": 1e-5, "trees": 5, **wrong})
