"""Compression in `fit`: error feedback, both directions, sums, and what goes with privacy."""

import numpy as np
import pytest
import torch

import fedlab_utils as fl
from fedlab_utils.errors import FedlabError
from fedlab_utils.federate import Aggregated, RoundAggregator, RoundContext, ServerMomentum
from fedlab_utils.federate.compress import (
    QSGD,
    Broadcast,
    Compressed,
    CompressedSum,
    Deflated,
    Float16,
    Float32,
    LloydMax,
    RandomMask,
    Rotated,
    SharedRange,
    Sign,
    TopK,
    Uniform,
    memory_of,
    trace,
)
from fedlab_utils.federate.compress.feedback import PREFIX
from fedlab_utils.privacy.dp import DistributedDP, DPMean, LocalDP
from fedlab_utils.privacy.he import CKKSMean
from fedlab_utils.privacy.secure import SecureMean
from tests.federate.toy import federation

P = 300
SIZES = tuple(range(20, 26))
CONTRACTIONS = [
    TopK(0.05),
    TopK(0.1, LloydMax(4)),
    Sign(60),
    Rotated(Sign()),
    Rotated(Uniform(4)),
    QSGD(8, 64),
    Float16(),
    RandomMask(0.2, scaled=False),
    Deflated(QSGD(8, 64)),
]
each = pytest.mark.parametrize("codec", CONTRACTIONS, ids=str)


def context(k, round_=0, seed=0, names=None):
    names = names or tuple(f"bank {i}" for i in range(k))
    return RoundContext(seed, round_, names, k)


def updates(k=4, seed=0, size=P):
    return torch.randn(k, size, generator=torch.Generator().manual_seed(seed))


def play(aggregator, rounds, make=updates, k=4):
    """Some rounds of random updates: the results, and the last state."""
    state, results = aggregator.start(P), []
    for round_ in range(rounds):
        before = {name: value.clone() for name, value in state.items()}
        done = aggregator.aggregate_round(
            make(k, round_), torch.arange(1.0, k + 1), state, context(k, round_)
        )
        assert state.keys() == before.keys()  # arguments are left as they are
        assert all(torch.equal(value, before[name]) for name, value in state.items())
        state = done.state
        results.append(done)
    return results, state


class Spy:
    """Keeps what arrives at the server."""

    def __init__(self):
        self.seen = []

    def aggregate(self, updates, weights):
        self.seen.append(updates)
        return fl.Mean().aggregate(updates, weights)


@each
def test_what_was_sent_and_what_is_left_is_all_there_was(codec):
    spy = Spy()
    results, state = play(Compressed(codec, spy), 12)
    sent = torch.stack(spy.seen).double().sum(0)
    there = torch.stack([updates(4, r) for r in range(12)]).double().sum(0)
    left = torch.stack([memory_of(state, f"bank {i}") for i in range(4)])
    assert float(left.abs().max()) > 0 and not torch.allclose(sent, there, atol=1e-4)
    torch.testing.assert_close(sent + left, there, rtol=1e-5, atol=1e-5)
    weights = torch.arange(1.0, 5.0)
    torch.testing.assert_close(results[3].update, fl.Mean().aggregate(spy.seen[3], weights))


def test_the_sum_is_exact_where_float32_is():
    """Multiples of 2^-8, of which nothing is rounded."""

    def make(k, round_):
        return torch.round(updates(k, round_) * 256) / 256

    spy = Spy()
    _, state = play(Compressed(TopK(0.05), spy), 20, make)
    left = torch.stack([memory_of(state, f"bank {i}") for i in range(4)])
    there = torch.stack([make(4, r) for r in range(20)]).sum(0)
    assert torch.equal(torch.stack(spy.seen).sum(0) + left, there)


@each
def test_the_memory_stays_bounded(codec):
    """Stich et al. 2018, lemma 3.2: |memory|^2 <= 4 (1 - delta) / delta^2 max |update|^2."""
    _, state = play(Compressed(codec), 60)
    delta = 1 - codec.error(P)
    most = max(float(updates(4, r).norm(dim=1).max()) for r in range(60))
    left = max(float(memory_of(state, f"bank {i}").norm()) for i in range(4))
    assert left**2 <= 4 * (1 - delta) / delta**2 * most**2
    assert left < 12 * most  # in practice far less than the bound for a small delta


