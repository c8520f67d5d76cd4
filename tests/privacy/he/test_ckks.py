"""The CKKS protocol: sums within the stated error, no secret at the server, wrong messages."""

import numpy as np
import pytest
import tenseal as ts

from fedlab_utils.errors import FedlabError
from fedlab_utils.privacy.he import (
    SUM,
    SUM_AND_SCALE,
    CiphertextError,
    CKKSClient,
    CKKSKeyHolder,
    CKKSParameters,
    CKKSServer,
    Plan,
    RangeError,
)
from fedlab_utils.privacy.he.ckks_parameters import MAX_MODULUS_BITS
from fedlab_utils.privacy.he.messages import pack, unpack


@pytest.fixture
def messages(ckks_keys, updates, plan):
    return {n: CKKSClient(n, ckks_keys.public).encrypt(u, plan) for n, u in updates.items()}


@pytest.fixture
def server(ckks_keys, plan):
    return CKKSServer(ckks_keys.public, plan)


def reseal(message, header=None, blobs=None):
    old, parts = unpack(message, "test", {})
    del old["lengths"]
    return pack({**old, **(header or {})}, parts if blobs is None else blobs(parts))


@pytest.mark.parametrize(("parameters", "error"), [(SUM, 1e-8), (SUM_AND_SCALE, 1e-5)])
@pytest.mark.parametrize("size", [1, 2048, 5000])
def test_the_mean_is_right_within_the_error(parameters, error, size):
    keys = CKKSKeyHolder(parameters)
    plan = Plan(0, size, {"a": 3, "b": 1})
    x = np.random.default_rng(1).normal(scale=0.3, size=(2, size))
    server = CKKSServer(keys.public, plan)
    for name, update in zip("ab", x, strict=True):
        server.receive(name, CKKSClient(name, keys.public).encrypt(update, plan))
    mean = keys.decrypt(server.aggregate(), plan)
    assert mean.shape == (size,)
    assert np.abs(mean - (3 * x[0] + x[1]) / 4).max() < error


@pytest.mark.parametrize("parameters", [SUM, SUM_AND_SCALE])
def test_full_ciphertexts_are_at_most_twelve_times_plain(parameters):
    size = 4 * parameters.slots
    keys = CKKSKeyHolder(parameters)
    x = np.random.default_rng(0).normal(size=size)
    message = CKKSClient("a", keys.public).encrypt(x, Plan(0, size, {"a": 1}))
    assert len(message) <= 12 * 4 * size


def test_who_stays_away_is_not_in_the_sum(ckks_keys, messages, server, updates, plan):
    for name in ("bank 1", "bank 3"):
        server.receive(name, messages[name])
    wanted = (700 * updates["bank 1"] + updates["bank 3"]) / 701
    mean = ckks_keys.decrypt(server.aggregate(), plan)
    assert np.abs(mean - wanted).max() < 1e-7


def fields(data: bytes) -> dict[int, int]:
    """Lengths of the fields of a protocol-buffer message, by number."""

    def varint(at: int) -> tuple[int, int]:
        value = shift = 0
        while True:
            byte = data[at]
            value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
            if byte < 128:
                return value, at

    found, at = {}, 0
    while at < len(data):
        tag, at = varint(at)
        size, at = {0: lambda at: (0, varint(at)[1]), 1: lambda at: (8, at), 2: varint}[tag & 7](at)
        found[tag >> 3] = size
        at += size
    return found


def test_the_server_gets_no_secret_key(ckks_keys, plan):
    _, (public,) = unpack(ckks_keys.public, "key", {})
    assert not ts.context_from(public).is_private()
    assert not CKKSServer(ckks_keys.public, plan).holds_secret_key
    whole = ckks_keys._context.serialize(
        save_secret_key=True, save_galois_keys=False, save_relin_keys=False
    )
    only = ckks_keys._context.serialize(
        save_public_key=False, save_secret_key=True, save_galois_keys=False, save_relin_keys=False
    )
    (secret,) = fields(whole).keys() - fields(public).keys()
    assert fields(whole)[secret] > 10_000  # the secret key's field, absent from the public bytes
    tail = only[-fields(only)[secret] :]
    windows = [tail[i : i + 16] for i in range(200, len(tail) - 16, 16)]
    assert any(window in whole for window in windows)
    assert not any(window in public for window in windows)


