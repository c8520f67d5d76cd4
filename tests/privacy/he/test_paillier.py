"""The Paillier protocol: right sums, what the server holds, and every kind of wrong message."""

import numpy as np
import phe
import pytest

from fedlab_utils.errors import FedlabError
from fedlab_utils.privacy.he import (
    CiphertextError,
    FixedPoint,
    PaillierClient,
    PaillierKeyHolder,
    PaillierServer,
    Plan,
    RangeError,
)
from fedlab_utils.privacy.he.messages import pack, unpack

HALF = FixedPoint(limit=4.0, fraction_bits=20)


def encrypted(keys, updates, plan, encoding=HALF):
    return {
        name: PaillierClient(name, keys.public, encoding).encrypt(update, plan)
        for name, update in updates.items()
    }


@pytest.fixture
def messages(paillier_keys, updates, plan):
    return encrypted(paillier_keys, updates, plan)


@pytest.fixture
def server(paillier_keys, plan):
    return PaillierServer(paillier_keys.public, plan, HALF)


def reseal(message, header=None, blobs=None):
    """The same message with other fields, and a right checksum."""
    old, parts = unpack(message, "test", {})
    del old["lengths"]
    return pack({**old, **(header or {})}, parts if blobs is None else blobs(parts))


def test_the_sum_is_exact(paillier_keys, messages, server, updates, plan, wanted):
    for name, message in messages.items():
        server.receive(name, message)
    mean = paillier_keys.decrypt(server.aggregate(), plan, HALF)
    codes = {name: np.rint(u * 2.0**20).astype(int) for name, u in updates.items()}
    exact = sum(plan.weights[name] * code for name, code in codes.items())
    assert np.array_equal(mean, exact / (plan.total * 2.0**20))
    assert np.abs(mean - wanted).max() <= 2.0**-21


def test_who_stays_away_is_not_in_the_sum(paillier_keys, messages, server, updates, plan):
    server.receive("bank 2", messages["bank 2"])
    mean = paillier_keys.decrypt(server.aggregate(), plan, HALF)
    assert np.abs(mean - updates["bank 2"]).max() <= 2.0**-21


def test_a_weight_of_zero_does_not_count(paillier_keys, updates):
    plan = Plan(0, 100, {"bank 1": 5, "bank 2": 0})
    server = PaillierServer(paillier_keys.public, plan, HALF)
    for name, message in encrypted(paillier_keys, updates, plan).items():
        if name in plan.weights:
            server.receive(name, message)
    mean = paillier_keys.decrypt(server.aggregate(), plan, HALF)
    assert np.abs(mean - updates["bank 1"]).max() <= 2.0**-21


def test_no_update_no_sum(server):
    with pytest.raises(CiphertextError, match=r"round 3: no update has arrived"):
        server.aggregate()


def test_two_encryptions_of_one_update_share_nothing(paillier_keys, updates, plan):
    client = PaillierClient("bank 1", paillier_keys.public, HALF)
    one, two = (unpack(client.encrypt(updates["bank 1"], plan), "t", {})[1] for _ in range(2))
    assert not set(one) & set(two)
    assert len(one) * 512 < 4 * 4 * 100  # packed: far below 100 ciphertexts


