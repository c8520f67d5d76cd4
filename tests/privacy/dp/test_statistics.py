"""A scaler and a threshold from noisy sums, and what a record pays for all of it."""

import numpy as np
import pytest

from fedlab_utils.data.standardise import federated_scaler
from fedlab_utils.detect.histogram import ScoreHistogram, federated_threshold, score_edges
from fedlab_utils.errors import DataError, FedlabError
from fedlab_utils.privacy.dp import Release, SystemNoise, private_scaler, private_threshold
from fedlab_utils.privacy.dp.statement import Guarantee, total_epsilon


def parts(sizes=(900, 2000, 100)):
    rng = np.random.default_rng(0)
    return [rng.normal([1.0, -3.0, 10.0], [1.0, 0.5, 4.0], (n, 3)) for n in sizes]


LOW, HIGH = np.array([-5.0, -7.0, -10.0]), np.array([7.0, 1.0, 30.0])


def test_the_scaler_is_the_federated_one_up_to_noise():
    exact = federated_scaler(parts())
    bare, _ = private_scaler(parts(), LOW, HIGH, 0.0)
    np.testing.assert_allclose(bare.mean, exact.mean, rtol=1e-9)
    np.testing.assert_allclose(bare.std, exact.std, rtol=1e-9)
    noisy, release = private_scaler(parts(), LOW, HIGH, 5.0, seed=1)
    np.testing.assert_allclose(noisy.mean, exact.mean, atol=0.5)
    np.testing.assert_allclose(noisy.std, exact.std, rtol=0.25)
    assert release == Release(5.0, what="scaler") and not np.array_equal(noisy.mean, exact.mean)
    again, _ = private_scaler(parts(), LOW, HIGH, 5.0, seed=1, noise=SystemNoise())
    assert not np.array_equal(noisy.mean, again.mean)


def test_a_row_moves_the_sums_by_no_more_than_the_sensitivity():
    """Counts are public; of the rest, a row far outside the bounds counts as one on them."""
    far = [np.full((1, 3), 1e9)]
    scaler, _ = private_scaler([parts()[0], *far], LOW, HIGH, 0.0)
    near, _ = private_scaler([parts()[0], HIGH[None]], LOW, HIGH, 0.0)
    np.testing.assert_allclose(scaler.mean, near.mean)
    unit = np.ones(3)  # the farthest row there is: all values and all squares are 1
    assert np.linalg.norm(np.concatenate([unit, unit**2])) == pytest.approx(np.sqrt(2 * 3))


def test_bad_bounds_and_too_much_noise_are_reported():
    with pytest.raises(DataError, match="low < high"):
        private_scaler(parts(), HIGH, LOW, 1.0)
    with pytest.raises(DataError, match="no clients"):
        private_scaler([], LOW, HIGH, 1.0)
    with pytest.raises(DataError, match="hides the variance"):
        private_scaler(parts((3, 4)), LOW, HIGH, 50.0, seed=3)


def test_the_threshold_is_the_federated_one_up_to_a_few_ranks():
    rng = np.random.default_rng(1)
    scores = [rng.lognormal(0, 1, n) for n in (4000, 3000, 5000)]
    edges = score_edges(0.05, 200, 12)
    histograms = [ScoreHistogram.of(s, edges) for s in scores]
    exact = federated_threshold(histograms, 0.05)
    almost, _ = private_threshold(histograms, 0.05, 1e-6)
    assert almost == exact
    noisy, release = private_threshold(histograms, 0.05, 3.0)
    assert np.mean(np.concatenate(scores) > noisy) == pytest.approx(0.05, abs=0.012)
    assert release == Release(3.0, what="threshold", rows="calibration")
    with pytest.raises(DataError, match="no histograms"):
        private_threshold([], 0.1, 1.0)
    with pytest.raises(DataError, match="same bins"):
        private_threshold([histograms[0], ScoreHistogram.of(scores[1])], 0.1, 1.0)
    with pytest.raises(DataError, match="above the last edge"):
        private_threshold([ScoreHistogram.of(scores[0], np.array([0.1, 0.2]))], 0.1, 1.0)
    with pytest.raises(FedlabError, match="noise_multiplier"):
        private_threshold(histograms, 0.1, 0.0)


def test_a_record_pays_for_its_own_rows_only_and_a_client_for_all():
    training, scaler = Release(1.0, 0.1, 100), Release(8.0, what="scaler")
    threshold = Release(3.0, what="threshold", rows="calibration")
    everything = (training, scaler, threshold)
    record = total_epsilon("record", everything, 1e-5)
    assert record == total_epsilon("record", (training, scaler), 1e-5)
    assert total_epsilon("client", everything, 1e-5) > record
    assert total_epsilon("record", (threshold,), 1e-5) < record
    assert total_epsilon("record", (), 1e-5) == 0
    told = Guarantee("record", "rows", "all", "nobody", 4, everything, 1e-5)
    assert told.epsilon == record and told.included == ("training", "scaler", "threshold")
    assert "the scaler;" not in told.text() and "the choice of settings" in told.text()
    with pytest.raises(FedlabError, match="unit"):
        total_epsilon("bank", everything, 1e-5)
