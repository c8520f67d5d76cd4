"""Fixed point, additive and Shamir sharing, the mask generator: what the protocol stands on."""

from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
import sympy
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fedlab_utils.errors import FedlabError
from fedlab_utils.privacy.secure import (
    FixedPoint,
    FixedPointOverflow,
    ShareError,
    additive,
    decode_weighted,
    encode_weighted,
    prg,
    shamir,
)

FORMATS = st.builds(
    lambda bits, fraction: FixedPoint(bits, min(fraction, bits - 2)),
    st.sampled_from((32, 64)),
    st.integers(0, 62),
)


@given(fixed=FORMATS, clients=st.integers(1, 50), data=st.data())
@settings(max_examples=80, deadline=None)
def test_sums_of_encoded_values_are_sums_of_rounded_values(fixed, clients, data):
    room = fixed.room(clients)
    parts = hnp.arrays(np.float64, (clients, 3), elements=st.floats(-1, 1))
    values = data.draw(parts) * room * (1 - 2.0**-50)  # at the very end float64 has gaps
    total = np.zeros(3, fixed.dtype)
    for row in values:
        total += fixed.encode(row, clients)
    exact = [
        sum(Fraction(round(Fraction(x) * 2**fixed.fraction_bits)) for x in values[:, j])
        for j in range(3)
    ]
    got = fixed.integers(total)
    # numpy rounds halves to even, as Python's round does for fractions
    assert [int(g) for g in got] == [int(e) for e in exact]


@given(fixed=FORMATS, clients=st.integers(1, 1000))
@settings(max_examples=80, deadline=None)
def test_the_largest_value_fits_for_every_client_and_the_next_does_not(fixed, clients):
    limit = fixed.limit(clients)
    assert limit * clients < 2 ** (fixed.bits - 1) <= (limit + 1) * clients + clients
    if limit < 2**52:  # beyond, float64 has gaps
        ends = np.array([-1.0, 1.0]) * fixed.room(clients)
        assert fixed.integers(fixed.encode(ends, clients)).tolist() == [-limit, limit]
        with pytest.raises(FixedPointOverflow):
            fixed.encode(np.array([fixed.room(clients) + fixed.step]), clients)


def test_overflow_says_who_where_how_far_and_what_to_do():
    values = np.array([0.0, -7.5, 900.0, 2.0])
    with pytest.raises(FixedPointOverflow) as error:
        FixedPoint(32, 20).encode(values, clients=10, who="bank 3")
    for part in ("bank 3", "900", "coordinate 2", "204.8", "1 of 4", "bits=64"):
        assert part in str(error.value)
    wide = FixedPoint(64, 20)
    assert np.array_equal(wide.decode(wide.encode(values, 10)), values)


def test_the_ends_of_the_64_bit_ring():
    fixed = FixedPoint(64, 0)
    with pytest.raises(FixedPointOverflow):
        fixed.encode(np.array([2.0**63]))
    below = np.nextafter(2.0**63, 0)
    assert fixed.integers(fixed.encode(np.array([below, -below]))).tolist() == [
        int(below),
        -int(below),
    ]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(bad):
    with pytest.raises(FedlabError, match=r"bank 1.*coordinate 1 is not a finite"):
        FixedPoint().encode(np.array([1.0, bad]), who="bank 1")


@pytest.mark.parametrize(("bits", "fraction"), [(16, 4), (32, 31), (32, -1), (64, 63)])
def test_formats_that_make_no_sense(bits, fraction):
    with pytest.raises(FedlabError):
        FixedPoint(bits, fraction)


def test_no_clients_no_room():
    with pytest.raises(FedlabError, match="at least one"):
        FixedPoint().limit(0)


@given(st.floats(1e-3, 1e6), st.integers(1, 500))
@settings(max_examples=50, deadline=None)
def test_fitting_is_the_finest_format_with_room(largest, clients):
    fixed = FixedPoint.fitting(largest, clients)
    assert largest <= fixed.room(clients)
    if fixed.fraction_bits < 30:
        assert largest > FixedPoint(32, fixed.fraction_bits + 1).room(clients)


