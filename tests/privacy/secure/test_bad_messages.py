"""Replayed, reordered, duplicated, forged and wrong-round messages are refused by name."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedlab_utils.privacy.secure import (
    DuplicateMessage,
    ForgedMessage,
    Identity,
    MalformedMessage,
    ProtocolError,
    RefusedRequest,
    Server,
    TooFewClients,
    UnknownSender,
    WrongRound,
    WrongStep,
    invite,
)
from fedlab_utils.privacy.secure.messages import (
    FROM_CLIENTS,
    FROM_SERVER,
    Agreement,
    Consent,
    Inbox,
    Keys,
    Reveal,
    Roster,
    Shares,
    Survivors,
    Upload,
)
from fedlab_utils.privacy.secure.wire import SERVER, Reader, bitmap, parse, read_bitmap

STEPS = (Keys, Shares, Upload, Consent, Reveal)
ANSWERS = (Roster, Inbox, Survivors, Agreement)


def changed(data: bytes, at: int, bit: int = 1) -> bytes:
    """The same bytes with one bit turned."""
    return data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :]


# What the server refuses. After every refusal the round ends with the exact sum.


@pytest.mark.parametrize("step", range(5))
def test_the_server_refuses_and_goes_on(play, step):
    game, before = play(4), {}
    for _ in range(step):
        before = game.step()
    said = game.speak()
    first, kind = said[1], STEPS[step].__name__
    server = game.server
    with pytest.raises(WrongRound, match=f"{kind} of bank 1 belongs to round 2; this is round 3"):
        server.receive(changed(first, 1))
    with pytest.raises(ForgedMessage, match=f"{kind} of bank 1"):  # its very last bit
        server.receive(changed(first, len(first) - 1, 0x80))
    with pytest.raises(ForgedMessage, match=f"{kind} of bank 2"):  # somebody else's name
        server.receive(first[:5] + b"\x02\x00" + first[7:])
    with pytest.raises(UnknownSender, match="client 9 is not invited"):
        server.receive(first[:5] + b"\x09\x00" + first[7:])
    for cut in (0, 3, 6, 30, len(first) - 1):
        with pytest.raises((MalformedMessage, ForgedMessage)):
            server.receive(first[:cut])
    with pytest.raises((MalformedMessage, ForgedMessage)):
        server.receive(first + b"\x00")
    with pytest.raises(MalformedMessage, match="kind 77"):
        server.receive(b"\x4d" + first[1:])
    if before:
        with pytest.raises(WrongStep, match=r"bank 1.*late, replayed or out of order"):
            server.receive(before[1])
    for data in said.values():
        server.receive(data)
    with pytest.raises(DuplicateMessage, match=f"{kind} of bank 2 has already arrived"):
        server.receive(said[2])
    game.inbox = server.advance()
    with pytest.raises(WrongStep):
        server.receive(said[3])
    game.finish()


def test_a_message_of_a_later_step_is_refused(play):
    game = play(4)
    early = game.sign(Upload(3, 1, vector=bytes(24)))
    with pytest.raises(WrongStep, match="Upload of bank 1 at a time for Keys"):
        game.server.receive(early)
    game.finish()


def test_who_dropped_out_cannot_come_back(play):
    game = play(5, threshold=3).steps(1)
    game.step(silent={4})
    upload = game.sign(Upload(3, 4, vector=bytes(24)))
    with pytest.raises(UnknownSender, match="bank 4, which dropped out"):
        game.server.receive(upload)
    game.finish()


def test_a_message_of_another_session_is_forged_in_this_one(play):
    one, other = play(4, session=b"a" * 16), play(4, session=b"b" * 16)
    other.identities = one.identities
    data = one.speak()[1]
    with pytest.raises(ForgedMessage, match="Keys of bank 1"):
        Server(invite(one.identities, 6, round_=3, session=b"b" * 16)).receive(data)


def test_shares_and_reveals_must_be_complete(play):
    game = play(4).steps(1)
    said = game.speak()
    shares = parse(said[1], game.setup, FROM_CLIENTS)
    fewer = {k: v for k, v in shares.boxes.items() if k != 3}
    with pytest.raises(MalformedMessage, match="for 2 clients, not for the 3 peers"):
        game.server.receive(game.sign(replace(shares, boxes=fewer)))
    for data in said.values():
        game.server.receive(data)
    game.inbox = game.server.advance()
    game.steps(2)
    said = game.speak()
    reveal = parse(said[1], game.setup, FROM_CLIENTS)
    both = replace(reveal, mask_keys={2: bytes(33)})
    with pytest.raises(MalformedMessage, match="not one share of each peer"):
        game.server.receive(game.sign(both))
    for data in said.values():
        game.server.receive(data)
    game.server.advance()
    game.check_sum()


def test_a_key_may_be_shown_once_only(play):
    game = play(4)
    said = game.speak()
    game.server.receive(said[1])
    first = parse(said[1], game.setup, FROM_CLIENTS)
    second = parse(said[2], game.setup, FROM_CLIENTS)
    for copied in (
        replace(second, mask_key=first.mask_key),
        replace(second, box_key=first.mask_key),
        replace(second, box_key=second.mask_key),
    ):
        with pytest.raises(ForgedMessage, match="Keys of bank 2 show a public key twice"):
            game.server.receive(game.sign(copied))


def test_consent_to_another_list_is_refused(play):
    game = play(4, threshold=3).steps(3)
    other = Consent(3, 1, survivors=frozenset({1, 2, 3}))
    with pytest.raises(RefusedRequest, match="another list of survivors"):
        game.server.receive(game.sign(other))
    game.finish()


# What a client refuses. It answers afterwards, when the right message comes.


@pytest.mark.parametrize("step", range(4))
def test_a_client_refuses_and_goes_on(play, step):
    game = play(4)
    game.step()
    old = None
    for _ in range(step):
        old = game.inbox[1]
        game.step()
    client, data = game.clients[1], game.inbox[1]
    with pytest.raises(WrongRound, match="of the server belongs to round 2"):
        client.receive(changed(data, 1))
    with pytest.raises(MalformedMessage):
        client.receive(data[:-1])
    with pytest.raises(MalformedMessage):
        client.receive(data + b"\x00")
    with pytest.raises(MalformedMessage, match="kind 1 is"):
        client.receive(b"\x01" + data[1:])
    with pytest.raises(UnknownSender, match="only the server sends"):
        client.receive(data[:5] + b"\x02\x00" + data[7:])
    if old:
        with pytest.raises(WrongStep, match="late, replayed, or out of order"):
            client.receive(old)
    later = Agreement(3, SERVER) if step < 3 else Roster(3, SERVER)
    with pytest.raises(WrongStep):
        client.receive(later.to_bytes())
    game.step()
    with pytest.raises(WrongStep, match="expected"):  # the same message once more
        client.receive(data)
    with pytest.raises(WrongStep, match="already started"):
        client.start()
    game.finish() if game.server.awaits else game.check_sum()


@given(st.integers(0, 3), st.data())
@settings(max_examples=40, deadline=None)
def test_no_turned_bit_gets_past_a_client(step, data):
    from tests.privacy.secure.conftest import Play

    game = Play(3, length=2)
    game.step()
    for _ in range(step):
        game.step()
    message = game.inbox[1]
    at = data.draw(st.integers(0, len(message) - 1))
    bad = changed(message, at, 1 << data.draw(st.integers(0, 7)))
    with pytest.raises(ProtocolError):
        game.clients[1].receive(bad)
    game.step()
    game.finish() if game.server.awaits else game.check_sum()


@given(st.integers(0, 4), st.data())
@settings(max_examples=40, deadline=None)
def test_no_turned_bit_gets_past_the_server(step, data):
    from tests.privacy.secure.conftest import Play

    game = Play(3, length=2)
    for _ in range(step):
        game.step()
    said = game.speak()
    at = data.draw(st.integers(0, len(said[1]) - 1))
    with pytest.raises(ProtocolError):
        game.server.receive(changed(said[1], at, 1 << data.draw(st.integers(0, 7))))
    for message in said.values():
        game.server.receive(message)
    game.inbox = game.server.advance()
    game.finish() if game.server.awaits else game.check_sum()


@given(st.binary(max_size=300), st.booleans())
@settings(max_examples=60, deadline=None)
def test_any_bytes_are_refused_by_name(data, to_server):
    from tests.privacy.secure.conftest import Play

    game = Play(3, length=2)
    game.step()
    kind = 2 if to_server else 11
    for bad in (data, bytes([kind]) + (3).to_bytes(4, "little") + data):
        with pytest.raises(ProtocolError):
            game.server.receive(bad) if to_server else game.clients[1].receive(bad)
    game.step()


def roster(game, client: int) -> Roster:
    return parse(game.inbox[client], game.setup, FROM_SERVER)


def test_a_roster_with_forged_keys(play):
    game = play(4).steps(1)
    honest = roster(game, 1)
    client = game.clients[1]
    evil = Identity("evil")
    own = replace(honest.keys[0], mask_key=bytes([9]) + bytes(31))
    swapped = replace(honest.keys[0], sender=3)
    for keys in (own, own.signed(evil, game.setup), swapped):
        with pytest.raises(ForgedMessage, match="the signature is not that of its sender"):
            others = [k for k in honest.keys[1:] if k.sender != keys.sender]
            client.receive(Roster(3, SERVER, (keys, *others)).to_bytes())
    copied = parse(game.sign(replace(honest.keys[1], mask_key=honest.keys[0].mask_key)), game.setup,
                   FROM_CLIENTS)  # fmt: skip
    with pytest.raises(ForgedMessage, match="bank 3 shows somebody else's public key"):
        client.receive(Roster(3, SERVER, (honest.keys[0], copied, honest.keys[2])).to_bytes())
    with pytest.raises(UnknownSender, match="client 9 is not among its peers"):
        client.receive(Roster(3, SERVER, (replace(own, sender=9),)).to_bytes())
    with pytest.raises(UnknownSender, match="bank 1 is not among its peers"):
        client.receive(Roster(3, SERVER, (client._keys,)).to_bytes())
    with pytest.raises(TooFewClients, match="2 of its 4 holders have sent keys"):
        client.receive(Roster(3, SERVER, honest.keys[:1]).to_bytes())
    with pytest.raises(MalformedMessage, match="two entries for one client"):
        client.receive(_twice(honest))
    game.finish()


def _twice(honest: Roster) -> bytes:
    """A roster in which one client stands twice; `table` would not write it."""
    data = honest.to_bytes()
    size = (len(data) - 9) // 3
    return data[: 9 + size] + data[9 : 9 + size] + data[9 + 2 * size :]


def test_more_entries_than_clients_are_not_even_read():
    setup = invite([Identity(str(i)) for i in range(3)], 2)
    with pytest.raises(MalformedMessage, match="at most 3 make sense"):
        parse(b"\x0c" + bytes(6) + b"\xff\xff", setup, FROM_SERVER)


def test_a_key_that_agrees_on_zero_is_refused(play):
    """A client may sign a public key of small order; then everybody would know the pair's mask."""
    for field in ("mask_key", "box_key"):
        game = play(4, threshold=3)
        said = game.speak()
        honest = parse(said[4], game.setup, FROM_CLIENTS)
        said[4] = game.sign(replace(honest, **{field: bytes(32)}))
        for data in said.values():
            game.server.receive(data)
        game.inbox = game.server.advance()
        with pytest.raises(ForgedMessage, match="agrees on zero"):
            for _ in range(2):
                game.step()