def test_feedback_repairs_a_biased_codec():
    """The same update in each round: without memory some numbers are never sent."""
    same = updates(1)

    def distance(feedback):
        spy = Spy()
        play(Compressed(TopK(0.1), spy, feedback), 40, lambda k, r: same, k=1)
        return float((torch.stack(spy.seen).mean(0) - same).norm() / same.norm())

    assert distance(False) > 0.7 and distance(True) < 0.25


def test_who_does_not_take_part_keeps_the_memory_and_others_do_not_matter():
    aggregator, ones = Compressed(TopK(0.05)), torch.ones(2)
    first = aggregator.aggregate_round(updates(2), ones, {}, context(2, names=("a", "b")))
    second = aggregator.aggregate_round(
        updates(2, 1), ones, first.state, context(2, 1, names=("b", "c"))
    )
    assert torch.equal(memory_of(second.state, "a"), memory_of(first.state, "a"))
    assert not torch.equal(memory_of(second.state, "b"), memory_of(first.state, "b"))
    assert memory_of(first.state, "c") is None and memory_of(second.state, "c") is not None
    # Client c alone, and in another place among others, sends the same.
    codec = Compressed(QSGD(2, 16), error_feedback=False)
    alone = codec.aggregate_round(updates(1), ones[:1], {}, context(1, names=("c",)))
    spy = Spy()
    Compressed(QSGD(2, 16), spy, False).aggregate_round(
        updates(1).repeat(2, 1), ones, {}, context(2, names=("b", "c"))
    )
    assert torch.equal(spy.seen[0][1], alone.update)
    assert not torch.equal(spy.seen[0][0], alone.update)  # but its rounding is its own


def test_the_bytes_are_those_of_the_messages():
    codec = Deflated(QSGD(4, 256))
    done = Compressed(codec, error_feedback=False).aggregate_round(
        updates(), torch.ones(4), {}, context(4)
    )
    shortest = codec.header_length + 4 * 2
    assert 4 * shortest < done.bytes_up < 4 * (codec.header_length + codec.length(P))
    assert done.bytes_down is None
    plain = Compressed(TopK(0.1)).aggregate_round(updates(), torch.ones(4), {}, context(4))
    assert plain.bytes_up == 4 * len(TopK(0.1).encode(updates()[0]))


BOTH = Broadcast(Rotated(LloydMax(2)), Compressed(TopK(0.1)))


@pytest.mark.parametrize(
    "aggregator", [Compressed(Sign()), BOTH, CompressedSum(RandomMask(0.3, False), fl.Mean(), True)]
)
def test_a_run_goes_on_from_a_checkpoint_to_the_same_bits(aggregator, tmp_path):
    assert isinstance(aggregator, RoundAggregator)
    model, members = fl.dense_autoencoder(8), federation(SIZES)
    options = {"aggregator": aggregator, "clients_per_round": 3, "progress": False}
    whole = fl.fit(model, members, rounds=6, **options)
    path = tmp_path / "state.npz"
    fl.fit(model, members, rounds=3, checkpoint=path, **options)
    resumed = fl.fit(model, members, rounds=6, checkpoint=path, **options)
    assert torch.equal(fl.flatten(whole.model), fl.flatten(resumed.model))
    assert whole.history.bytes_up == resumed.history.bytes_up
    assert whole.history.bytes_down == resumed.history.bytes_down
    other = fl.fit(model, members, rounds=6, clients_per_round=3, progress=False)
    assert not torch.allclose(fl.flatten(whole.model), fl.flatten(other.model))


@pytest.mark.parametrize("aggregator", [Compressed(Sign()), BOTH, SharedRange(1.0)])
def test_a_round_without_clients_costs_nothing(aggregator):
    done = aggregator.aggregate_round(
        torch.zeros(0, P), torch.zeros(0), aggregator.start(P), context(0, names=())
    )
    assert torch.equal(done.update, torch.zeros(P)) and done.bytes_up == 0
    assert not done.bytes_down


# From the server


def test_the_clients_copy_is_the_servers_model_and_nothing_is_lost():
    codec = Rotated(Sign())
    results, state = play(Broadcast(codec), 10)
    true = torch.stack(
        [fl.Mean().aggregate(updates(4, r), torch.arange(1.0, 5)) for r in range(10)]
    )
    copy = torch.stack([done.update for done in results]).double().sum(0)
    torch.testing.assert_close(
        copy + state["broadcast left out"], true.double().sum(0), rtol=1e-5, atol=1e-5
    )
    # A message of real bytes: decoding it again gives what the server added to its own model.
    assert state["broadcast lengths"].tolist() == [len(codec.encode(true[0]))] * 10


