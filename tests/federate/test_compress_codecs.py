"""Codecs: real bytes, the means and bounds that the papers promise, and no harm from bad bytes."""

import struct
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedlab_utils.errors import FedlabError
from fedlab_utils.federate.compress import (
    QSGD,
    Deflated,
    Float16,
    Float32,
    LloydMax,
    RandomMask,
    Rotated,
    Sign,
    TopK,
    Uniform,
)

CODECS = [
    Float32(),
    Float16(),
    QSGD(8, 64),
    QSGD(2, 7),
    Uniform(4, 64),
    Uniform(1, 64),
    Rotated(Uniform(3), 64),
    Rotated(LloydMax(2), 64),
    Rotated(RandomMask(0.25), 64),
    TopK(0.1),
    TopK(0.1, LloydMax(4)),
    TopK(0.3, QSGD(8)),
    RandomMask(0.2),
    RandomMask(0.2, scaled=False, values=Float16()),
    Sign(50),
    LloydMax(3, 50),
    Deflated(QSGD(4, 64)),
    Deflated(Rotated(Uniform(2), 64)),
]
P = 150
each = pytest.mark.parametrize("codec", CODECS, ids=str)


def updates(rows=6, size=P, seed=0):
    """Rows of different kinds: normal, heavy-tailed, a single number, tiny, huge, zero."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, size))
    x[1] = rng.standard_t(1.5, size=size)
    x[2] = 0
    x[2, 3] = -2.5
    x[3] *= 1e-30
    x[4] *= 1e30
    x[5] = 0
    return torch.from_numpy(x.astype(np.float32))


@each
def test_a_message_has_the_stated_length_and_comes_back(codec):
    x = updates()
    messages = codec.encode_all(x, range(6))
    stated = codec.header_length + codec.length(P)
    sizes = {len(message) for message in messages}
    assert max(sizes) <= stated and (isinstance(codec, Deflated) or sizes == {stated})
    back = codec.decode_all(messages, P)
    assert back.shape == x.shape and back.dtype == torch.float32
    assert torch.equal(back[5], torch.zeros(P)) or isinstance(codec, Sign | LloydMax)
    # Many at once are the same bytes as one by one, and the same numbers.
    for row, seed, message, values in zip(x, range(6), messages, back, strict=True):
        assert codec.encode(row, seed) == message
        assert torch.equal(codec.decode(message, P), values)
    # The scale of an update does not matter: nothing is lost at 1e-30 or 1e30.
    alike = codec.decode_all(codec.encode_all(x[:1] * 2.0**40, [0]), P)
    torch.testing.assert_close(alike, back[:1] * 2.0**40)


def test_many_clients_are_worked_on_in_portions_with_the_same_bytes():
    many = torch.randn(300, P, generator=torch.Generator().manual_seed(0))
    for codec in (QSGD(4, 64), Rotated(LloydMax(2), 64), Deflated(QSGD(4, 64))):
        messages = codec.encode_all(many, range(300))
        back = codec.decode_all(messages, P)
        for k in (0, 217, 218, 219, 299):  # 218 updates of 150 numbers fill a portion
            assert messages[k] == codec.encode(many[k], k)
            assert torch.equal(back[k], codec.decode(messages[k], P))


@each
def test_the_mean_of_many_messages_is_the_update_if_the_codec_says_so(codec):
    n, x = 3000, updates()[:2]
    for row in x:
        decoded = codec.decode_all(codec.encode_all(row.repeat(n, 1), range(n)), P).double()
        error = (decoded.mean(0) - row).norm()
        spread = decoded.var(0).sum().sqrt() / n**0.5  # what chance does to the mean
        rounding = 1e-6 * row.norm()
        if codec.unbiased:
            assert error < 1.5 * spread + rounding
        elif not isinstance(codec, Float16):
            assert error > 3 * spread + rounding  # so this test can tell


@each
def test_the_squared_error_keeps_its_bound(codec):
    n = 300
    for row in updates()[:3]:
        decoded = codec.decode_all(codec.encode_all(row.repeat(n, 1), range(n)), P).double()
        errors = (decoded - row).square().sum(1) / row.double().square().sum()
        chance = 4 * errors.std() / n**0.5
        assert errors.mean() <= codec.error(P) + chance + 1e-9
        if codec.error(P) < 1 and not isinstance(codec, RandomMask | Rotated):
            assert errors.max() < 1  # a contraction, each single time
    if codec == RandomMask(0.2):
        assert errors.mean() == pytest.approx(codec.error(P), abs=float(chance))  # 1 / share - 1


def test_the_bounds_are_those_of_the_papers():
    # Alistarh et al. 2017, lemma 3.1; Suresh et al. 2017, theorem 2; Stich et al. 2018, def. 2.1.
    assert QSGD(4, 512).error(10_000) == pytest.approx(512**0.5 / 7)
    assert QSGD(8, 64).error(10_000) == pytest.approx(64 / 127**2)
    assert QSGD(8, 64).error(9) == pytest.approx(9 / 127**2)
    assert Uniform(4, 100).error(1000) == pytest.approx(100 / 15**2)
    assert Rotated(Uniform(4)).error(5000) < 0.08 < 2 < Uniform(4).error(5000)
    assert Rotated(Uniform(4, 100), 64).error(640) == Uniform(4, 100).error(640)  # do not match
    assert TopK(0.1).error(1000) == pytest.approx(0.9)
    assert RandomMask(0.1).error(1000) == pytest.approx(9)
    assert RandomMask(0.1, scaled=False).error(1000) == pytest.approx(0.9)
    assert Sign(10).error(1000) == pytest.approx(0.9)


def test_top_k_drops_no_more_than_the_smallest():
    x = updates()[:2]
    codec = TopK(0.1)
    back = codec.decode_all(codec.encode_all(x, [0, 0]), P)
    for row, sent in zip(x, back, strict=True):
        place = sent != 0
        assert int(place.sum()) == 15 and torch.equal(sent[place], row[place])
        assert row[~place].abs().max() <= row[place].abs().min()


def test_the_limits_are_exact():
    x = updates()
    for codec in (TopK(1.0), RandomMask(1.0), Float32()):
        assert torch.equal(codec.decode_all(codec.encode_all(x, range(6)), P), x)
    scale = x[:2].norm()
    errors = []
    for bits in (4, 8, 12, 16):
        for codec in (QSGD(bits), Rotated(Uniform(bits))):
            back = codec.decode_all(codec.encode_all(x[:2], [1, 2]), P)
            errors.append(float((back - x[:2]).norm() / scale))
    assert all(later < earlier / 8 for earlier, later in zip(errors, errors[2:], strict=False))
    assert errors[-2] < 1e-3 and errors[-1] < 1e-4


def test_the_bytes_of_the_formats_do_not_change():
    """Messages between versions: these are version 1."""
    x = torch.tensor([0.0, -3.0, 1.0, 0.5])
    golden = {codec: codec.encode(x, 5).hex() for codec in GOLDEN}
    assert golden == GOLDEN


GOLDEN = {
    Float16(): "46010b4d0400000000004040000000bc55355531",
    QSGD(4): "46013bb60400000065e64c407098",
    Rotated(Uniform(2), 4): "4601d2b60400000005000000000000000000104098",
    TopK(0.5): "4601da7504000000a8000040c00000803f",
    RandomMask(0.5): "46012685040000000500000000000000000000400000803f",
    Sign(): "46016c40040000000000903fb0",
    LloydMax(2): "46018714040000008b43e63f8a",
}


def test_few_levels_leave_something_to_deflate_and_it_never_costs():
    x = updates(size=3000)[:1]
    plain, coded = QSGD(4), Deflated(QSGD(4))
    long, short = plain.encode(x[0], 1), coded.encode(x[0], 1)
    assert len(short) < 0.6 * len(long)
    assert torch.equal(coded.decode(short, 3000), plain.decode(long, 3000))
    noise = torch.from_numpy(np.random.default_rng(0).integers(0, 256, 4000, np.uint8)).float()
    assert len(Deflated(Float32()).encode(noise)) < len(Float32().encode(noise))
    random = torch.from_numpy(np.random.default_rng(0).uniform(1, 2, 300).astype(np.float32))
    assert len(Deflated(Uniform(8)).encode(random)) <= len(Uniform(8).encode(random))
    assert Deflated(QSGD()).unbiased and not Deflated(Sign()).unbiased


@each
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_bytes_of_any_kind_are_decoded_to_finite_numbers_or_refused(codec, data):
    good = codec.encode(updates()[0], 3)
    kind = data.draw(st.sampled_from(["bytes", "body", "flip", "cut", "grow"]))
    at = data.draw(st.integers(0, len(good) - 1))
    if kind == "bytes":
        bad = data.draw(st.binary(max_size=100))
    elif kind == "body":
        rest = len(good) - 8
        bad = good[:8] + data.draw(st.binary(min_size=rest, max_size=rest))
    elif kind == "flip":
        bad = good[:at] + bytes([good[at] ^ data.draw(st.integers(1, 255))]) + good[at + 1 :]
    else:
        bad = good[:at] if kind == "cut" else good + data.draw(st.binary(min_size=1, max_size=9))
    try:
        values = codec.decode(bad, P)
    except FedlabError:
        return
    assert kind in ("body", "flip", "cut") and (kind != "cut" or isinstance(codec, Deflated))
    assert values.shape == (P,) and bool(values.isfinite().all())


@pytest.mark.parametrize(
    ("codec", "change", "message"),
    [
        (QSGD(), lambda m: b"G" + m[1:], "begins with"),
        (QSGD(), lambda m: m[:1] + b"\2" + m[2:], "begins with"),
        (QSGD(), lambda m: QSGD(8, 256).encode(torch.ones(P)), "other settings"),
        (QSGD(), lambda m: QSGD().encode(torch.ones(P + 1)), "151 parameters"),
        (QSGD(), lambda m: m[:-1], "bytes instead of"),
        (QSGD(), lambda m: m[:5], "a header"),
        (QSGD(), lambda m: m[:8] + struct.pack("<f", -1) + m[12:], "negative norm"),
        (QSGD(), lambda m: m[:12] + b"\xff" + m[13:], "level that does not exist"),
        (QSGD(), lambda m: m[:8] + struct.pack("<f", float("nan")) + m[12:], "not all finite"),
        (Uniform(), lambda m: m[:8] + struct.pack("<f", -1) + m[12:], "largest value below 0"),
        (Sign(), lambda m: m[:8] + struct.pack("<f", -1) + m[12:], "scale below 0"),
        (Float32(), lambda m: m[:8] + struct.pack("<f", float("inf")) + m[12:], "not all finite"),
        (Float16(), lambda m: m[:12] + b"\x00\x40" + m[14:], "larger than the largest"),
        (TopK(), lambda m: m[:8] + b"\xff" + m[9:], "damaged"),
        (Deflated(Sign()), lambda m: m[:8] + b"\xff", "no DEFLATE code"),
        (Deflated(Float32()), lambda m: m[:8] + deflated(bytes(599)), "right length"),
        (Deflated(Float32()), lambda m: m[:8] + deflated(bytes(300_000)), "right length"),
        (Deflated(Float32()), lambda m: m[:8] + deflated(bytes(600)) + b"x", "right length"),
    ],
)
def test_a_malformed_message_is_refused_with_the_reason(codec, change, message):
    with pytest.raises(FedlabError, match=message):
        codec.decode(change(codec.encode(torch.linspace(-1, 1, P))), P)


def deflated(body):
    coder = zlib.compressobj(9, zlib.DEFLATED, -15)
    return coder.compress(body) + coder.flush()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: QSGD(1), "bits=1"),
        (lambda: QSGD(17), "bits=17"),
        (lambda: Uniform(2.5), "bits=2.5"),
        (lambda: Uniform(0), "bits=0"),
        (lambda: Sign(0), "bucket=0"),
        (lambda: LloydMax(9), "bits=9"),
        (lambda: TopK(0), "share=0"),
        (lambda: RandomMask(1.5), "share=1.5"),
        (lambda: TopK(0.1, Rotated()), "Put it outside"),
        (lambda: Sign().encode(torch.tensor([1.0, float("nan")])), "not finite"),
        (lambda: Sign().encode(torch.tensor([1e300], dtype=torch.float64)), "not finite"),
        (lambda: QSGD().encode(torch.full((9,), 3e38)), "beyond float32"),
        (lambda: Sign().encode(torch.zeros(0)), "do not fit"),
        (lambda: Sign().encode_all(torch.zeros(2, 3), [1]), "do not fit"),
        (lambda: Sign().project(np.zeros((1, 3)), 0), "not linear"),
        (lambda: TopK().lift(np.zeros((1, 3)), 9, 0), "not linear"),
        (lambda: QSGD().projected(9), "not linear"),
    ],
)
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises(FedlabError, match=message):
        make()


@pytest.mark.parametrize("codec", [Float32(), RandomMask(0.3), Rotated(RandomMask(0.3), 64)])
def test_a_linear_codec_decodes_sums(codec):
    x = updates()[:3].numpy().astype(np.float64)
    parts = codec.project(x, 9)
    assert codec.linear and parts.shape == (3, codec.projected(P))
    alone = codec.lift(parts, P, 9)
    np.testing.assert_allclose(codec.lift(parts.sum(0)[None], P, 9)[0], alone.sum(0), rtol=1e-6)
    message = codec.encode(torch.from_numpy(x[0]), 9)
    np.testing.assert_allclose(codec.decode(message, P), alone[0], rtol=1e-5, atol=1e-6)
    assert not Rotated(Uniform()).linear and not RandomMask(0.3, values=Float16()).linear