def test_boxes_that_were_changed_swapped_or_meant_for_another(play):
    game = play(4).steps(2)
    client = game.clients[1]
    inbox = parse(game.inbox[1], game.setup, FROM_SERVER)
    other = parse(game.inbox[2], game.setup, FROM_SERVER)
    boxes = inbox.boxes
    for bad in (
        {**boxes, 2: changed(boxes[2], 40)},
        {**boxes, 2: boxes[3], 3: boxes[2]},
        {**boxes, 3: other.boxes[3]},
    ):
        with pytest.raises(ForgedMessage, match="the sealed shares were changed"):
            client.receive(Inbox(3, SERVER, bad).to_bytes())
    with pytest.raises(UnknownSender, match="bank 1 is not among"):
        client.receive(Inbox(3, SERVER, {**boxes, 1: boxes[2]}).to_bytes())
    with pytest.raises(TooFewClients, match="2 of its 4 holders have shared"):
        client.receive(Inbox(3, SERVER, {2: boxes[2]}).to_bytes())
    game.finish()


def test_lists_of_survivors_that_cannot_be_true(play):
    game = play(6, threshold=4).steps(1)
    game.step(silent={6})
    game.step()
    client = game.clients[1]

    def told(*survivors: int) -> bytes:
        return Survivors(3, SERVER, frozenset(survivors)).to_bytes()

    with pytest.raises(RefusedRequest, match="bank 1 has sent its vector, but the server says"):
        client.receive(told(2, 3, 4, 5))
    with pytest.raises(RefusedRequest, match="bank 6, which has shared no secrets"):
        client.receive(told(1, 2, 3, 4, 5, 6))
    with pytest.raises(TooFewClients, match="3 of its 6 holders have survived"):
        client.receive(told(1, 2, 3))
    with pytest.raises(MalformedMessage, match="beyond 1 to 6"):
        client.receive(told(1, 2, 3, 4, 7))
    game.finish()