def test_a_context_with_the_secret_key_is_refused(ckks_keys, plan):
    whole = ckks_keys._context.serialize(save_secret_key=True)
    leaked = reseal(ckks_keys.public, blobs=lambda _: [whole])
    for make in (lambda: CKKSServer(leaked, plan), lambda: CKKSClient("bank 1", leaked)):
        with pytest.raises(FedlabError, match=r"holds the secret key"):
            make()
    with pytest.raises(FedlabError, match=r"no CKKS public key"):
        CKKSServer(reseal(ckks_keys.public, blobs=lambda _: [b"abc"]), plan)


def test_overflow_is_refused(ckks_keys, updates, plan):
    client = CKKSClient("bank 2", ckks_keys.public)
    for bad in (2 * SUM.limit, np.nan):
        updates["bank 2"][5] = bad
        with pytest.raises(RangeError, match=r"bank 2: 1 of 100 .* at position 5"):
            client.encrypt(updates["bank 2"], plan)
    updates["bank 2"][:] = SUM.limit
    client.encrypt(updates["bank 2"], plan)


@pytest.mark.parametrize("parameters", [SUM, SUM_AND_SCALE])
def test_the_limit_itself_does_not_wrap(parameters):
    keys, plan = CKKSKeyHolder(parameters), Plan(0, 3000, {"a": 1, "b": 1})
    server = CKKSServer(keys.public, plan)
    for name in "ab":
        x = np.full(3000, -parameters.limit)
        server.receive(name, CKKSClient(name, keys.public).encrypt(x, plan))
    assert np.allclose(keys.decrypt(server.aggregate(), plan), -parameters.limit, rtol=1e-4)


def test_truncated_damaged_and_incomplete_messages(messages, server):
    message = messages["bank 1"]
    with pytest.raises(CiphertextError, match=r"bank 1: the message .* truncated"):
        server.receive("bank 1", message[:1000])
    for blobs in (lambda b: [b[0][:-100]], lambda b: [b""], lambda b: [b"abc"], lambda b: []):
        with pytest.raises(CiphertextError, match=r"^bank 1: "):
            server.receive("bank 1", reseal(message, blobs=blobs))


def test_mixed_scales_and_parameters(ckks_keys, messages, server, updates, plan):
    _, (public,) = unpack(ckks_keys.public, "key", {})
    context = ts.context_from(public)
    mixed = ts.ckks_vector(context, updates["bank 1"], scale=2.0**30).serialize()
    with pytest.raises(CiphertextError, match=r"bank 1: a ciphertext has scale .*not be mixed"):
        server.receive("bank 1", reseal(messages["bank 1"], blobs=lambda _: [mixed]))
    other = CKKSKeyHolder(SUM_AND_SCALE)
    foreign = CKKSClient("bank 1", other.public).encrypt(updates["bank 1"], plan)
    with pytest.raises(CiphertextError, match=r"bank 1: the message has key"):
        server.receive("bank 1", foreign)
    _, blobs = unpack(foreign, "t", {})
    with pytest.raises(CiphertextError, match=r"bank 1: a ciphertext does not belong"):
        server.receive("bank 1", reseal(messages["bank 1"], blobs=lambda _: blobs))


def test_a_wrong_key_is_seen_by_its_name_or_by_what_it_decrypts_to(
    ckks_keys, messages, server, updates, plan
):
    other = CKKSKeyHolder(SUM)
    wrong = CKKSClient("bank 1", other.public).encrypt(updates["bank 1"], plan)
    with pytest.raises(CiphertextError, match=r"bank 1: .*another public key"):
        server.receive("bank 1", wrong)
    right, _ = unpack(messages["bank 1"], "t", {})
    server.receive("bank 1", reseal(wrong, header={"key": right["key"]}))
    with pytest.raises(CiphertextError, match=r"no update can have"):
        ckks_keys.decrypt(server.aggregate(), plan)


def test_parameters_that_are_unsafe_or_leave_no_room():
    for degree, bits in MAX_MODULUS_BITS.items():
        with pytest.raises(FedlabError, match=r"below 128-bit security"):
            CKKSParameters(degree, (60, *[40] * 10), 30)
        assert bits == {4096: 109, 8192: 218, 16384: 438}[degree]
    with pytest.raises(FedlabError, match=r"degree=2048"):
        CKKSParameters(2048, (54,), 30)
    for moduli, scale in (((54,), 30), ((40, 40), 39), ((30, 25, 25, 29), 20)):
        with pytest.raises(FedlabError, match=r"give two primes, or three"):
            CKKSParameters(4096, moduli, scale)
    with pytest.raises(FedlabError, match=r"size of its own"):
        CKKSParameters(4096, (36, 36, 37), 30)
    assert (SUM.depth, SUM_AND_SCALE.depth, SUM.slots) == (0, 1, 2048)
