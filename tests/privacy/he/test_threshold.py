"""Threshold decryption: any t of l, nothing below, and false parts are named."""

from dataclasses import replace
from itertools import combinations

import pytest

from fedlab_utils.errors import FedlabError
from fedlab_utils.privacy.he import CiphertextError, combine, deal

NAMES = ("bank 1", "bank 2", "bank 3", "bank 4")


@pytest.fixture(scope="module")
def dealt():
    return deal(128, NAMES, threshold=3)


def test_every_large_enough_group_decrypts_a_sum(dealt):
    key, holders = dealt
    c = key.public.add(key.public.encrypt(40), key.public.multiply(key.public.encrypt(1), 2))
    parts = [holder.partial(c) for holder in holders]
    for k in (3, 4):
        for group in combinations(parts, k):
            assert combine(key, c, group) == 42
    assert combine(key, c, parts[::-1]) == 42


def test_large_and_zero_plaintexts(dealt):
    key, holders = dealt
    for m in (0, key.public.n - 1):
        c = key.public.encrypt(m)
        assert combine(key, c, [h.partial(c) for h in holders[1:]]) == m


@pytest.mark.parametrize("threshold", [1, 2])
def test_other_thresholds(threshold):
    key, holders = deal(96, NAMES[:2], threshold)
    c = key.public.encrypt(5)
    assert combine(key, c, [h.partial(c) for h in holders[:threshold]]) == 5


def test_too_few_repeated_and_unknown_parts_are_refused(dealt):
    key, holders = dealt
    c = key.public.encrypt(1)
    a, b, d, _ = (holder.partial(c) for holder in holders)
    with pytest.raises(CiphertextError, match=r"2 parts .* 3 are needed"):
        combine(key, c, [a, b])
    with pytest.raises(CiphertextError, match=r"bank 2: sent more than one"):
        combine(key, c, [a, b, b])
    with pytest.raises(CiphertextError, match=r"bank 9: holds no share"):
        combine(key, c, [a, b, replace(d, holder="bank 9")])


def test_two_shares_do_not_give_the_plaintext(dealt):
    """Without the check, Lagrange's formula over too few points gives something else."""
    key, holders = dealt
    c = key.public.encrypt(42)
    parts = [holder.partial(c) for holder in holders[:2]]
    assert combine(replace(key, threshold=2), c, parts) != 42


def test_false_parts_are_named(dealt):
    key, holders = dealt
    c, other = key.public.encrypt(1), key.public.encrypt(1)
    a, b, d, _ = (holder.partial(c) for holder in holders)
    false = [
        replace(d, value=d.value * 4 % key.public.square),
        replace(d, response=d.response + 1),
        replace(d, challenge=d.challenge ^ 1),
        replace(d, holder="bank 4"),
        holders[2].partial(other),
    ]
    for part in false:
        with pytest.raises(CiphertextError, match=rf"^{part.holder}: this part does not come"):
            combine(key, c, [a, b, part])
    with pytest.raises(CiphertextError, match=r"bank 3: this number is no ciphertext"):
        combine(key, c, [a, b, replace(d, value=0)])
    with pytest.raises(CiphertextError, match=r"ciphertext: this number"):
        holders[0].partial(0)


@pytest.mark.parametrize("options", [(NAMES, 0), (NAMES, 5), (("a", "a"), 1)])
def test_settings_without_sense_are_refused(options):
    with pytest.raises(FedlabError, match=r"deal: threshold"):
        deal(96, *options)
