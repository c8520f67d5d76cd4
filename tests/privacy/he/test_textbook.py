"""The textbook version, against phe; both read each other's ciphertexts."""

import phe
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedlab_utils.errors import FedlabError
from fedlab_utils.privacy.he import CiphertextError
from fedlab_utils.privacy.he.textbook import PublicKey, generate, is_prime

KEY = generate(256)
PUBLIC = KEY.public
THEIRS = phe.PaillierPublicKey(PUBLIC.n)
THEIR_SECRET = phe.PaillierPrivateKey(THEIRS, KEY.p, KEY.q)
numbers = st.integers(0, PUBLIC.n - 1)


@settings(max_examples=30, deadline=None)
@given(a=numbers, b=numbers, k=st.integers(0, 2**40))
def test_sums_and_multiples_are_those_of_the_plaintexts_and_of_phe(a, b, k):
    c, d = PUBLIC.encrypt(a), THEIRS.raw_encrypt(b)
    assert (
        (KEY.decrypt(c), KEY.decrypt(d))
        == (a, b)
        == (
            THEIR_SECRET.raw_decrypt(c),
            THEIR_SECRET.raw_decrypt(d),
        )
    )
    total = PUBLIC.add(PUBLIC.multiply(c, k), d)
    assert KEY.decrypt(total) == THEIR_SECRET.raw_decrypt(total) == (k * a + b) % PUBLIC.n


def test_the_same_randomness_gives_the_same_ciphertext_as_phe():
    assert PUBLIC.encrypt(1234, r=5678) == THEIRS.raw_encrypt(1234, r_value=5678)
    assert PUBLIC.encrypt(1234) != PUBLIC.encrypt(1234)


def test_small_keys_by_hand():
    key = PublicKey(15)
    assert key.encrypt(7, r=2) == (1 + 7 * 15) * 2**15 % 225


def test_out_of_range_is_refused():
    for m in (-1, PUBLIC.n):
        with pytest.raises(FedlabError, match=r"wrap around"):
            PUBLIC.encrypt(m)
    for c in (0, PUBLIC.square, KEY.p):
        with pytest.raises(CiphertextError, match=r"no ciphertext"):
            KEY.decrypt(c)
    for bits in (62, 65):
        with pytest.raises(FedlabError, match=r"bits"):
            generate(bits)


def test_keys_have_full_length_and_safe_primes_are_safe():
    assert PUBLIC.n.bit_length() == 256
    safe = generate(96, safe=True)
    assert safe.public.n.bit_length() == 96
    assert all(is_prime(p) and is_prime((p - 1) // 2) for p in (safe.p, safe.q))


def test_primes():
    assert [n for n in range(60) if is_prime(n)] == [
        *(2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59)
    ]
    carmichael = (561, 41041, 2003 * 4003 * 6007, 2**61 - 2)
    assert not any(is_prime(n) for n in carmichael)
    assert is_prime(2**61 - 1) and is_prime(2**89 - 1) and not is_prime((2**61 - 1) ** 2)
