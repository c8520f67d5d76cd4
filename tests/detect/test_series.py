"""Simple detectors of a series, against plain loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedlab_utils import detect
from fedlab_utils.errors import DataError


@given(st.integers(1, 8), st.integers(1, 8), st.integers(1, 6), st.integers(0, 5), st.booleans())
def test_points_get_the_scores_of_their_windows(window, stride, n, spare, mean):
    stride = min(stride, window)
    scores = np.random.default_rng(n).normal(size=n)
    end = (n - 1) * stride + window
    how = "mean" if mean else "max"
    given_ = detect.point_scores(scores, window, stride, end + spare, how)
    for t in range(end):
        holds = [s for i, s in enumerate(scores) if i * stride <= t < i * stride + window]
        assert given_[t] == pytest.approx(np.mean(holds) if mean else max(holds))
    assert (given_[end:] == given_[end - 1]).all() and len(given_) == end + spare


@pytest.mark.parametrize(
    "scores, window, stride, points",
    [
        (np.ones(3), 4, 5, 20),
        (np.ones(3), 4, 2, 7),
        (np.ones(0), 4, 1, 9),
        (np.ones((2, 2)), 1, 1, 9),
    ],
)
def test_windows_must_fit_the_series(scores, window, stride, points):
    with pytest.raises(DataError, match="do not fit"):
        detect.point_scores(scores, window, stride, points)


def test_points_need_a_known_way():
    with pytest.raises(DataError, match="median"):
        detect.point_scores(np.ones(3), 4, 1, 6, "median")  # type: ignore[arg-type]


@given(st.lists(st.floats(-100, 100, width=32), min_size=3, max_size=40), st.integers(2, 12))
@settings(deadline=None)
def test_moving_zscore_looks_at_the_past_only(values, width):
    x = np.array(values)
    width = min(width, len(x))
    z = detect.moving_zscore(x, width)
    for t in range(2, len(x)):
        past = x[max(t - width, 0) : t]
        spread = max(past.std(), 1e-4 * x.std())
        if spread > 1e-3:
            assert z[t] == pytest.approx(abs(x[t] - past.mean()) / spread, rel=1e-3, abs=1e-6)
    assert (z[:2] == 0).all() and np.isfinite(z).all()


def test_moving_zscore_of_a_step():
    x = np.concatenate([np.tile([0.0, 1.0], 20), [9.0], np.tile([0.0, 1.0], 5)])
    z = detect.moving_zscore(x, 10)
    assert z.argmax() == 40 and z[40] == pytest.approx((9 - 0.5) / 0.5)
    # A large offset changes nothing.
    np.testing.assert_allclose(detect.moving_zscore(x + 1e6, 10), z, rtol=1e-6, atol=1e-6)
    assert not detect.moving_zscore(np.ones(9), 3).any()


def shape_of(w):
    spread = w.std()
    return (w - w.mean()) / spread if spread > 1e-9 else None


def distance(a, b):
    """The distance of two windows with mean 0 and deviation 1."""
    a, b = shape_of(a), shape_of(b)
    if a is None and b is None:
        return 0.0
    if a is None or b is None:
        return None
    return float(np.linalg.norm(a - b))


def brute_force(x, m, reference=None):
    windows = [x[i : i + m] for i in range(len(x) - m + 1)]
    others = windows if reference is None else [
        reference[i : i + m] for i in range(len(reference) - m + 1)
    ]  # fmt: skip
    result = []
    for i, w in enumerate(windows):
        best = np.inf
        for j, v in enumerate(others):
            if reference is None and abs(i - j) < max(m // 2, 1):
                continue
            d = distance(w, v)
            best = min(best, np.sqrt(m) if d is None else d)
        result.append(best)
    return np.array(result)


@given(st.integers(0, 10_000), st.integers(12, 40), st.integers(2, 8), st.booleans(), st.booleans())
@settings(max_examples=60, deadline=None)
def test_matrix_profile_equals_brute_force(seed, n, window, with_reference, flat):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    reference = rng.normal(size=n - 2) if with_reference else None
    if flat:
        x[: n // 2] = 3.0
        if reference is not None:
            reference[-window - 1 :] = -1.0
    profile = detect.matrix_profile(x, window, reference)
    np.testing.assert_allclose(profile, brute_force(x, window, reference), atol=1e-6)


def test_the_discord_is_the_odd_shape_and_not_the_odd_height():
    t = np.arange(1200)
    x = np.sin(2 * np.pi * t / 40) * np.where(t < 600, 1.0, 20.0) + np.where(t < 300, 0.0, 50.0)
    x[800:820] = x[800:820][::-1]
    x += 1e-3 * np.random.default_rng(0).normal(size=len(x))
    away = np.r_[0:220, 320:540, 620:1161]  # not the jumps at 300 and 600
    profile = detect.matrix_profile(x, 40)
    assert 760 <= away[profile[away].argmax()] <= 820
    assert detect.matrix_profile(x[900:], 40, x[:300]).max() < 1


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda x: detect.matrix_profile(x, 1), "2 to 20"),
        (lambda x: detect.matrix_profile(x, 21), "2 to 20"),
        (lambda x: detect.matrix_profile(x, 20), "no two windows"),
        (lambda x: detect.matrix_profile(x, 8, x[:5]), "2 to 5"),
        (lambda x: detect.matrix_profile(np.append(x, np.nan), 4), "finite"),
        (lambda x: detect.moving_zscore(x[:, None], 4), "finite numbers"),
        (lambda x: detect.moving_zscore(x, 1), "2 to 20"),
    ],
)
def test_series_that_do_not_fit_are_refused(call, message):
    with pytest.raises(DataError, match=message):
        call(np.arange(20.0))
