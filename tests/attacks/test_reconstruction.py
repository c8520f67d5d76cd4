"""Matching of recovered rows to true ones, and the baselines."""

import numpy as np
import pytest

from fedlab_utils.attacks import reconstruction_success
from fedlab_utils.errors import DataError


def test_rows_in_another_order_are_matched():
    true = np.random.default_rng(0).normal(size=(6, 4))
    order = np.array([3, 1, 0, 5, 4, 2])
    result = reconstruction_success(true, true[order] + 1e-3)
    assert np.array_equal(order[result.pairs], np.arange(6))
    assert result.recovered == 1 and result.rmse == pytest.approx(1e-3)
    assert np.isnan(result.rmse_reference) and np.isnan(result.recovered_reference)


def test_zeros_have_error_one_and_beat_nothing():
    true = np.random.default_rng(0).normal(size=(5, 3))
    result = reconstruction_success(true, np.zeros((5, 3)))
    assert np.allclose(result.errors, 1) and result.rmse == result.rmse_mean


def test_rows_without_a_partner_count_as_lost():
    true = np.eye(4)
    result = reconstruction_success(true, true[:1])
    assert list(result.pairs) == [0, -1, -1, -1] and list(result.errors) == [0, 1, 1, 1]
    assert result.recovered == 0.25
    assert reconstruction_success(true[:1], true).recovered == 1


def test_public_rows_are_a_fair_guess():
    rng = np.random.default_rng(0)
    true, public = rng.normal(size=(4, 5)), rng.normal(size=(200, 5))
    result = reconstruction_success(true, true, reference=public)
    assert 0.8 < result.rmse_reference < 2 and result.recovered_reference < 0.1
    assert result.rmse == 0 < result.rmse_mean
    own = reconstruction_success(true, true, reference=np.tile(true, (3, 1)), draws=200)
    assert 0.4 < own.recovered_reference < 1


@pytest.mark.parametrize(
    ("true", "recovered", "reference"),
    [
        (np.zeros((2, 3)), np.zeros((2, 4)), None),
        (np.zeros((0, 3)), np.zeros((2, 3)), None),
        (np.zeros((2, 3)), np.full((2, 3), np.nan), None),
        (np.zeros((2, 3)), np.zeros((2, 3)), np.zeros((1, 3))),
        (np.zeros((2, 3)), np.zeros((2, 3)), np.zeros((9, 2))),
    ],
)
def test_rows_that_do_not_fit_are_refused(true, recovered, reference):
    with pytest.raises(DataError):
        reconstruction_success(true, recovered, reference=reference)