def test_two_lists_of_survivors_get_one_answer(play):
    """The server wants the seed of bank 5 from some, and its mask key from others."""
    game = play(5, threshold=3).steps(3)
    with_5 = Survivors(3, SERVER, frozenset({1, 2, 3, 4, 5}))
    without = Survivors(3, SERVER, frozenset({1, 2, 3, 4}))
    consents = {}
    for i, told in ((1, with_5), (2, with_5), (3, without), (4, without)):
        consents[i] = parse(game.clients[i].receive(told.to_bytes()), game.setup, FROM_CLIENTS)
        again = without if told is with_5 else with_5
        with pytest.raises(WrongStep, match="expected Agreement"):
            game.clients[i].receive(again.to_bytes())
    signatures = {i: c.signature for i, c in consents.items()}
    for i in (1, 2, 3, 4):
        others = {j: s for j, s in signatures.items() if j != i}
        with pytest.raises(ForgedMessage, match="has not signed the list of survivors"):
            game.clients[i].receive(Agreement(3, SERVER, others).to_bytes())
        same_side = {1: 2, 2: 1, 3: 4, 4: 3}[i]
        few = {same_side: signatures[same_side]}
        with pytest.raises(TooFewClients, match="2 of its 5 holders have signed"):
            game.clients[i].receive(Agreement(3, SERVER, few).to_bytes())


