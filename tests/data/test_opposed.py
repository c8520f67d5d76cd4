"""Clients that disagree about what is normal."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

import fedlab_utils as fl
from fedlab_utils.data.opposed import opposed_digits
from fedlab_utils.errors import DataError


def test_what_is_normal_here_is_odd_there():
    table = opposed_digits(clients=5, seed=3)
    bunch = load_digits()
    label = {row.tobytes(): digit for row, digit in zip(bunch.data, bunch.target, strict=True)}
    digit = np.array([label[row.astype(float).tobytes()] for row in table.x])
    group = np.array([(int(name.split()[1]) - 1) % 2 for name in table.key])
    np.testing.assert_array_equal(table.y, (digit >= 5) != (group == 1))
    assert len(table.x) == 1797 and len(set(table.key)) == 5
    assert 0.08 < table.y.mean() < 0.12
    assert set(table.kind[table.y]) == {f"digit {d}" for d in range(10)}
    assert set(table.kind[~table.y]) == {"normal"}
    sizes = np.unique(table.key, return_counts=True)[1]
    assert sizes.max() < 2 * sizes.min()


def test_groups_may_be_more_and_leave_digits_out():
    table = opposed_digits([(0,), (1,), (7,)], clients=3, strays=0.3, seed=1)
    assert len(table.x) == np.isin(load_digits().target, (0, 1, 7)).sum()
    federation = fl.make_federation(table, unseen=True)
    assert federation.names == ("client 1", "client 2")
    for client in federation.everyone:
        assert client.y_test.any() and len(client.x_train) > 20
    again = opposed_digits([(0,), (1,), (7,)], clients=3, strays=0.3, seed=1)
    np.testing.assert_array_equal(table.x, again.x)


@pytest.mark.parametrize(
    ("groups", "options", "message"),
    [
        (((0, 1), (1, 2)), {}, "disjoint"),
        (((0, 1),), {}, "two or more"),
        (((0, 1), (12,)), {}, "groups"),
        (((0, 1), (2, 3)), {"clients": 1}, "clients=1"),
        (((0, 1), (2, 3)), {"strays": 0}, "strays=0"),
    ],
)
def test_what_makes_no_sense_is_refused(groups, options, message):
    with pytest.raises(DataError, match=message):
        opposed_digits(groups, **options)
