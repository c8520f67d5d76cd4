"""What a private mean costs in bytes and seconds, beside the plain one. Taught in chapter 08."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from fedlab_utils.federate.aggregators import (
    Aggregator,
    Mean,
    RoundAggregator,
    RoundContext,
    first_memory,
)
from fedlab_utils.federate.aggregators import aggregate as call

if TYPE_CHECKING:
    import pandas as pd


def compare_costs(
    aggregators: Mapping[str, Aggregator | RoundAggregator],
    *,
    size: int,
    clients: int = 10,
    seed: int = 0,
) -> pd.DataFrame:
    """One round of each aggregator on the same random updates [clients, size].

    Returns a table, one row per name: bytes up and down for one client, `up` as a multiple of
    plain float32, seconds of the whole round (all roles, on this machine, keys made before), and
    the largest difference from the plain weighted mean. Taught in chapter 08.
    """
    import pandas as pd

    draw = torch.Generator().manual_seed(seed)
    updates = 0.1 * torch.randn(clients, size, generator=draw)
    weights = torch.randint(500, 2000, (clients,), generator=draw).float()
    names = tuple(f"client {i}" for i in range(1, clients + 1))
    wanted = Mean().aggregate(updates.double(), weights)
    rows = []
    for name, aggregator in aggregators.items():
        state = first_memory(aggregator, size)
        begin = time.perf_counter()
        done = call(aggregator, updates, weights, state, RoundContext(seed, 0, names, clients))
        seconds = time.perf_counter() - begin
        plain = 4 * size * clients
        up = plain if done.bytes_up is None else done.bytes_up
        down = plain if done.bytes_down is None else done.bytes_down
        rows.append(
            {
                "aggregator": name,
                "bytes up": up // clients,
                "bytes down": down // clients,
                "times plain": up / plain,
                "seconds": seconds,
                "largest error": float((done.update.double() - wanted).abs().max()),
            }
        )
    return pd.DataFrame(rows).set_index("aggregator")
