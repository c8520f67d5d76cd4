"""Honest rows and attackers for the tests of robust aggregators."""

import numpy as np
import torch
from hypothesis import strategies as st

from fedlab_utils.federate.aggregators import Aggregated, RoundContext, aggregate, first_memory


def context(clients, round_=0, seed=0):
    names = tuple(f"bank {i}" for i in range(1, clients + 1))
    return RoundContext(seed=seed, round=round_, clients=names, population=clients)


def combined(aggregator, updates, weights=None, round_=0) -> Aggregated:
    """One round of an aggregator of either kind, from its first memory."""
    updates = torch.as_tensor(updates)
    weights = torch.ones(len(updates)) if weights is None else torch.as_tensor(weights).float()
    state = first_memory(aggregator, updates.shape[1])
    return aggregate(aggregator, updates, weights, state, context(len(updates), round_))


def rows(clients, size=6, seed=0, around=0.0):
    """Rows [clients, size] float64 of the same distribution."""
    rng = np.random.default_rng(seed)
    return torch.from_numpy(around + rng.normal(size=(clients, size)))


VALUES = st.floats(-1e6, 1e6, width=32)
ANYTHING = st.one_of(VALUES, st.sampled_from([np.inf, -np.inf, np.nan, 3e38, -3e38]))


@st.composite
def attacked(draw, honest_for=lambda f: f + 1, most=4):
    """(updates [K, P] in any order, honest rows [K - f, P], f): up to f rows are anything at all.

    `honest_for(f)` is the fewest honest rows against f attackers.
    """
    f = draw(st.integers(0, most))
    honest = draw(st.integers(honest_for(f), honest_for(f) + 4))
    size = draw(st.integers(1, 4))
    good = [[draw(VALUES) for _ in range(size)] for _ in range(honest)]
    bad = [[draw(ANYTHING) for _ in range(size)] for _ in range(f)]
    order = draw(st.permutations(range(honest + f)))
    updates = torch.tensor(good + bad, dtype=torch.float64)[list(order)]
    return updates, torch.tensor(good, dtype=torch.float64), f