def test_fitting_gives_up_with_an_error():
    with pytest.raises(FixedPointOverflow, match="bits=64"):
        FixedPoint.fitting(1e9, 10)


@given(data=st.data(), clients=st.integers(2, 8))
@settings(max_examples=40, deadline=None)
def test_weighted_mean_errs_by_half_a_step_per_client_over_the_weights(data, clients):
    rows = data.draw(st.lists(st.integers(0, 5000), min_size=clients, max_size=clients).filter(any))
    updates = data.draw(hnp.arrays(np.float64, (clients, 4), elements=st.floats(-2, 2)))
    fixed = FixedPoint(32, 12)
    total = sum(encode_weighted(u, n, fixed, clients) for u, n in zip(updates, rows, strict=True))
    mean, weight = decode_weighted(total, fixed)
    assert weight == sum(rows)
    exact = np.array(rows) @ updates / sum(rows)
    assert np.abs(mean - exact).max() <= clients * fixed.step / 2 / sum(rows) + 1e-12


@pytest.mark.parametrize("weight", [-1, 0.5, np.nan, np.inf])
def test_weights_are_whole_numbers(weight):
    with pytest.raises(FedlabError, match="bank 2: weight"):
        encode_weighted(np.zeros(2), weight, FixedPoint(), 2, "bank 2")


def test_a_weight_can_overflow_too():
    with pytest.raises(FixedPointOverflow, match=r"bank 2 \(weight\)"):
        encode_weighted(np.zeros(2), 2**31, FixedPoint(), 2, "bank 2")


def test_weights_of_zero_make_no_mean():
    total = encode_weighted(np.ones(2), 0, FixedPoint(), 2)
    with pytest.raises(FedlabError, match="no mean: all of them were zero"):
        decode_weighted(total, FixedPoint())


@pytest.mark.parametrize("clients", [1, 3, 7, 1000])
def test_the_sum_of_the_largest_64_bit_values_does_not_wrap(clients):
    fixed = FixedPoint(64, 0)
    largest = float(fixed.limit(clients))
    while int(largest) > fixed.limit(clients):
        with pytest.raises(FixedPointOverflow):
            fixed.encode(np.array([largest]), clients)
        largest = np.nextafter(largest, 0)
    one = fixed.encode(np.array([largest]), clients)
    assert fixed.integers(one * np.uint64(clients))[0] == clients * int(largest)


# Additive sharing


@given(
    parties=st.integers(2, 9),
    secret=st.one_of(
        hnp.arrays(np.uint32, st.integers(1, 20)), hnp.arrays(np.uint64, st.integers(1, 20))
    ),
)
@settings(max_examples=50, deadline=None)
def test_additive_shares_add_up_and_sums_of_shares_are_shares_of_sums(parties, secret):
    shares, others = additive.share(secret, parties), additive.share(secret[::-1], parties)
    assert shares.shape == (parties, *secret.shape) and shares.dtype == secret.dtype
    assert np.array_equal(additive.combine(shares), secret)
    assert np.array_equal(additive.combine(shares + others), secret + secret[::-1])


def test_additive_shares_refuse_one_party_and_other_types():
    with pytest.raises(ShareError, match="2 or more"):
        additive.share(np.zeros(3, np.uint32), 1)
    with pytest.raises(ShareError, match="int64"):
        additive.share(np.zeros(3, np.int64), 2)
    with pytest.raises(ShareError, match="float64"):
        additive.combine(np.zeros((2, 3)))


def uniformity(values: np.ndarray) -> float:
    """p-value of the hypothesis that all bytes of these integers are equally frequent."""
    from scipy.stats import chisquare

    return chisquare(np.bincount(values.view(np.uint8).ravel(), minlength=256)).pvalue


@pytest.mark.parametrize("dtype", [np.uint32, np.uint64])
def test_each_share_alone_is_uniform_though_the_secret_is_constant(dtype):
    for share in additive.share(np.full(50_000, 7, dtype), 3):
        assert uniformity(share) > 1e-6


# The mask generator


