"""Client, Federation, Table, federate, partitions and standardisation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fedlab_utils as fl
from fedlab_utils.data.standardise import Moments, federated_scaler
from fedlab_utils.errors import DataError


def client(name="bank 1", n=6, d=3, **changes):
    rng = np.random.default_rng(0)
    parts = {
        "x_train": rng.normal(size=(n, d)),
        "x_calibration": rng.normal(size=(2, d)),
        "x_test": rng.normal(size=(4, d)),
        "y_test": np.array([0, 0, 1, 0]),
        "kind_test": np.array(["normal", "normal", "point", "normal"]),
    }
    return fl.Client(name, **{**parts, **changes})


def table(n=400, d=4, keys=None, **changes):
    rng = np.random.default_rng(1)
    y = np.arange(n) % 10 == 0
    x = rng.normal(size=(n, d)).astype(np.float32)
    x[:, 0] = np.arange(n)  # tells rows apart
    key = None if keys is None else np.array(keys)[np.arange(n) % len(keys)]
    parts = {"x": x, "y": y, "features": tuple("abcd"[:d]), "key": key}
    return fl.Table("toy", **{**parts, **changes})


def ids(*arrays):
    return np.concatenate([a[:, 0] for a in arrays]).astype(int)


def test_a_client_without_training_rows_is_refused_by_name():
    with pytest.raises(DataError, match=r"'bank 7' has no training rows"):
        client("bank 7", x_train=np.empty((0, 3)))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_located(value):
    x = np.zeros((5, 3))
    x[3, 1] = value
    with pytest.raises(DataError, match=r"'bank 1', x_train: 1 value.*row 3.*column 1"):
        client(x_train=x)
    with pytest.raises(DataError, match=r"row 3, feature 'b'"):
        fl.Table("toy", x, np.zeros(5), ("a", "b", "c"))


def test_text_columns_are_refused():
    with pytest.raises(DataError, match="not numbers"):
        client(x_train=np.array([["a", "b", "c"]]))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"x_test": np.zeros((4, 2))}, "same features"),
        ({"y_test": np.array([0, 2, 0, 0])}, "0/False"),
        ({"y_test": np.array([0, 1])}, "equally long"),
    ],
)
def test_parts_of_a_client_must_fit(changes, message):
    with pytest.raises(DataError, match=message):
        client(**changes)


def test_a_federation_checks_names_and_features():
    with pytest.raises(DataError, match="no clients"):
        fl.Federation("toy", (), ("a",))
    with pytest.raises(DataError, match="two clients are named 'bank 1'"):
        fl.Federation("toy", (client(), client()), tuple("abc"))
    with pytest.raises(DataError, match="'bank 2' has rows of shape"):
        other = client("bank 2", d=2, x_calibration=np.zeros((1, 2)), x_test=np.zeros((4, 2)))
        fl.Federation("toy", (client(), other), tuple("abc"))
    with pytest.raises(DataError, match="4 features"):
        fl.Federation("toy", (client(),), tuple("abcd"))


def test_lookup_and_selection_by_name():
    federation = fl.Federation("toy", (client("a"), client("b")), tuple("xyz"), client("c"))
    assert federation["c"].name == "c" and len(federation) == 2
    assert federation.only(["b"]).names == ("b",)
    with pytest.raises(DataError, match=r"no client 'd'; it has a, b"):
        federation["d"]
    with pytest.raises(DataError, match="no client 'c'"):
        federation.only("c")  # the unseen client never takes part in training
    assert list(federation.describe().index) == ["a", "b", "c (unseen)"]
    assert "unseen 'c'" in repr(federation)


def test_pooling_keeps_every_row():
    federation = fl.make_federation(table(), fl.IID(4))
    pooled = federation.pooled()
    assert len(pooled.x_train) == federation.sizes.sum()
    assert len(federation.pooled_federation()) == 1
    every = np.sort(ids(pooled.x_train, pooled.x_calibration, pooled.x_test))
    assert np.array_equal(every, np.arange(400))


PARTITIONS = (fl.IID(5), fl.Quantity(5, 0.5), fl.Dirichlet(5, 0.5, clusters=4), fl.ByKey())


@pytest.mark.parametrize("partition", PARTITIONS, ids=lambda p: type(p).__name__)
def test_partitions_use_each_row_once_and_follow_the_seed(partition):
    data = table(keys=["x", "y", "z"])
    parts = partition(data, np.random.default_rng(3))
    assert np.array_equal(np.sort(np.concatenate(list(parts.values()))), np.arange(400))
    again = partition(data, np.random.default_rng(3))
    assert all(np.array_equal(parts[name], again[name]) for name in parts)


def test_by_key_keeps_keys_apart_and_needs_one():
    federation = fl.make_federation(table(keys=["oslo", "bern"]))
    assert federation.names == ("oslo", "bern")
    assert (ids(federation["oslo"].x_train) % 2 == 0).all()
    with pytest.raises(DataError, match="no client key"):
        fl.make_federation(table(), fl.ByKey())


def test_small_alpha_makes_clients_differ_more():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(6, 4)) * 20
    x = centres[np.arange(1200) % 6] + rng.normal(size=(1200, 4))
    data = fl.Table("modes", x, np.zeros(1200), tuple("abcd"))

    def spread(alpha):
        parts = fl.Dirichlet(6, alpha, clusters=6)(data, np.random.default_rng(1)).values()
        return np.std([x[p].mean(axis=0) for p in parts], axis=0).mean()

    assert spread(0.1) > 3 * spread(100.0)
    sizes = [len(p) for p in fl.Quantity(6, 0.2)(data, np.random.default_rng(1)).values()]
    assert max(sizes) > 5 * min(sizes) and min(sizes) >= 20


@pytest.mark.parametrize(
    "partition, message",
    [
        (fl.IID(0), "at least one client"),
        (fl.IID(500), "only 400 rows"),
        (fl.Quantity(5, -1.0), "positive"),
        (fl.Dirichlet(5, np.nan), "positive"),
        (fl.Quantity(30, 1.0, min_rows=20), "min_rows"),
        (fl.Dirichlet(30, 1.0, min_rows=20), "min_rows"),
        (fl.Dirichlet(5, 1.0, clusters=0), "clusters=0"),
        (fl.Dirichlet(12, 1e-4, clusters=2), "1,000 draws"),
    ],
)
def test_impossible_partitions_say_why(partition, message):
    with pytest.raises(DataError, match=message):
        fl.make_federation(table(), partition)


def test_anomalies_are_for_testing_only():
    federation = fl.make_federation(
        table(), fl.IID(4), test_fraction=0.5, calibration_fraction=0.25
    )
    for c in federation:
        assert (ids(c.x_train, c.x_calibration) % 10 != 0).all()
        assert np.array_equal(ids(c.x_test) % 10 == 0, c.y_test)
        assert set(c.kind_test) == {"anomaly", "normal"}
    assert sum(c.y_test.sum() for c in federation) == 40


def test_contamination_is_the_share_of_training_rows_and_leaves_the_test():
    federation = fl.make_federation(table(4000), fl.IID(2), contamination=0.1)
    for c in federation:
        share = (ids(c.x_train) % 10 == 0).mean()
        assert share == pytest.approx(0.1, abs=0.01)
        assert not np.intersect1d(ids(c.x_train, c.x_calibration), ids(c.x_test)).size
    with pytest.raises(DataError, match="smaller contamination"):
        fl.make_federation(table(), fl.IID(2), contamination=0.45)


def test_a_given_split_is_kept():
    split = np.array(["train", "calibration", "test", "test"])[np.arange(400) // 100]
    federation = fl.make_federation(table(split=split), fl.IID(2))
    for c in federation:
        assert (ids(c.x_train) < 100).all() and (ids(c.x_test) >= 200).all()
    contaminated = fl.make_federation(table(split=split), fl.IID(2), contamination=0.05)
    for c in contaminated:
        assert (ids(c.x_train) % 10 == 0).any() and (ids(c.x_train, c.x_calibration) < 200).all()
    with pytest.raises(DataError, match="split may hold only"):
        table(split=np.full(400, "validation"))


def test_one_row_per_client_still_trains():
    federation = fl.make_federation(table(20), fl.IID(9))
    assert (federation.sizes >= 1).all()


def test_unseen_client_is_held_out():
    federation = fl.make_federation(table(), fl.IID(4), unseen=True)
    assert len(federation) == 3 and federation.unseen.name == "client 4"
    assert fl.make_federation(table(), fl.IID(4), unseen="client 2").unseen.name == "client 2"
    with pytest.raises(DataError, match="not a client"):
        fl.make_federation(table(), fl.IID(4), unseen="client 9")
    with pytest.raises(DataError, match="cannot hold"):
        fl.make_federation(table(), fl.IID(1), unseen=True)


@pytest.mark.parametrize("share", ["test_fraction", "calibration_fraction", "contamination"])
@pytest.mark.parametrize("value", [-0.1, 1.0, np.nan])
def test_shares_out_of_range_are_named(share, value):
    with pytest.raises(DataError, match=share):
        fl.make_federation(table(), **{share: value})


def test_table_parts_must_fit():
    with pytest.raises(DataError, match="rows in x, but 3 in y"):
        fl.Table("toy", np.zeros((4, 2)), np.zeros(3), ("a", "b"))
    with pytest.raises(DataError, match="last axis"):
        fl.Table("toy", np.zeros((4, 2)), np.zeros(4), ("a",))


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=6),
    st.integers(0, 1000),
    st.floats(-100, 100),
    st.floats(0.1, 100),
)
def test_federated_moments_equal_pooled_ones(sizes, seed, mean, scale):
    rng = np.random.default_rng(seed)
    parts = [rng.normal(mean, scale, size=(n, 3)) for n in sizes]
    scaler = federated_scaler(parts)
    pooled = np.concatenate(parts)
    np.testing.assert_allclose(scaler.mean, pooled.mean(axis=0), rtol=1e-9, atol=1e-9)
    if len(pooled) > 1:
        np.testing.assert_allclose(scaler.std, pooled.std(axis=0), rtol=1e-4)


def test_constant_features_become_zero_and_one_row_is_no_error():
    x = np.full((7, 2), 1234.567)
    x[:, 1] = np.arange(7)
    scaled = federated_scaler([x[:3], x[3:]]).apply(x)
    assert np.abs(scaled[:, 0]).max() < 1e-6 and scaled[:, 1].std() == pytest.approx(1)
    assert np.array_equal(federated_scaler([x[:1]]).apply(x[:1]), np.zeros((1, 2)))


def test_moments_refuse_other_columns_and_emptiness():
    with pytest.raises(DataError, match="same columns"):
        Moments.of(np.ones((2, 3))) + Moments.of(np.ones((2, 4)))
    with pytest.raises(DataError, match="no rows"):
        Moments.of(np.ones((0, 3))).scaler()
    with pytest.raises(DataError, match="no clients"):
        federated_scaler([])
    with pytest.raises(DataError, match="made for 3"):
        federated_scaler([np.ones((2, 3))]).apply(np.ones((2, 4)))


def test_own_scaler_scales_each_client_and_the_unseen_one_by_itself():
    shifted = fl.make_federation(table(keys=["a", "b", "c"]), unseen=True)
    own = shifted.standardised("own")
    for c in own.everyone:
        np.testing.assert_allclose(c.x_train.mean(axis=0), 0, atol=1e-5)
    together = shifted.standardised()
    every = np.concatenate([c.x_train for c in together])
    np.testing.assert_allclose(every.std(axis=0), 1, atol=1e-4)
    assert abs(together.unseen.x_train.mean()) > 0
    with pytest.raises(DataError, match="unknown scaler"):
        shifted.standardised("robust")
