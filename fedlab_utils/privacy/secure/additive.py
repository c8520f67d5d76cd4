"""Additive secret sharing over the ring of 32-bit or 64-bit integers. Taught in chapter 07."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fedlab_utils.privacy.secure.errors import ShareError
from fedlab_utils.privacy.secure.fixed_point import Ring
from fedlab_utils.privacy.secure.prg import fresh_key, stream


def share(secret: Ring, parties: int) -> Ring:
    """Split a ring vector [P] into `parties` shares [parties, P] that add up to it.

    All but one share are random; the last is what is missing. Any `parties` - 1 of them are
    uniform noise and say nothing. Raises ShareError for fewer than two parties or for numbers that
    are not uint32 or uint64.
    """
    if parties < 2:
        raise ShareError(f"parties={parties}: a share of one is the secret itself; give 2 or more.")
    secret = np.asarray(secret)
    if secret.dtype not in (np.uint32, np.uint64):
        raise ShareError(f"shares are uint32 or uint64, the secret is {secret.dtype}; encode it.")
    shares = np.empty((parties, *secret.shape), secret.dtype)
    shares[:-1] = stream(fresh_key(), shares[:-1].size, secret.dtype).reshape(shares[:-1].shape)
    shares[-1] = secret - shares[:-1].sum(axis=0, dtype=secret.dtype)
    return shares


def combine(shares: Sequence[Ring] | Ring) -> Ring:
    """Add shares [parties, P] up to the secret [P]; sums of shares give the sum of secrets."""
    stacked = np.asarray(shares)
    if stacked.dtype not in (np.uint32, np.uint64):
        raise ShareError(f"shares are uint32 or uint64, these are {stacked.dtype}.")
    return stacked.sum(axis=0, dtype=stacked.dtype)
