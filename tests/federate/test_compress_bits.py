"""Bits, positions, common draws and the rotation: the parts of which codecs are made."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg, stats

from fedlab_utils.errors import FedlabError
from fedlab_utils.federate.compress import LloydMax, Rotated, draws, hadamard
from fedlab_utils.federate.compress import bits as b


@given(st.integers(1, 32), st.integers(1, 40), st.integers(0, 2**32))
@settings(max_examples=80, deadline=None)
def test_numbers_survive_packing_in_the_fewest_bytes(bits, count, seed):
    numbers = np.random.default_rng(seed).integers(0, 2**bits, size=(3, count))
    rows = b.pack(numbers, bits)
    assert rows.shape == (3, -(-count * bits // 8)) and rows.dtype == np.uint8
    np.testing.assert_array_equal(b.unpack(rows, bits, count), numbers)
    # The same by strings of digits.
    digits = "".join(f"{int(n):0{bits}b}" for n in numbers[1])
    digits += "0" * (-len(digits) % 8)
    assert bytes(rows[1]) == int(digits, 2).to_bytes(len(digits) // 8, "big")


@given(st.integers(1, 3000), st.floats(0, 1), st.integers(0, 2**32))
@settings(max_examples=80, deadline=None)
def test_positions_survive_and_cost_two_bits_over_the_logarithm(size, share, seed):
    count = max(1, round(share * size))
    rng = np.random.default_rng(seed)
    positions = np.stack([np.sort(rng.choice(size, count, replace=False)) for _ in range(2)])
    rows = b.pack_positions(positions, size)
    assert rows.shape == (2, b.positions_length(size, count))
    np.testing.assert_array_equal(b.unpack_positions(rows, size, count), positions)
    assert 8 * rows.shape[1] <= count * (2 + np.log2(size / count)) + 1 + 8


def test_damaged_positions_are_refused():
    positions = np.array([[3, 7, 90]])
    rows = b.pack_positions(positions, 100)
    for at in range(8 * rows.shape[1]):
        damaged = np.packbits(np.unpackbits(rows, axis=1) ^ (np.arange(8 * rows.shape[1]) == at))
        try:
            read = b.unpack_positions(damaged[None], 100, 3)
        except FedlabError:
            continue
        assert (np.diff(read) > 0).all() and read.max() < 100 and (read != positions).any()
    with pytest.raises(FedlabError, match="after its last number"):
        b.unpack(np.array([[0b10100001]], np.uint8), 3, 2)


def test_draws_are_fixed_numbers_and_look_uniform():
    seeds = np.arange(2000, dtype=np.uint64)
    # Part of the format: these must never change.
    one = np.array([7], dtype=np.uint64)
    assert draws.integers(one, draws.SUBSET, 2).tolist() == [[FIRST, SECOND]]
    u = draws.uniforms(seeds, 20)
    assert stats.kstest(u.ravel(), "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(u[:, 0], u[:, 1])[0, 1]) < 0.1
    assert abs(np.corrcoef(u[:-1, 0], u[1:, 0])[0, 1]) < 0.1  # neighbouring seeds
    s = draws.signs(seeds, 20)
    assert set(np.unique(s)) == {-1.0, 1.0} and abs(s.mean()) < 0.03
    counts = np.bincount(draws.subsets(seeds, 10, 3).ravel(), minlength=10)
    assert stats.chisquare(counts).pvalue > 1e-3 and counts.sum() == 6000
    assert draws.seed_of(1, "a") != draws.seed_of(1, "b") != draws.seed_of(11, "b")


FIRST, SECOND = 11278381511437956102, 17716545681467632064


@pytest.mark.parametrize("n", [1, 2, 8, 64])
def test_the_transform_is_hadamards_matrix_and_its_own_inverse(n):
    values = np.random.default_rng(n).normal(size=(3, 2, n))
    np.testing.assert_allclose(hadamard(values), values @ linalg.hadamard(n) / np.sqrt(n))
    np.testing.assert_allclose(hadamard(hadamard(values)), values)


def test_the_transform_needs_a_power_of_two():
    with pytest.raises(FedlabError, match="power of two"):
        hadamard(np.zeros((1, 6)))
    for block in (0, 1, 12):
        with pytest.raises(FedlabError, match=f"block={block} "):
            Rotated(block=block)
    with pytest.raises(FedlabError, match="rotation too"):
        Rotated(Rotated())


def test_a_rotation_keeps_lengths_turns_back_and_spreads():
    turn, seeds = Rotated(block=256), np.arange(20, dtype=np.uint64)
    values = np.zeros((20, 700))
    values[:, 5] = 10.0
    turned = turn.turn(values, seeds)
    assert turned.shape == (20, 768)
    np.testing.assert_allclose(np.linalg.norm(turned, axis=1), 10)
    np.testing.assert_allclose(np.abs(turned[:, :256]), 10 / 16)  # all of the block alike
    np.testing.assert_allclose(turn.turn_back(turned, 700, seeds), values, atol=1e-12)
    assert 2 < (turned[:, 0] > 0).sum() < 18  # each seed flips other signs


@pytest.mark.parametrize(
    ("bits", "words", "distortion"),
    # Max 1960, "Quantizing for minimum distortion", table I.
    [(1, [0.7980], 0.3634), (2, [0.4528, 1.510], 0.1175), (4, None, 0.009497)],
)
def test_the_codebook_is_that_of_max(bits, words, distortion):
    found = LloydMax(bits).words()
    if words:
        np.testing.assert_allclose(found[len(found) // 2 :], words, atol=5e-4)
    np.testing.assert_allclose(found, -found[::-1])
    x = stats.norm.ppf((np.arange(200_000) + 0.5) / 200_000)
    nearest = found[np.abs(x[:, None] - found).argmin(axis=1)]
    assert np.mean((x - nearest) ** 2) == pytest.approx(distortion, rel=2e-3)