def test_phe_encrypts_what_our_key_holder_reads(paillier_keys, plan, updates, server):
    """An oracle: ciphertexts made by phe under the same public modulus, in the same packing."""
    packing = HALF.packing(paillier_keys.public, plan)
    theirs = phe.PaillierPublicKey(int.from_bytes(paillier_keys.public, "big"))
    plaintexts = packing.pack(packing.encode(updates["bank 1"], "bank 1"))
    ciphertexts = [theirs.raw_encrypt(m) for m in plaintexts]
    blobs = [b"\0" + c.to_bytes((c.bit_length() + 7) // 8, "big") for c in ciphertexts]
    message = PaillierClient("bank 1", paillier_keys.public, HALF).encrypt(updates["bank 1"], plan)
    server.receive("bank 1", reseal(message, blobs=lambda _: blobs))
    mean = paillier_keys.decrypt(server.aggregate(), plan, HALF)
    assert np.abs(mean - updates["bank 1"]).max() <= 2.0**-21


def test_overflow_is_refused_before_anything_is_sent(paillier_keys, updates, plan):
    updates["bank 2"][7] = 4.5
    with pytest.raises(RangeError, match=r"bank 2: 1 of 100 .*±4, first 4.5 at position 7"):
        encrypted(paillier_keys, updates, plan)


def test_a_client_outside_the_plan_and_a_repeated_one(messages, server):
    with pytest.raises(CiphertextError, match=r"bank 9: takes no part in round 3"):
        server.receive("bank 9", messages["bank 1"])
    server.receive("bank 1", messages["bank 1"])
    with pytest.raises(CiphertextError, match=r"bank 1: has already sent"):
        server.receive("bank 1", messages["bank 1"])
    with pytest.raises(CiphertextError, match=r"bank 2: the message has client 'bank 1'"):
        server.receive("bank 2", messages["bank 1"])


def test_truncated_messages_and_ciphertexts(messages, server):
    with pytest.raises(CiphertextError, match=r"bank 1: the message .* truncated"):
        server.receive("bank 1", messages["bank 1"][:-40])
    for blobs in (lambda b: b[:-1], lambda b: [*b, b[0]]):
        with pytest.raises(CiphertextError, match=r"bank 1: sent \d+ ciphertexts, expected"):
            server.receive("bank 1", reseal(messages["bank 1"], blobs=blobs))
    for blobs in (
        lambda b: [b"", *b[1:]],
        lambda b: [b"\1" + b[0][1:], *b[1:]],
        lambda b: [b"\0" + b"\xff" * 512, *b[1:]],
    ):
        with pytest.raises(CiphertextError, match=r"^bank 1: "):
            server.receive("bank 1", reseal(messages["bank 1"], blobs=blobs))


def test_mixed_encodings_wrong_rounds_and_replays(paillier_keys, messages, updates, plan, server):
    other = encrypted(paillier_keys, updates, plan, FixedPoint(limit=4.0, fraction_bits=21))
    with pytest.raises(CiphertextError, match=r"bank 1: .*encoding.*Scales must not be mixed"):
        server.receive("bank 1", other["bank 1"])
    later = PaillierServer(paillier_keys.public, Plan(4, 100, plan.weights), HALF)
    with pytest.raises(CiphertextError, match=r"bank 1: the message has round 3, expected is 4"):
        later.receive("bank 1", messages["bank 1"])


def test_a_wrong_key_is_seen_by_its_name_or_by_what_it_decrypts_to(
    paillier_keys, messages, server, updates, plan
):
    # Another modulus of the same size; nobody needs its primes to encrypt.
    n = int.from_bytes(paillier_keys.public, "big") - 2
    wrong = PaillierClient("bank 1", n.to_bytes(256, "big"), HALF).encrypt(updates["bank 1"], plan)
    with pytest.raises(CiphertextError, match=r"bank 1: .*key.*another public key"):
        server.receive("bank 1", wrong)
    right, _ = unpack(messages["bank 1"], "t", {})
    server.receive("bank 1", reseal(wrong, header={"key": right["key"]}))
    with pytest.raises(CiphertextError, match=r"no packed sums"):
        paillier_keys.decrypt(server.aggregate(), plan, HALF)


def test_a_damaged_sum_is_refused(paillier_keys, messages, server, plan):
    server.receive("bank 1", messages["bank 1"])
    data = server.aggregate()
    with pytest.raises(CiphertextError, match=r"server: the message"):
        paillier_keys.decrypt(data[:-1], plan, HALF)
    with pytest.raises(CiphertextError, match=r"server: the sum cannot be decrypted"):
        paillier_keys.decrypt(reseal(data, blobs=lambda b: [b"\0"] * len(b)), plan, HALF)


def test_keys_that_are_none():
    with pytest.raises(FedlabError, match=r"floor is 2048"):
        PaillierKeyHolder(bits=1024)
    with pytest.raises(FedlabError, match=r"no Paillier public key"):
        PaillierClient("bank 1", b"\0" * 256, HALF).encrypt(np.zeros(2), Plan(0, 2, {"bank 1": 1}))
