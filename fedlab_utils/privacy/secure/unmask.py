"""Remove the masks that do not cancel by themselves. Taught in chapter 07."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fedlab_utils.privacy.secure.errors import ForgedMessage, ShareError
from fedlab_utils.privacy.secure.fixed_point import Ring
from fedlab_utils.privacy.secure.keys import KeyPair, commitment
from fedlab_utils.privacy.secure.masks import client_context, pair_mask_key, seed_mask_key
from fedlab_utils.privacy.secure.messages import Keys
from fedlab_utils.privacy.secure.prg import add_masks
from fedlab_utils.privacy.secure.setup import RoundSetup
from fedlab_utils.privacy.secure.shamir import join_key

Held = dict[int, dict[int, bytes]]  # owner of the secret: {holder: share}


def by_owner(by_holder: Mapping[int, Mapping[int, bytes]]) -> Held:
    """Turn {holder: {owner: share}} around."""
    found: Held = {}
    for holder, shares in by_holder.items():
        for owner, share in shares.items():
            found.setdefault(owner, {})[holder] = share
    return found


def unmask(
    masked_sum: Ring,
    setup: RoundSetup,
    keys: Mapping[int, Keys],
    survivors: frozenset[int],
    seeds: Held,
    mask_keys: Held,
) -> Ring:
    """The sum [length] of the survivors' vectors, from the sum of what they uploaded.

    The masks of two survivors have cancelled. What is left: each survivor's self-mask, and the
    masks that survivors share with the dropped. Raises ForgedMessage if the shares of a secret do
    not fit the public key or the commitment that its owner signed.
    """
    total = masked_sum.copy()
    add_masks(total, _left_over(setup, keys, survivors, seeds, mask_keys))
    return total


def _left_over(
    setup: RoundSetup,
    keys: Mapping[int, Keys],
    survivors: frozenset[int],
    seeds: Held,
    mask_keys: Held,
) -> Iterator[tuple[bytes, int]]:
    for owner, shares in seeds.items():
        seed = _join(shares, setup, owner)
        if commitment(seed, client_context(setup, owner)) != keys[owner].commitment:
            raise _false_shares(setup, owner)
        yield seed_mask_key(seed, setup, owner), -1
    for owner, shares in mask_keys.items():
        pair = KeyPair(_join(shares, setup, owner))
        if pair.public != keys[owner].mask_key:
            raise _false_shares(setup, owner)
        for peer in setup.peers(owner):
            if peer in survivors:
                key = pair_mask_key(pair, keys[peer].mask_key, setup, owner, peer)
                # The peer added it if its number is lower; now the opposite.
                yield key, -1 if peer < owner else 1


def _join(shares: Mapping[int, bytes], setup: RoundSetup, owner: int) -> bytes:
    try:
        return join_key(shares, setup.threshold)
    except ShareError:
        raise _false_shares(setup, owner) from None


def _false_shares(setup: RoundSetup, owner: int) -> ForgedMessage:
    return ForgedMessage(
        f"round {setup.round}: the shares of {setup.name(owner)}'s secret do not give the secret "
        f"that it committed to. A holder gave a false share, or {setup.name(owner)} shared out "
        f"another secret. There is no sum. Start another round."
    )
