"""Clients with few digits, and digits as images."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fedlab_utils as fl
from fedlab_utils.data import bundled
from fedlab_utils.data.groups import FewGroups
from fedlab_utils.data.table import Table
from fedlab_utils.errors import DataError

DIGITS = bundled.digits(anomaly=8)


@given(st.integers(1, 20), st.integers(1, 9), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_every_row_has_one_owner_and_every_client_few_digits(clients, each, seed):
    if clients * each < 9:
        with pytest.raises(DataError, match="leave some"):
            FewGroups(clients, each)(DIGITS, np.random.default_rng(seed))
        return
    parts = FewGroups(clients, each)(DIGITS, np.random.default_rng(seed))
    assert len(parts) == clients
    np.testing.assert_array_equal(np.sort(np.concatenate(list(parts.values()))), np.arange(1797))
    anomalies = [DIGITS.y[rows].sum() for rows in parts.values()]
    assert max(anomalies) - min(anomalies) <= 1
    for rows in parts.values():
        assert len(set(DIGITS.group[rows][~DIGITS.y[rows]])) == each
    owners = [
        sum(bool((DIGITS.group[rows] == digit).any()) for rows in parts.values())
        for digit in "012345679"
    ]
    assert min(owners) >= 1 and max(owners) - min(owners) <= max(1, each)


def test_bad_settings():
    rng = np.random.default_rng(0)
    with pytest.raises(DataError, match="each=0"):
        FewGroups(3, 0)(DIGITS, rng)
    with pytest.raises(DataError, match="each=10"):
        FewGroups(3, 10)(DIGITS, rng)
    with pytest.raises(DataError, match="Dirichlet"):
        FewGroups()(bundled.shuttle(), rng)
    with pytest.raises(DataError, match="in group"):
        Table("t", np.zeros((3, 1)), np.zeros(3), ("a",), group=np.array(["a"]))


def test_images_hold_the_same_pixels_in_their_places():
    images = bundled.digits(anomaly=8, images=True)
    assert images.x.shape == (1797, 8, 8, 1) and images.features == ("ink",)
    np.testing.assert_array_equal(images.x.reshape(-1, 64), DIGITS.x)
    np.testing.assert_array_equal(images.kind == "digit 8", images.group == "8")
    federation = fl.load("digits", images=True, partition=FewGroups(9, 3), seed=2)
    assert "8 x 8 x 1 features" in repr(federation) and len(federation) == 9
    rows = federation.pooled().x_train
    assert abs(rows.mean()) < 1e-5 and rows.std() == pytest.approx(1, abs=1e-4)