def test_bytes_from_the_server_by_hand():
    codec = TopK(0.1)
    message, whole = len(codec.encode(torch.ones(P))), 4 * P + 8
    for known in (False, True):
        state, down = Broadcast(codec, start_known=known).start(P), []
        for round_, names in enumerate(["ab", "a", "a", "ab", "c", "ca"]):
            k = len(names)
            done = Broadcast(codec, start_known=known).aggregate_round(
                updates(k), torch.ones(k), state, context(k, round_, names=tuple(names))
            )
            state = done.state
            down.append(done.bytes_down)
        first = 0 if known else whole
        late = min(4 * message, whole) if known else whole  # c was never there before
        assert down == [2 * first, message, message, 4 * message, late, message + 2 * message]
        assert 4 * message < whole
    # Who has missed more than a whole model gets the whole model.
    state = Broadcast(codec).start(P)
    for round_ in range(30):
        names = ("a", "b") if round_ in (0, 29) else ("b",)
        done = Broadcast(codec).aggregate_round(
            updates(len(names)), torch.ones(len(names)), state, context(1, round_, names=names)
        )
        state = done.state
    assert done.bytes_down == whole + message


def test_both_directions_in_fit_and_another_server_optimiser():
    model, members = fl.dense_autoencoder(8), federation(SIZES)
    options = {"rounds": 20, "local": fl.SGD(0.05), "progress": False}
    plain = fl.fit(model, members, **options)
    exact = fl.fit(
        model, members, aggregator=Broadcast(Float32(), Compressed(Float32())), **options
    )
    torch.testing.assert_close(fl.flatten(exact.model), fl.flatten(plain.model))
    size, k = fl.flatten(model).numel(), len(SIZES)
    assert exact.history.bytes_up == exact.history.bytes_down == [(4 * size + 8) * k] * 20
    small = Broadcast(Rotated(LloydMax(4), 64), Compressed(Rotated(LloydMax(4), 64)))
    for server in (fl.ServerSGD(), ServerMomentum(0.1, 0.9)):
        run = fl.fit(model, members, aggregator=small, server=server, **options)
        target = fl.fit(model, members, server=server, **options)
        assert run.history.loss[-1] == pytest.approx(target.history.loss[-1], rel=0.02)
        assert sum(run.history.bytes_up) < sum(plain.history.bytes_up) / 3


def test_trace_measures_after_the_rounds_asked_for():
    model, members = fl.dense_autoencoder(8), federation(SIZES)
    rows = members.pooled().x_train

    def measure(m):
        return -float(fl.reconstruction_error(m, rows).mean())

    options = {"aggregator": Compressed(Sign()), "local": fl.SGD(0.1), "progress": False}
    found = trace(model, members, measure=measure, rounds=7, every=3, **options)
    assert found.rounds == [3, 6, 7] and list(found.to_frame()["value"]) == found.values
    for rounds, value, sent in zip(found.rounds, found.values, found.megabytes, strict=True):
        run = fl.fit(model, members, rounds=rounds, **options)
        assert measure(run.model) == value
        assert sent == pytest.approx(
            sum(run.history.bytes_up + run.history.bytes_down) / 1e6, abs=1e-12
        )
    assert torch.equal(fl.flatten(found.run.model), fl.flatten(run.model))
    assert found.megabytes_to_reach(found.values[1]) == found.megabytes[1]
    assert np.isnan(found.megabytes_to_reach(1.0))
    with pytest.raises(FedlabError, match="checkpoint"):
        trace(model, members, measure=measure, rounds=2, checkpoint="x.npz")
    with pytest.raises(FedlabError, match="every=0"):
        trace(model, members, measure=measure, rounds=2, every=0)


# Sums


@pytest.mark.parametrize("codec", [RandomMask(0.2), Rotated(RandomMask(0.2), 64)], ids=str)
@pytest.mark.parametrize("feedback", [False, True])
def test_a_linear_codec_and_a_secure_sum_give_the_mean_of_what_was_decoded(codec, feedback):
    if feedback:
        codec = type(codec)(0.2, False) if isinstance(codec, RandomMask) else Rotated(
            RandomMask(0.2, False), 64
        )  # fmt: skip
    plain = play(CompressedSum(codec, fl.Mean(), feedback), 3)[0]
    secure = play(CompressedSum(codec, SecureMean(fraction_bits=20), feedback), 3)[0]
    full = SecureMean().aggregate_round(updates(), torch.ones(4), {}, context(4))
    numbers = codec.projected(P)
    for a, b in zip(plain, secure, strict=True):
        torch.testing.assert_close(a.update, b.update, rtol=0, atol=1e-4)
        assert a.bytes_up == 4 * numbers * 4 and a.bytes_down is None
        assert b.bytes_up == full.bytes_up - 4 * 4 * (P - numbers)
        assert b.bytes_down == full.bytes_down  # the model itself is not compressed
    # And of the codec's own messages, had they been sent.
    if not feedback:
        from fedlab_utils.federate.compress.draws import seed_of

        seed, weights = seed_of(0, "sum", 1), torch.arange(1.0, 5)
        decoded = codec.decode_all(codec.encode_all(updates(4, 1), [seed] * 4), P)
        torch.testing.assert_close(plain[1].update, fl.Mean().aggregate(decoded, weights))


