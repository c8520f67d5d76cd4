"""Both sources of noise have the right distributions; samples are Poisson samples."""

import numpy as np
import pytest

from fedlab_utils.privacy.dp import SeededNoise, SystemNoise, poisson_sample

SOURCES = [SeededNoise(), SystemNoise()]


@pytest.mark.parametrize("source", SOURCES, ids=str)
def test_normals_are_normal_and_uniforms_uniform(source):
    from scipy.stats import kstest

    stream = source.stream(1, 2, 3)
    normal = stream.normal((100, 200))
    assert normal.dtype == np.float32 and normal.shape == (100, 200)
    assert kstest(normal.ravel(), "norm").pvalue > 1e-6
    uniform = stream.uniform(20_000)
    assert kstest(uniform, "uniform").pvalue > 1e-6
    assert uniform.min() > 0 and uniform.max() <= 1
    assert abs(np.corrcoef(normal[:, :-1].ravel(), normal[:, 1:].ravel())[0, 1]) < 0.05


@pytest.mark.parametrize("source", SOURCES, ids=str)
@pytest.mark.parametrize("variance", [0.7, 40.0, 1e6])
def test_skellam_values_are_whole_and_have_the_right_moments(source, variance):
    values = source.stream(5).skellam(variance, (30_000,))
    assert values.dtype == np.int64
    assert abs(values.mean()) < 5 * (variance / 30_000) ** 0.5
    assert values.var() == pytest.approx(variance, rel=0.05)
    kurtosis = ((values - values.mean()) ** 4).mean() / values.var() ** 2 - 3
    assert kurtosis == pytest.approx(1 / variance, abs=0.35)


def test_a_seeded_stream_depends_on_its_key_alone_and_the_system_never_repeats():
    key = (2**63, 17, 4)
    assert np.array_equal(
        SeededNoise().stream(*key).normal((8,)), SeededNoise().stream(*key).normal((8,))
    )
    assert not np.array_equal(
        SeededNoise().stream(*key).normal((8,)), SeededNoise().stream(2**63, 17, 5).normal((8,))
    )
    assert len(SeededNoise().stream(-1).normal((8,))) == 8
    # Rows come one after the other: how many are drawn at once does not matter.
    at_once, stream = SeededNoise().stream(9).normal((6, 16)), SeededNoise().stream(9)
    assert np.array_equal(at_once, np.concatenate([stream.normal((k, 16)) for k in (1, 3, 2)]))
    assert not np.array_equal(
        SystemNoise().stream(*key).normal((8,)), SystemNoise().stream(*key).normal((8,))
    )
    assert repr(SystemNoise()) != repr(SeededNoise())


@pytest.mark.parametrize("rate", [0.003, 0.2, 0.9])
def test_each_row_is_taken_by_its_own_coin(rate):
    from scipy.stats import chisquare

    rows, steps = 40, 5000
    batches = poisson_sample(SeededNoise().stream(3), rate, rows, steps)
    assert len(batches) == steps
    for batch in batches[:200]:
        assert len(np.unique(batch)) == len(batch) and (np.diff(batch) > 0).all()
    table = np.zeros((steps, rows))
    for step, batch in enumerate(batches):
        table[step, batch] = 1
    assert chisquare(table.sum(axis=0)).pvalue > 1e-6
    counts = table.sum(axis=1)
    assert counts.mean() == pytest.approx(rate * rows, rel=0.1)
    assert counts.var() == pytest.approx(rows * rate * (1 - rate), rel=0.15)
    neighbours = np.corrcoef(table[:, :-1].ravel(), table[:, 1:].ravel())[0, 1]
    assert abs(neighbours) < 0.02


def test_samples_may_be_empty_or_everything():
    stream = SeededNoise().stream(0)
    assert [len(b) for b in poisson_sample(stream, 1.0, 4, 3)] == [4, 4, 4]
    tiny = poisson_sample(stream, 1e-12, 5, 4)
    assert [len(b) for b in tiny] == [0, 0, 0, 0]
    assert [b.tolist() for b in poisson_sample(stream, 0.999999, 3, 1)] == [[0, 1, 2]]