@given(st.permutations(range(8)), st.integers(0, 2**16))
@settings(max_examples=30, deadline=None)
def test_never_both_secrets_of_one_client(order, pick):
    """Whatever lists a server tells, and in whatever order, a client gives one secret of each."""
    from tests.privacy.secure.conftest import Play

    game = Play(5, length=1, threshold=3).steps(3)
    lists = [
        frozenset({1, 2, 3, 4, 5}) - {3 + (n + pick) % 3 for n in range(size)}
        for size in (0, 1, 2, 2)
    ]
    signed = [
        {
            i: Consent(3, i, survivors=told).signed(game.identities[i - 1], game.setup).signature
            for i in told - {1}
        }
        for told in lists
    ]
    messages = [Survivors(3, SERVER, told).to_bytes() for told in lists]
    messages += [Agreement(3, SERVER, each).to_bytes() for each in signed]
    revealed: list[Reveal] = []
    for number in (*order, *order):
        try:
            answer = game.clients[1].receive(messages[number])
        except ProtocolError:
            continue
        message = parse(answer, game.setup, FROM_CLIENTS)
        if isinstance(message, Reveal):
            revealed.append(message)
    assert len(revealed) <= 1
    for reveal in revealed:
        assert not reveal.seeds.keys() & reveal.mask_keys.keys()
        assert 1 in reveal.seeds and len(reveal.seeds) >= 3


# Bytes there and back


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_every_message_survives_the_wire(data):
    setup = invite([Identity(str(i)) for i in range(4)], 3, round_=9)
    sender = data.draw(st.integers(1, 4))
    some = st.sets(st.integers(1, 4))

    def table(size: int) -> dict[int, bytes]:
        return {i: data.draw(st.binary(min_size=size, max_size=size)) for i in data.draw(some)}

    three = [data.draw(st.binary(min_size=32, max_size=32)) for _ in range(3)]
    signature = data.draw(st.binary(min_size=64, max_size=64))
    keys = Keys(9, sender, signature, *three)
    alive = frozenset(data.draw(some))
    for message in (
        keys,
        Shares(9, sender, signature, table(82)),
        Upload(9, sender, signature, np.arange(3, dtype="<u4").tobytes()),
        Consent(9, sender, signature, alive),
        Reveal(9, sender, signature, table(33), table(33)),
        Roster(9, SERVER, (keys,)),
        Inbox(9, SERVER, table(82)),
        Survivors(9, SERVER, alive),
        Agreement(9, SERVER, table(64)),
    ):
        forms = FROM_CLIENTS if message.kind < 10 else FROM_SERVER
        assert parse(message.to_bytes(), setup, forms) == message


@given(st.sets(st.integers(1, 1000)))
@settings(max_examples=50, deadline=None)
def test_lists_of_clients_are_one_bit_each(clients):
    data = bitmap(clients)
    assert read_bitmap(Reader(data), 1000) == clients
    assert len(data) <= 2 + 1000 // 8 + 1