def test_the_stream_is_aes_256_in_counter_mode():
    key = bytes(range(32))
    cipher = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
    wanted = cipher.update(bytes(4 * 100_001))
    assert prg.stream(key, 100_001, np.uint32).astype("<u4").tobytes() == wanted
    assert prg.stream(key, 50_000, np.uint64).astype("<u8").tobytes() == wanted[:400_000]
    # FIPS 197, appendix C.3, by way of a counter that starts at zero: the block cipher itself.
    aes = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    block = aes.update(bytes.fromhex("00112233445566778899aabbccddeeff"))
    assert block.hex() == "8ea2b7ca516745bfeafc49904b496089"


@given(size=st.integers(1, 40_000), bits=st.sampled_from((32, 64)))
@settings(max_examples=20, deadline=None)
def test_adding_and_subtracting_a_mask_leaves_nothing(size, bits):
    vector = np.arange(size).astype(f"uint{bits}")
    start, key = vector.copy(), prg.fresh_key()
    prg.add_masks(vector, [(key, 1)])
    assert not np.array_equal(vector, start)
    prg.add_masks(vector, [(key, -1)])
    assert np.array_equal(vector, start)


def test_a_key_of_another_length_is_refused():
    with pytest.raises(FedlabError, match="32 bytes"):
        prg.stream(bytes(16), 3, np.uint32)


# Shamir's sharing


def test_the_modulus_is_the_smallest_prime_that_holds_every_key():
    assert sympy.nextprime(2**256) == shamir.PRIME
    assert (shamir.PRIME - 1).bit_length() <= 8 * shamir.SHARE_BYTES


@given(
    key=st.binary(min_size=32, max_size=32),
    holders=st.integers(1, 12),
    data=st.data(),
)
@settings(max_examples=40, deadline=None)
def test_any_threshold_of_shares_gives_the_key(key, holders, data):
    threshold = data.draw(st.integers(1, holders))
    points = data.draw(
        st.lists(st.integers(1, 10_000), min_size=holders, max_size=holders, unique=True)
    )
    shares = shamir.split_key(key, threshold, points)
    chosen = data.draw(st.permutations(points))[: data.draw(st.integers(threshold, holders))]
    assert shamir.join_key({x: shares[x] for x in chosen}, threshold) == key
    with pytest.raises(ShareError, match="too few"):
        shamir.join_key({x: shares[x] for x in points[: threshold - 1]}, threshold)


def test_fewer_shares_than_the_threshold_say_nothing():
    """In a small field: for two of three needed shares, every secret is equally possible."""
    prime, threshold = 7, 3
    for points in combinations(range(1, 5), 2):
        for seen in ((0, 0), (3, 5)):
            fits = {
                # The one polynomial of degree 2 through (0, secret) and the two shares seen.
                secret
                for secret in range(prime)
                for a in range(prime)
                for b in range(prime)
                if all(
                    (secret + a * x + b * x * x) % prime == y
                    for x, y in zip(points, seen, strict=True)
                )
            }
            assert fits == set(range(prime))
    assert shamir.join(shamir.split(5, threshold, range(1, 5), prime), threshold, prime) == 5


def test_sums_of_shamir_shares_are_shares_of_sums():
    p, points = 2**31 - 1, range(1, 6)
    one, two = shamir.split(1234, 3, points, p), shamir.split(p - 34, 3, points, p)
    both = {x: (one[x] + two[x]) % p for x in points}
    assert shamir.join(both, 3, p) == 1200


@pytest.mark.parametrize(
    ("secret", "threshold", "points"),
    [
        (-1, 2, (1, 2)),
        (shamir.PRIME, 2, (1, 2)),
        (1, 0, (1, 2)),
        (1, 3, (1, 2)),
        (1, 2, (0, 1)),
        (1, 2, (1, 1)),
    ],
)
def test_sharing_that_makes_no_sense(secret, threshold, points):
    with pytest.raises(ShareError):
        shamir.split(secret, threshold, points)


def test_keys_have_32_bytes_and_wrong_shares_may_show():
    with pytest.raises(ShareError, match="32 bytes"):
        shamir.split_key(b"short", 1, (1, 2))
    too_large = (shamir.PRIME - 1).to_bytes(33, "big")
    with pytest.raises(ShareError, match="do not fit"):
        shamir.join_key({1: too_large}, 1)
