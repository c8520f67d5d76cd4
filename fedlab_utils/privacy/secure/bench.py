"""Time and bytes of a round: `python -m fedlab_utils.privacy.secure.bench`. Taught in chapter 07.

Everything is computed in one process on one core: the work of all clients, one after the other,
and of the server. In reality the clients work side by side, so the time per client counts.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

from fedlab_utils.privacy.secure.keys import Identity
from fedlab_utils.privacy.secure.setup import invite
from fedlab_utils.privacy.secure.simulate import run_round


def measure(
    clients: int,
    parameters: int,
    *,
    neighbours: int | None = None,
    bits: int = 32,
    dropped: float = 0.1,
) -> dict[str, float | int | str]:
    """One round with random vectors, a share of the clients dropping out before the upload.

    Returns clients, parameters, graph, seconds (all parties together), ms per client, server ms,
    kB up and kB down per client, times plain (bytes up against float32). Raises AssertionError
    unless the sum is exact.
    """
    identities = [Identity(f"client {i}") for i in range(clients)]
    setup = invite(identities, parameters, neighbours=neighbours, bits=bits)
    rng = np.random.default_rng(0)
    vectors = rng.integers(0, 2**bits, size=(clients, parameters), dtype=setup.dtype)
    gone = int(dropped * clients)
    drop = dict.fromkeys(setup.names[:gone], "upload")
    outcome = run_round(identities, setup, list(vectors), drop)
    assert np.array_equal(outcome.total, vectors[gone:].sum(axis=0, dtype=setup.dtype))
    left = clients - gone
    return {
        "clients": clients,
        "parameters": parameters,
        "graph": "complete" if neighbours is None else f"{neighbours} neighbours",
        "seconds": outcome.client_seconds + outcome.server_seconds,
        "ms per client": 1e3 * outcome.client_seconds / clients,
        "server ms": 1e3 * outcome.server_seconds,
        "kB up": outcome.bytes_up / left / 1e3,
        "kB down": outcome.bytes_down / left / 1e3,
        "times plain": outcome.bytes_up / left / (4 * parameters),
    }


def sweep(
    clients: Sequence[int], parameters: Sequence[int], neighbours: int | None = 20
) -> list[dict[str, float | int | str]]:
    """`measure` for all pairs, with the complete graph and (where it differs) the sparse one."""
    rows = []
    for k in clients:
        for p in parameters:
            rows.append(measure(k, p))
            if neighbours is not None and neighbours < k - 1:
                rows.append(measure(k, p, neighbours=neighbours))
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, nargs="+", default=[10, 30, 100])
    parser.add_argument("--parameters", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--neighbours", type=int, default=20, help="of the sparse graph")
    parser.add_argument("--figure", help="also write a PNG to this path")
    options = parser.parse_args(arguments)
    rows = sweep(options.clients, options.parameters, options.neighbours)
    import pandas as pd

    print(pd.DataFrame(rows).round(2).to_string(index=False))
    if options.figure:
        from fedlab_utils.course.figures_secure import cost

        cost(rows).savefig(options.figure)


if __name__ == "__main__":
    main()