@pytest.mark.parametrize(("k", "bits", "lanes"), [(4, 8, 3), (10, 4, 3), (10, 8, 2), (100, 16, 1)])
def test_a_shared_range_adds_up_to_the_mean_of_the_rounded_numbers(k, bits, lanes):
    x = updates(k).clamp(-3, 3)
    aggregator = SharedRange(3.0, bits)
    assert aggregator.lanes(k)[1] == lanes
    inner = None if k < 100 else fl.Mean()
    done = SharedRange(3.0, bits, inner).aggregate_round(x, torch.rand(k), {}, context(k))
    levels = aggregator.levels(x.numpy(), context(k).clients, 0, 0)
    wanted = (levels.mean(0) / (2**bits - 1) * 2 - 1) * 3
    np.testing.assert_allclose(done.update.numpy(), wanted, atol=1e-6)
    assert levels.min() >= 0 and levels.max() <= 2**bits - 1
    step = 6 / (2**bits - 1)
    assert np.abs(done.update.numpy() - x.numpy().mean(0)).max() < step
    if k < 100:
        full = SecureMean().aggregate_round(x, torch.ones(k), {}, context(k))
        saved = 4 * k * (P - -(-P // lanes))
        assert done.bytes_up == full.bytes_up - saved and done.bytes_down == full.bytes_down


def test_a_shared_range_is_unbiased_and_takes_the_ends():
    n = 4000
    x = torch.tensor([[-1.0, 1.0, 0.0, 0.3]]).repeat(n, 1)
    levels = SharedRange(1.0, 2).levels(x.numpy(), tuple(map(str, range(n))), 0)
    assert set(levels[:, 0]) == {0} and set(levels[:, 1]) == {3}
    np.testing.assert_allclose(levels.mean(0) / 3 * 2 - 1, [-1, 1, 0, 0.3], atol=0.04)
    with pytest.raises(FedlabError, match=r"a has a number of 1\.5, beyond limit=1"):
        SharedRange(1.0).levels(np.array([[1.5], [1.0]]), ("a", "b"), 0)
    with pytest.raises(FedlabError, match="Use fewer bits"):
        SharedRange(1.0, 16).lanes(100_000)
    for limit, bits in ((0, 8), (float("inf"), 8), (1, 0), (1, 17)):
        with pytest.raises(FedlabError, match="SharedRange: "):
            SharedRange(limit, bits)


def test_mask_rotation_range_and_masks_of_a_secure_sum_together():
    chain = CompressedSum(Rotated(RandomMask(0.5), 64), SharedRange(12.0, 8))
    done = play(chain, 1)[0][0]
    loose = play(CompressedSum(Rotated(RandomMask(0.5), 64), fl.Mean(weighted=False)), 1)[0][0]
    assert (done.update - loose.update).abs().max() < 12 / 255 * 8
    full = SecureMean().aggregate_round(updates(), torch.ones(4), {}, context(4))
    numbers = 4 * -(-160 // 3)
    assert done.bytes_up == full.bytes_up - 4 * (4 * P - numbers)
    assert done.bytes_down == full.bytes_down


def test_small_messages_both_ways_around_a_secure_sum():
    codec, x = Rotated(LloydMax(2)), updates()
    both = Broadcast(codec, CompressedSum(RandomMask(0.2), SecureMean()), start_known=True)
    state, down = both.start(P), []
    for round_ in range(2):
        done = both.aggregate_round(x, torch.ones(4), state, context(4, round_))
        state = done.state
        down.append(done.bytes_down)
    full = SecureMean().aggregate_round(x, torch.ones(4), {}, context(4))
    protocol = full.bytes_down - 4 * 4 * P
    assert down == [protocol, protocol + 4 * len(codec.encode(x[0]))]


def test_fewer_numbers_under_encryption_too():
    plain = play(CompressedSum(RandomMask(0.2)), 1)[0][0]
    done = play(CompressedSum(RandomMask(0.2), CKKSMean()), 1)[0][0]
    torch.testing.assert_close(done.update, plain.update, atol=1e-4, rtol=0)
    alone = CKKSMean().aggregate_round(updates(size=60), torch.ones(4), {}, context(4))
    assert done.bytes_down == pytest.approx(alone.bytes_down, rel=0.01)  # no model in it


# What does not go together


@pytest.mark.parametrize(
    ("aggregator", "message"),
    [
        (Compressed(Sign(), SecureMean()), "Use CompressedSum"),
        (CompressedSum(TopK()), "not linear"),
        (CompressedSum(Sign(), SecureMean()), "not linear"),
        (Compressed(RandomMask(0.1)), "could grow without end"),
        (Compressed(QSGD(4)), "could grow without end"),
        (Broadcast(Rotated(Uniform(2))), "could grow without end"),
        (CompressedSum(RandomMask(0.1), error_feedback=True), "could grow without end"),
        (Compressed(QSGD(8), DPMean(1.0, 1.0)), "error_feedback=False"),
        (Compressed(QSGD(8), LocalDP(1.0, 1.0), False), "Turn them around"),
        (CompressedSum(RandomMask(0.1, False), LocalDP(1.0, 1.0), True), "error_feedback=False"),
        (Broadcast(Float16(), CKKSMean()), "cannot read the model"),
        (Broadcast(Float16(), CompressedSum(RandomMask(), CKKSMean())), "cannot read the model"),
    ],
    ids=lambda a: type(a).__name__ if not isinstance(a, str) else a,
)
def test_what_does_not_go_together_is_refused(aggregator, message):
    with pytest.raises(FedlabError, match=message):
        play(aggregator, 1)


def test_distributed_noise_and_error_feedback_do_not_go_together():
    with pytest.raises(FedlabError, match="a share of the noise only"):
        DistributedDP(1.0, 1.0, 4, inner=Compressed(Sign()))


def test_privacy_costs_the_same_whatever_is_compressed():
    k = 4
    order = {
        "after the server's noise": Broadcast(Rotated(Sign()), DPMean(1.0, 2.0)),
        "before the server's clip": Compressed(QSGD(8, 64), DPMean(1.0, 2.0), False),
        "neither": DPMean(1.0, 2.0),
    }
    epsilons = {name: play(a, 3)[0][-1].epsilon for name, a in order.items()}
    assert len(set(epsilons.values())) == 1
    local = LocalDP(1.0, 2.0)
    noisy = LocalDP(1.0, 2.0, inner=Compressed(Float16(), fl.Mean(weighted=False)))
    a, b = play(local, 2)[0][-1], play(noisy, 2)[0][-1]
    assert a.epsilon == b.epsilon
    torch.testing.assert_close(a.update, b.update, atol=0.01, rtol=0)
    assert b.bytes_up == k * len(Float16().encode(torch.ones(P)))
    # Clip last: however large the decoded message, a client moves the sum by no more than clip.
    loud = Compressed(QSGD(4, 64), DPMean(1.0, 0.0), False)
    x = updates(2) * 1e6
    both = loud.aggregate_round(x, torch.ones(2), {}, context(2)).update * 2
    one = (
        loud.aggregate_round(
            torch.stack([x[0], torch.zeros(P)]), torch.ones(2), {}, context(2)
        ).update
        * 2
    )
    assert float((both - one).norm()) <= 1 + 1e-5


def test_thinned_out_then_clipped_and_noised_in_shares():
    dp = DistributedDP(1.0, 1.0, 4, inner=SecureMean(weighted=False, fraction_bits=16))
    done = play(CompressedSum(RandomMask(0.2, False), dp), 2)[0][-1]
    assert done.epsilon == dp.epsilon(2, 60)
    assert int((done.update != 0).sum()) <= 60


def test_other_parts_of_the_state_belong_to_the_inner_aggregator():
    class Counts:
        def start(self, size):
            return {"n": torch.zeros(1)}

        def aggregate_round(self, updates, weights, state, context):
            assert set(state) == {"n"}
            return Aggregated(updates.mean(0), {"n": state["n"] + 1})

    for aggregator in (
        Broadcast(Sign(), Compressed(Sign(), Counts())),
        CompressedSum(RandomMask(0.5, False), Counts(), True),
    ):
        state = play(aggregator, 3)[1]
        assert state["n"] == 3
        assert sum(name.startswith(PREFIX) for name in state) == 4
