"""Our accountant against dp-accounting, Opacus, closed forms and itself."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedlab_utils.errors import FedlabError
from fedlab_utils.privacy.dp import (
    Release,
    attack_bound,
    epsilon_spent,
    gaussian_delta,
    gaussian_epsilon,
    gaussian_noise,
    noise_for_epsilon,
    rdp,
    rdp_to_epsilon,
)
from fedlab_utils.privacy.dp.accounting import (
    ORDERS,
    _log_moments_by_integral,
    _log_moments_by_sum,
)

WHOLE = tuple(int(a) for a in ORDERS if a == int(a))


def theirs(noise, rate, steps, orders=None):
    from dp_accounting import dp_event
    from dp_accounting.rdp import RdpAccountant

    accountant = RdpAccountant(orders)
    event = dp_event.PoissonSampledDpEvent(rate, dp_event.GaussianDpEvent(noise))
    accountant.compose(event, steps)
    return accountant


@pytest.mark.parametrize("steps", [1, 30, 3000])
@pytest.mark.parametrize("noise", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("rate", [1e-3, 0.03, 0.3, 1.0])
def test_epsilon_equals_that_of_dp_accounting_at_whole_orders(rate, noise, steps):
    whole = np.isin(ORDERS, WHOLE)
    ours = np.where(whole, steps * rdp(noise, rate), np.inf)
    for delta in (1e-3, 1e-6):
        expected = theirs(noise, rate, steps, WHOLE).get_epsilon(delta)
        assert rdp_to_epsilon(ours, delta)[0] == pytest.approx(expected, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(
    "noise, rate, steps", [(1.0, 0.01, 1000), (0.8, 0.02, 100), (2.0, 0.1, 100), (4.0, 1.0, 20)]
)
def test_epsilon_equals_that_of_dp_accounting(noise, rate, steps):
    """With all orders, where the best order is not a very small one.

    At orders that are not whole, dp-accounting 0.6 adds up the terms of an alternating series
    without their signs: its divergence is then an upper bound, far too large at orders near 1.
    """
    for delta in (1e-3, 1e-6):
        expected = theirs(noise, rate, steps).get_epsilon(delta)
        ours = epsilon_spent(Release(noise, rate, steps), delta)
        assert ours == pytest.approx(expected, rel=1e-3)


def test_divergence_is_what_the_definition_says_at_small_orders():
    z = np.linspace(-60, 80, 400_001)
    for noise, rate in ((2.0, 0.3), (0.7, 0.05)):
        q = np.exp(-(z**2) / (2 * noise**2))
        ratio = 1 - rate + rate * np.exp((2 * z - 1) / (2 * noise**2))
        ours = rdp(noise, rate)
        for order in (1.1, 1.5, 2.0, 3.7):
            moment = (q * ratio**order).sum() / q.sum()
            expected = math.log(moment) / (order - 1)
            assert ours[ORDERS.index(order)] == pytest.approx(expected, rel=1e-9)
        assert (np.diff(ours) > 0).all()  # divergence grows with the order


def test_epsilon_equals_that_of_opacus():
    from opacus.accountants import RDPAccountant

    for noise, rate, steps in ((0.8, 0.02, 500), (1.3, 0.1, 200), (0.5, 0.1, 2000)):
        accountant = RDPAccountant()
        accountant.history = [(noise, rate, steps)]
        assert epsilon_spent(Release(noise, rate, steps), 1e-5) == pytest.approx(
            accountant.get_epsilon(1e-5), rel=1e-3
        )


@settings(max_examples=25, deadline=None)
@given(st.floats(0.3, 20), st.floats(1e-4, 0.99), st.integers(2, 40))
def test_sum_and_integral_agree_at_whole_orders(noise, rate, order):
    orders = np.array([float(order)])
    one, two = (f(orders, noise, rate) for f in (_log_moments_by_sum, _log_moments_by_integral))
    np.testing.assert_allclose(one, two, rtol=1e-7, atol=1e-13)


def test_pld_is_tighter_than_rdp_and_equals_the_exact_gaussian_without_sampling():
    release = Release(1.1, 0.05, 200)
    by_rdp, by_pld = (epsilon_spent(release, 1e-5, a) for a in ("rdp", "pld"))
    assert 0.7 * by_rdp < by_pld < by_rdp
    exact = gaussian_epsilon(4 / math.sqrt(16), 1e-5)
    assert epsilon_spent(Release(4.0, 1.0, 16), 1e-5, "pld") == pytest.approx(exact, rel=1e-3)
    assert epsilon_spent(Release(4.0, 1.0, 16), 1e-5, "rdp") > exact


def test_pld_without_the_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "dp_accounting", None)
    with pytest.raises(FedlabError, match="pip install dp-accounting"):
        epsilon_spent(Release(1.0), 1e-5, "pld")


@settings(max_examples=25, deadline=None)
@given(st.floats(0.05, 30), st.floats(1e-9, 0.2))
def test_gaussian_epsilon_noise_and_delta_are_inverse(epsilon, delta):
    noise = gaussian_noise(epsilon, delta)
    assert gaussian_delta(noise, epsilon) <= delta * (1 + 1e-9)
    assert gaussian_delta(noise, epsilon) == pytest.approx(delta, rel=1e-3)
    assert gaussian_epsilon(noise, delta) == pytest.approx(epsilon, rel=1e-4)


def test_gaussian_delta_is_what_the_definition_says():
    z = np.linspace(-30, 30, 2_000_001)
    for noise, epsilon in ((1.0, 1.0), (0.7, 3.0), (5.0, 0.1)):
        p, q = (np.exp(-((z - m) ** 2) / (2 * noise**2)) for m in (1, 0))
        worst = np.maximum(p - math.exp(epsilon) * q, 0).sum() / q.sum()
        assert gaussian_delta(noise, epsilon) == pytest.approx(worst, rel=1e-5)
    assert gaussian_epsilon(100.0, 0.5) == 0.0
    # The textbook formula is safe for epsilon <= 1 and wasteful.
    assert gaussian_noise(0.5, 1e-5) < math.sqrt(2 * math.log(1.25 / 1e-5)) / 0.5


@settings(max_examples=12, deadline=None)
@given(st.floats(0.1, 20), st.floats(0.001, 1), st.integers(1, 2000))
def test_noise_for_epsilon_is_enough_and_not_more(epsilon, rate, steps):
    noise = noise_for_epsilon(epsilon, 1e-5, rate, steps)
    spent = epsilon_spent(Release(noise, rate, steps), 1e-5)
    assert spent <= epsilon
    if noise > 0.011:
        assert epsilon_spent(Release(0.999 * noise, rate, steps), 1e-5) > epsilon * 0.999
    assert spent == pytest.approx(epsilon, rel=1e-3) or noise <= 0.011


def test_noise_for_epsilon_leaves_room_for_other_releases():
    scaler = Release(20.0, what="scaler")
    alone = noise_for_epsilon(2.0, 1e-5, 0.1, 100)
    noise = noise_for_epsilon(2.0, 1e-5, 0.1, 100, also=[scaler])
    assert noise > alone
    together = [Release(noise, 0.1, 100), scaler]
    assert epsilon_spent(together, 1e-5) == pytest.approx(2.0, rel=1e-4)
    by_pld = noise_for_epsilon(2.0, 1e-5, accountant="pld")
    assert by_pld == pytest.approx(gaussian_noise(2.0, 1e-5), rel=3e-3)
    with pytest.raises(FedlabError, match="nothing of 2 is left"):
        noise_for_epsilon(2.0, 1e-5, also=[Release(0.5)])
    with pytest.raises(FedlabError, match="no noise is large enough"):
        noise_for_epsilon(0.0001, 1e-12)


def test_epsilon_grows_with_steps_and_rate_and_falls_with_noise_and_delta():
    def spent(noise=1.0, rate=0.1, steps=100, delta=1e-5):
        return epsilon_spent(Release(noise, rate, steps), delta)

    assert spent(steps=101) > spent() > spent(rate=0.09) > spent(rate=0.09, noise=1.1)
    assert spent(delta=1e-4) < spent()
    assert spent(steps=0) == spent(rate=0.0) == epsilon_spent([], 1e-5) == 0.0
    assert spent(noise=0.0) == math.inf and np.isinf(rdp(0.0, 0.5)).all()
    assert (rdp(1.0, 0.0) == 0).all() and len(rdp(1.0)) == len(ORDERS)
    assert spent(noise=1e4, delta=0.1) == 0.0
    # twice half of the steps is all of them
    halves = [Release(1.0, 0.1, 50)] * 2
    assert epsilon_spent(halves, 1e-5) == pytest.approx(spent())


def test_the_package_has_the_names_it_lists():
    from fedlab_utils.privacy import dp

    assert dir(dp) == sorted(dp.__all__)
    assert all(getattr(dp, name) is not None for name in dp.__all__)
    with pytest.raises(AttributeError, match="no attribute 'magic'"):
        _ = dp.magic


def test_no_test_does_better_than_the_bound():
    """The best test of a Gaussian is a threshold; it touches the bound of its best epsilon."""
    from scipy.stats import norm

    noise, fpr = 1.0, 0.01
    tpr = norm.sf(norm.isf(fpr), loc=1 / noise)
    bounds = []
    for delta in np.geomspace(1e-8, 0.3, 60):
        epsilon = gaussian_epsilon(noise, float(delta))
        bounds.append(attack_bound(epsilon, float(delta), fpr))
        assert tpr <= bounds[-1]
    assert min(bounds) < 1.05 * tpr
    assert attack_bound(0.0, 0.0, 0.3) == pytest.approx(0.3)
    assert attack_bound(math.inf, 0.0, 0.3) == attack_bound(50.0, 0.0, 0.3) == 1.0


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: Release(-1.0), "noise_multiplier=-1"),
        (lambda: Release(1.0, 1.5), "rate=1.5"),
        (lambda: Release(1.0, 0.5, -1), "steps=-1"),
        (lambda: epsilon_spent(Release(1.0), 0.0), "delta=0.0"),
        (lambda: epsilon_spent(Release(1.0), 1e-5, "magic"), "'rdp' or 'pld'"),
        (lambda: gaussian_epsilon(1.0, 1.0), "delta"),
        (lambda: gaussian_noise(0.0, 1e-5), "epsilon"),
        (lambda: noise_for_epsilon(-1.0, 1e-5), "epsilon"),
        (lambda: attack_bound(1.0, 0.0, 2.0), "false_positive_rate"),
    ],
)
def test_settings_that_make_no_sense(call, message):
    with pytest.raises(FedlabError, match=message):
        call()
