"""Messages: damage, forged headers, plans."""

import hashlib
import struct

import pytest

from fedlab_utils.errors import FedlabError
from fedlab_utils.privacy.he import CiphertextError, Plan
from fedlab_utils.privacy.he.messages import pack, unpack


def signed(body: bytes) -> bytes:
    return body + hashlib.sha256(body).digest()[:16]


def test_there_and_back():
    data = pack({"round": 1}, [b"ab", b"", b"c"])
    header, blobs = unpack(data, "bank 1", {"round": 1})
    assert header["round"] == 1 and blobs == [b"ab", b"", b"c"]


def test_every_truncation_and_every_flipped_byte_is_found():
    data = pack({"round": 1}, [b"abc", b"d"])
    broken = [data[:i] for i in range(len(data))]
    broken += [data[:i] + bytes([data[i] ^ 1]) + data[i + 1 :] for i in range(len(data))]
    for bad in broken:
        with pytest.raises(CiphertextError, match=r"^bank 1: "):
            unpack(bad, "bank 1", {})


@pytest.mark.parametrize(
    "body",
    [
        b"FLHE1",
        b"FLHE1" + struct.pack(">I", 3) + b"{x}",
        b"FLHE1" + struct.pack(">I", 2) + b"{}",
        b"FLHE1" + struct.pack(">I", 2) + b"[]",
        b"FLHE1" + struct.pack(">I", 15) + b'{"lengths":[9]}',
        b"FLHE1" + struct.pack(">I", 18) + b'{"lengths":[2,-1]}' + b"x",
        b"FLHE1" + struct.pack(">I", 15) + b'{"lengths":"a"}',
    ],
)
def test_headers_made_wrongly_are_refused(body):
    with pytest.raises(CiphertextError, match=r"bank 1: the (header|lengths)"):
        unpack(signed(body), "bank 1", {})


def test_a_field_that_differs_is_named_with_advice():
    data = pack({"round": 1, "key": "a"}, [])
    with pytest.raises(CiphertextError, match=r"bank 2: the message has round 1, expected is 2"):
        unpack(data, "bank 2", {"round": 2})
    with pytest.raises(CiphertextError, match=r"another public key"):
        unpack(data, "bank 2", {"key": "b"})


@pytest.mark.parametrize("weights", [{"a": 0}, {"a": -1, "b": 2}, {"a": 1.5}, {}])
def test_plans_want_whole_weights(weights):
    with pytest.raises(FedlabError, match=r"weight"):
        Plan(0, 1, weights)
