"""A common model behind each client's own scaler."""

from dataclasses import replace

import numpy as np
import pytest

import fedlab_utils as fl
from fedlab_utils.data.payments.currencies import MONEY, RATES, in_currencies
from fedlab_utils.data.payments.features import FEATURES
from fedlab_utils.errors import DataError
from fedlab_utils.federate.own_scale import own_scaled
from tests.federate.toy import of, rows


def shifted():
    """Three members and a newcomer on scales of their own."""
    parts = [(i + 1) * x + 3 * i for i, x in enumerate(rows((40, 64, 10, 30)))]
    raw = of(parts, unseen=True)
    none = {"y_test": [0] * 9, "kind_test": ["normal"] * 9}
    tested = [replace(c, x_test=c.x_train[:9], **none) for c in raw.everyone]
    return replace(raw, clients=tested[:-1], unseen=tested[-1])


def test_in_the_federations_units_it_scores_as_the_model_does_on_own_scales():
    """`load(..., scaler="own")` and this are two ways to one detector, the newcomer included."""
    raw, model = shifted(), fl.dense_autoencoder(8)
    common, own = raw.standardised(), raw.standardised("own")
    found = own_scaled(model, common)
    assert tuple(found) == ("bank 1", "bank 2", "bank 3", "bank 4")
    for client in own.everyone:
        expected = fl.reconstruction_error(model, client.x_test)
        given = found[client.name].score(common[client.name].x_test)
        np.testing.assert_allclose(given, expected, rtol=1e-3, atol=1e-6)


def test_a_change_of_units_changes_no_score():
    raw, model = shifted(), fl.dense_autoencoder(8)
    units = [replace(c, x_train=c.x_train * 7 - 2, x_test=c.x_test * 7 - 2) for c in raw]
    changed = replace(raw, clients=units)
    before, after = own_scaled(model, raw), own_scaled(model, changed)
    for client in raw:
        np.testing.assert_allclose(
            after[client.name].score(changed[client.name].x_test),
            before[client.name].score(client.x_test),
            rtol=1e-3,
        )


def test_with_one_client_own_and_federated_scaler_are_the_same():
    one = of(rows((50,)))
    np.testing.assert_array_equal(
        one.standardised().clients[0].x_train, one.standardised("own").clients[0].x_train
    )


def test_models_of_ones_own_are_used_and_a_newcomer_without_one_is_left_out():
    federation = shifted().standardised()
    models = {name: fl.dense_autoencoder(8, seed=i) for i, name in enumerate(federation.names)}
    found = own_scaled(models, federation)
    assert [found[name].model for name in found] == list(models.values())


def test_currencies_move_money_by_nearly_a_constant_and_leave_the_rest():
    raw = fl.load("payments", clients=6, customers=10, days=20, unseen=True, scaler=None)
    foreign = in_currencies(raw)
    rest = [i for i in range(len(FEATURES)) if i not in MONEY]
    assert {FEATURES[i] for i in MONEY} == {
        *("amount", "category_amount", "sum_1d", "sum_7d", "sum_30d"),
        *("mean_1d", "mean_7d", "mean_30d"),
    }
    pairs = zip(raw.everyone, foreign.everyone, (*RATES, RATES[0]), strict=True)
    for before, after, rate in pairs:
        amount = [c.x_train[:, FEATURES.index("amount")].astype(float) for c in (before, after)]
        np.testing.assert_allclose(np.expm1(amount[1]), rate * np.expm1(amount[0]), rtol=1e-4)
        np.testing.assert_array_equal(before.x_test[:, rest], after.x_test[:, rest])
        np.testing.assert_array_equal(before.y_test, after.y_test)
    same = in_currencies(raw, [1.0])
    np.testing.assert_allclose(same.pooled().x_test, raw.pooled().x_test, rtol=1e-5, atol=1e-6)
    with pytest.raises(DataError, match="rates"):
        in_currencies(raw, [1.0, -2.0])
    with pytest.raises(DataError, match="features of the payments"):
        in_currencies(shifted())
