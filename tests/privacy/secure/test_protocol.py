"""The protocol as a whole: dropouts, thresholds, what the server sees."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedlab_utils.errors import FedlabError
from fedlab_utils.privacy.secure import (
    ForgedMessage,
    Identity,
    TooFewClients,
    WrongRound,
    WrongStep,
    default_threshold,
    invite,
    run_round,
)
from fedlab_utils.privacy.secure.setup import RoundSetup
from fedlab_utils.privacy.secure.simulate import STEP_NAMES

IDENTITIES = [Identity(f"bank {i}") for i in range(12)]


def fresh(clients: int) -> list[Identity]:
    """Identities that remember no round; making keys anew for each example would take longer."""
    for identity in IDENTITIES:
        identity.last_round = -1
    return IDENTITIES[:clients]


@st.composite
def rounds(draw):
    """A setup, vectors, and clients that fall silent at some step."""
    clients = draw(st.integers(2, 9))
    even = [n for n in range(2, clients, 2)]
    neighbours = draw(st.sampled_from([None, *even]))
    holders = clients if neighbours is None else neighbours + 1
    identities = fresh(clients)
    setup = invite(
        identities,
        draw(st.integers(1, 5)),
        threshold=draw(st.integers(holders // 2 + 1, holders)),
        bits=draw(st.sampled_from((32, 64))),
        neighbours=neighbours,
        session=draw(st.binary(min_size=16, max_size=16)),
    )
    silent = draw(
        st.dictionaries(st.sampled_from(setup.names), st.sampled_from(STEP_NAMES), max_size=clients)
    )
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    vectors = rng.integers(0, 2**setup.bits, (clients, setup.length), dtype=setup.dtype)
    return identities, setup, vectors, silent


def enough(setup: RoundSetup, silent: dict[str, str]) -> bool:
    """Whether a round must succeed: each secret that exists has enough holders to the end."""
    last = {
        i: STEP_NAMES.index(silent[name]) if name in silent else len(STEP_NAMES)
        for i, name in enumerate(setup.names, start=1)
    }
    for step in range(len(STEP_NAMES)):
        alive = {i for i in last if last[i] > step}
        # Those that sent keys count at the first step, those that shared secrets ever after.
        owners = {i for i in last if last[i] > min(step, 1)}
        for owner in owners:
            if len(({*setup.peers(owner), owner}) & alive) < setup.threshold:
                return False
        if not alive:
            return False
    return True


@given(rounds())
@settings(max_examples=80, deadline=None)
def test_any_dropouts_give_the_exact_sum_or_a_clear_error(a_round):
    identities, setup, vectors, silent = a_round
    if not enough(setup, silent):
        with pytest.raises(TooFewClients, match=f"threshold is {setup.threshold}"):
            run_round(identities, setup, vectors, silent)
        return
    outcome = run_round(identities, setup, vectors, silent)
    stayed = [n for n in setup.names if silent.get(n) not in ("keys", "shares", "upload")]
    assert outcome.survivors == tuple(stayed)
    rows = [setup.names.index(n) for n in stayed]
    assert np.array_equal(outcome.total, vectors[rows].sum(axis=0, dtype=setup.dtype))


@pytest.mark.parametrize("step", range(5))
def test_below_the_threshold_there_is_an_error_and_nothing_else(play, step):
    game = play(6, threshold=4)
    game.steps(step)
    with pytest.raises(TooFewClients, match=r"3 of the 6 holders.*There is no sum"):
        game.step(silent={1, 2, 3})
    assert game.server.awaits is None
    with pytest.raises(WrongStep, match="failed"):
        _ = game.server.total
    with pytest.raises(WrongStep, match="is over"):
        game.server.advance()
    late = game.clients[1].start() if step == 0 else game.clients[1].receive(game.inbox[1])
    with pytest.raises(WrongStep, match="the round is over"):
        game.server.receive(late)


@pytest.mark.parametrize("step", range(5))
@pytest.mark.parametrize("neighbours", [None, 2])
def test_nobody_left_is_too_few(play, step, neighbours):
    game = play(5, neighbours=neighbours).steps(step)
    with pytest.raises(TooFewClients, match=r"bank 1's secrets .*There is no sum"):
        game.server.advance()


def test_no_total_before_the_end(play):
    game = play().steps(4)
    with pytest.raises(WrongStep, match="is not over"):
        _ = game.server.total
    game.finish()


def test_a_client_without_enough_peers_sends_nothing(play):
    game = play(5, threshold=4)
    said = game.speak()
    for i in (1, 2, 3, 4):
        game.server.receive(said[i])
    roster = game.server.advance()
    object.__setattr__(game.setup, "threshold", 5)  # the client was told of another one
    with pytest.raises(TooFewClients, match="sends nothing"):
        game.clients[1].receive(roster[1])


def test_upload_that_arrived_counts_though_its_client_vanished(play):
    game = play(6, threshold=4).steps(3)
    game.finish(silent={2, 5})
    assert game.server.survivors == frozenset(range(1, 7))


def test_a_server_that_declares_a_client_dropped_cannot_read_its_upload(play):
    """It gets the mask key, but never the seed: what it saw stays noise."""
    game = play(6, length=4_000, threshold=4).steps(2)
    said = game.speak()
    for i in range(1, 6):
        game.server.receive(said[i])  # the server pretends that the upload of 6 did not arrive
    game.inbox = game.server.advance()
    game.finish()
    assert game.server.survivors == frozenset(range(1, 6))
    from fedlab_utils.privacy.secure.keys import KeyPair
    from fedlab_utils.privacy.secure.masks import pair_mask_key
    from fedlab_utils.privacy.secure.prg import add_masks
    from fedlab_utils.privacy.secure.wire import SIGNATURE_BYTES

    victim = game.clients[6]
    seen = np.frombuffer(said[6][7:-SIGNATURE_BYTES], np.uint32).copy()
    pair = KeyPair(victim._mask_pair.secret)  # what the server rebuilds
    for peer in range(1, 6):
        other = game.clients[peer]._mask_pair.public
        add_masks(seen, [(pair_mask_key(pair, other, game.setup, 6, peer), 1)])
    assert uniform(seen - game.vectors[5])  # all pair masks are off, the self-mask is not


def uniform(values: np.ndarray) -> bool:
    """Whether the bytes of these integers may be called equally frequent."""
    from scipy.stats import chisquare

    counts = np.bincount(np.ascontiguousarray(values).view(np.uint8).ravel(), minlength=256)
    return chisquare(counts).pvalue > 1e-6


@pytest.mark.parametrize("bits", [32, 64])
def test_what_the_server_sees_is_uniform_and_unrelated(bits):
    """Each upload, and each sum of some of them, whatever the vectors are."""
    clients, length = 5, 60_000
    identities = fresh(clients)
    setup = invite(identities, length, bits=bits)
    vectors = np.zeros((clients, length), setup.dtype)  # not random at all
    vectors[1] += np.arange(length, dtype=setup.dtype)
    seen: list[np.ndarray] = []

    def watch(data: bytes) -> None:
        if data[0] == 3:
            seen.append(np.frombuffer(data[7:-64], setup.dtype))

    outcome = run_round(identities, setup, vectors, watch=watch)
    assert np.array_equal(outcome.total, vectors.sum(axis=0, dtype=setup.dtype))
    assert len(seen) == clients
    for one in seen:
        assert uniform(one)
        assert abs(np.corrcoef(one.astype(float), np.arange(length))[0, 1]) < 0.03
    for size in range(2, clients + 1):
        assert uniform(np.sum(seen[:size], axis=0, dtype=setup.dtype))
    assert not uniform(outcome.total)  # the test can tell


def test_the_same_vectors_look_different_in_every_round():
    identities = fresh(3)
    vectors = np.ones((3, 10), np.uint32)
    uploads = []
    for round_ in range(2):
        setup = invite(identities, 10, round_=round_)
        run_round(identities, setup, vectors, watch=uploads.append)
    assert len(set(uploads)) == len(uploads) == 30


def test_bytes_are_counted_at_the_wire():
    identities, heard = fresh(4), []
    setup = invite(identities, 100)
    outcome = run_round(identities, setup, np.zeros((4, 100), np.uint32), watch=heard.append)
    assert outcome.bytes_up == sum(map(len, heard))
    uploads = [data for data in heard if data[0] == 3]
    assert [len(data) for data in uploads] == [7 + 400 + 64] * 4
    assert outcome.client_seconds > 0 and outcome.server_seconds > 0


def test_with_neighbours_each_client_works_for_a_few_only():
    identities = fresh(12)
    sparse = invite(identities, 10, neighbours=4)
    for client in range(1, 13):
        peers = sparse.peers(client)
        assert len(peers) == 4 and client not in peers
        assert all(client in sparse.peers(peer) for peer in peers)
    full = run_round(identities, invite(identities, 10), np.ones((12, 10), np.uint32))
    few = run_round(fresh(12), sparse, np.ones((12, 10), np.uint32))
    assert np.array_equal(full.total, few.total)
    assert few.bytes_down < full.bytes_down / 2


def test_a_client_never_plays_the_same_round_twice():
    identities = fresh(3)
    vectors = np.zeros((3, 2), np.uint32)
    run_round(identities, invite(identities, 2, round_=5), vectors)
    for round_ in (5, 4):
        with pytest.raises(WrongRound, match=r"bank 0.*rounds only go up"):
            run_round(identities, invite(identities, 2, round_=round_), vectors)


def test_who_is_not_invited_and_vectors_that_do_not_fit(play):
    from fedlab_utils.privacy.secure import Client

    game = play(3, length=2)
    with pytest.raises(FedlabError, match="stranger is not invited"):
        Client(Identity("stranger"), game.setup, np.zeros(2, np.uint32))
    for vector in (np.zeros(3, np.uint32), np.zeros(2, np.uint64), np.zeros(2)):
        with pytest.raises(FedlabError, match="the round wants uint32"):
            Client(game.identities[0], game.setup, vector)


@pytest.mark.parametrize(
    ("clients", "options", "says"),
    [
        (1, {}, "sum of one"),
        (5, {"threshold": 2}, "3 to 5"),
        (5, {"threshold": 6}, "3 to 5"),
        (5, {"neighbours": 3}, "even"),
        (5, {"neighbours": 6}, "2 to 4"),
        (6, {"neighbours": 4, "threshold": 2}, "3 to 5"),
        (5, {"bits": 16}, "32 or 64"),
        (5, {"length": 0}, "length"),
        (5, {"round_": -1}, "round"),
        (5, {"session": b"short"}, "16 bytes"),
    ],
)
def test_setups_that_make_no_sense_or_are_not_secure(clients, options, says):
    options = {"length": 4, **options}
    with pytest.raises(FedlabError, match=says):
        invite(fresh(clients), **options)


def test_names_and_keys_are_different():
    with pytest.raises(FedlabError, match="different names"):
        invite([IDENTITIES[0]] * 2, 3)


def test_the_default_threshold_is_just_above_two_thirds():
    assert [default_threshold(k) for k in (2, 3, 4, 9, 10, 100)] == [2, 3, 3, 7, 7, 67]


@pytest.mark.parametrize("drop", [{"bank 99": "upload"}, {"bank 1": "lunch"}])
def test_dropping_who_is_not_there_or_at_no_step(drop):
    identities = fresh(3)
    with pytest.raises(FedlabError, match="give a client of the round"):
        run_round(identities, invite(identities, 2), np.zeros((3, 2), np.uint32), drop)


def test_false_shares_are_found_and_the_secret_is_named(play):
    from dataclasses import replace

    from fedlab_utils.privacy.secure.messages import FROM_CLIENTS
    from fedlab_utils.privacy.secure.wire import parse

    for field, owner in (("seeds", 2), ("mask_keys", 5)):
        for false in (bytes(33), b"\xff" * 33, None):
            game = play(5, threshold=3).steps(2)
            game.step(silent={5})
            game.step()
            said = game.speak()
            honest = parse(said[1], game.setup, FROM_CLIENTS)
            table = dict(getattr(honest, field))
            good = table[owner]
            table[owner] = false or (int.from_bytes(good, "big") ^ 1).to_bytes(33, "big")
            said[1] = game.sign(replace(honest, **{field: table}))
            for data in said.values():
                game.server.receive(data)
            with pytest.raises(ForgedMessage, match=f"bank {owner}'s secret do not give"):
                game.server.advance()
            with pytest.raises(WrongStep):
                _ = game.server.total


def test_shares_that_give_no_key_at_all_are_found_too(play):
    from dataclasses import replace

    from fedlab_utils.privacy.secure.messages import FROM_CLIENTS
    from fedlab_utils.privacy.secure.shamir import PRIME
    from fedlab_utils.privacy.secure.wire import parse

    game = play(3, threshold=2).steps(4)
    for data in game.speak().values():
        honest = parse(data, game.setup, FROM_CLIENTS)
        seeds = {**honest.seeds, 2: (PRIME - 1).to_bytes(33, "big")}  # more than 32 bytes hold
        game.server.receive(game.sign(replace(honest, seeds=seeds)))
    with pytest.raises(ForgedMessage, match="bank 2's secret do not give"):
        game.server.advance()
