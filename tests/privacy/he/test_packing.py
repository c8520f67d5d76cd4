"""Packed sums are exact integer sums, and what has no room is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedlab_utils.errors import FedlabError
from fedlab_utils.privacy.he import CiphertextError, Packing, RangeError


@settings(max_examples=60, deadline=None)
@given(
    limit=st.sampled_from([0.5, 1.0, 3.7, 64.0]),
    bits=st.integers(1, 30),
    weights=st.lists(st.integers(0, 500), min_size=1, max_size=5).filter(any),
    size=st.integers(1, 70),
    room=st.integers(70, 700),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_weighted_sum_of_packed_integers_is_the_sum_of_the_numbers(
    limit, bits, weights, size, room, seed
):
    packing = Packing(limit, bits, sum(weights), room)
    rng = np.random.default_rng(seed)
    x = rng.uniform(-limit, limit, size=(len(weights), size))
    x[0, 0] = limit
    x[-1, -1] = -limit
    packed = [packing.pack(packing.encode(row, "bank")) for row in x]
    total = [sum(w * v for w, v in zip(weights, c, strict=True)) for c in zip(*packed, strict=True)]
    assert all(value.bit_length() <= room for value in total)
    rounded = np.rint(x * 2.0**bits).astype(np.int64)
    exact = (np.array(weights) @ rounded) / (sum(weights) * 2.0**bits)
    got = packing.decode(packing.unpack(total, size), sum(weights))
    assert np.array_equal(got, exact)
    mean = np.array(weights) @ x / sum(weights)
    assert np.abs(got - mean).max() <= 2.0 ** -(bits + 1) + 1e-12


def test_pack_puts_slots_side_by_side():
    packing = Packing(limit=1.0, fraction_bits=2, total_weight=1, plaintext_bits=12)
    assert (packing.offset, packing.slot_bits, packing.slots) == (4, 4, 3)
    codes = packing.encode(np.array([0.0, -1.0, 1.0, 0.25]), "bank")
    assert codes.tolist() == [4, 0, 8, 5]
    assert packing.pack(codes) == [0x408, 0x500]
    assert packing.unpack([0x408, 0x500], 4).tolist() == [4, 0, 8, 5]


@pytest.mark.parametrize("bad", [2.5, -2.5, np.nan, np.inf])
def test_numbers_out_of_range_are_refused_by_name(bad):
    packing = Packing(2.0, 8, 1, 64)
    with pytest.raises(RangeError, match=r"bank 7: 1 of 3 numbers .* at position 1"):
        packing.encode(np.array([0.0, bad, 2.0]), "bank 7")


@pytest.mark.parametrize(
    "options", [(0.0, 8, 1, 64), (1.0, 8, 0, 64), (1.0, 60, 9, 999), (1.0, 8, 1, 9)]
)
def test_packings_without_room_are_refused(options):
    with pytest.raises(FedlabError, match=r"Packing"):
        Packing(*options)


def test_what_no_sum_can_give_is_refused():
    packing = Packing(1.0, 2, 3, 40)
    for integers in ([-1], [1 << 40], [0, 0], []):
        with pytest.raises(CiphertextError, match=r"no packed sums"):
            packing.unpack(integers, 2)
    with pytest.raises(CiphertextError, match=r"does not follow the packing"):
        packing.decode(np.array([25]), 3)
    assert packing.decode(np.array([24]), 3).tolist() == [1.0]
