"""Exercises of chapter 03: FedAvg from scratch."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fedlab_utils.course import expect
from fedlab_utils.course.checks import exercise

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def run_bytes(parameters: int, clients: int, rounds: int) -> int:
    """Return the bytes of a run in both directions."""
    return 4 * parameters * clients * rounds * 2


@exercise(
    "03.1",
    "The bytes of a run",
    solution=run_bytes,
    wrong=(
        lambda parameters, clients, rounds: 4 * parameters * clients * rounds,
        lambda parameters, clients, rounds: 8 * parameters * rounds,
        lambda parameters, clients, rounds: 2 * parameters * clients * rounds,
        lambda parameters, clients, rounds: 16 * parameters * clients * rounds,
    ),
    hints=(
        "How many bytes has one float32 number?",
        "Every client gets the weights and sends an update of the same length, in every round.",
    ),
)
def check_bytes(answer: Any) -> None:
    expect.close(answer(1, 1, 1), 8, "one number, one client, one round, there and back")
    expect.close(answer(1000, 3, 20), 480_000, "1,000 numbers, 3 clients, 20 rounds")


def draw_clients(total: int, k: int, seed: int, round_: int) -> np.ndarray:
    """Return the numbers [k] of the clients that take part in a round."""
    return np.random.default_rng([seed, round_]).choice(total, size=k, replace=False)


@exercise(
    "03.2",
    "Who takes part",
    solution=draw_clients,
    wrong=(
        lambda total, k, seed, round_: np.random.default_rng(seed).permutation(total)[:k],
        lambda total, k, seed, round_: np.random.default_rng([seed, round_]).integers(
            total, size=k
        ),
        lambda total, k, seed, round_: np.random.default_rng().permutation(total)[:k],
        lambda total, k, seed, round_: (np.arange(k) + round_) % total,
        lambda total, k, seed, round_: np.random.default_rng(round_).permutation(total)[:k],
        lambda total, k, seed, round_: np.random.default_rng([seed, round_]).permutation(k),
    ),
    hints=(
        "np.random.default_rng takes a list of numbers as its seed. Which two should it hold?",
        "The generator's method choice draws with replacement unless you say replace=False.",
    ),
)
def check_draw(answer: Any) -> None:
    draws = [np.sort(expect.numbers(answer(10, 4, 7, r), "the clients")) for r in range(60)]
    for draw in draws:
        expect.shape(draw, (4,), "4 clients out of 10")
        expect.that(len(set(draw)) == 4, "A client is drawn twice in one round.")
        expect.that(draw.min() >= 0 and draw.max() <= 9, "Of 10 clients the numbers are 0 to 9.")
    again = np.sort(expect.numbers(answer(10, 4, 7, 3), "the clients"))
    expect.that((again == draws[3]).all(), "The same seed and round give another draw.")
    expect.that(len({tuple(d) for d in draws}) > 20, "The draw hardly changes from round to round.")
    other = [np.sort(expect.numbers(answer(10, 4, 8, r), "the clients")) for r in range(60)]
    same = sum((a == b).all() for a, b in zip(draws, other, strict=True))
    expect.that(same < 30, "Another seed gives the same draws.")
    count = np.bincount(np.concatenate(draws).astype(int), minlength=10)
    expect.that(count.min() > 0, "Some clients are never drawn in 60 rounds.")


def stacked_layer(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Map x [K, B, in] by weight [K, out, in] and bias [K, out]; returns [K, B, out]."""
    return torch.einsum("kbi,koi->kbo", x, weight) + bias.unsqueeze(1)


@exercise(
    "03.3",
    "A stacked layer",
    solution=stacked_layer,
    wrong=(
        lambda x, weight, bias: torch.bmm(x, weight.transpose(1, 2)),
        lambda x, weight, bias: torch.einsum("kbi,koi->kbo", x, weight) + bias[0],
        lambda x, weight, bias: x @ weight[0].T + bias.unsqueeze(1),
        lambda x, weight, bias: torch.bmm(weight, x.transpose(1, 2)) + bias.unsqueeze(2),
        lambda x, weight, bias: torch.bmm(x, weight.transpose(1, 2)) + bias,
    ),
    hints=(
        "torch.bmm multiplies [K, B, in] by [K, in, out]. Which two axes of the weight must swap?",
        "The bias [K, out] needs an axis for the rows: bias.unsqueeze(1) is [K, 1, out].",
    ),
)
def check_layer(answer: Any) -> None:
    draw = torch.Generator().manual_seed(3)
    # Equal numbers of clients and rows let a bias along the wrong axis pass unless values decide.
    for k, b, n_in, n_out in ((2, 5, 4, 3), (3, 3, 6, 2)):
        x = torch.randn(k, b, n_in, generator=draw)
        weight = torch.randn(k, n_out, n_in, generator=draw)
        bias = torch.randn(k, n_out, generator=draw)
        wanted = torch.stack([x[i] @ weight[i].T + bias[i] for i in range(k)])
        expect.close(
            answer(x, weight, bias), wanted, f"{k} clients with {b} rows", rtol=1e-4, atol=1e-5
        )


def row_weights(counts: Sequence[int], width: int) -> np.ndarray:
    """Return weights [K, width] for clients with counts [K] real rows, which stand first."""
    n = np.asarray(counts)[:, None]
    return (np.arange(width) < n) / n


def _draw(given: Any, wanted: Any) -> "Figure":
    from fedlab_utils.course.figures_fedavg import expected_and_given

    return expected_and_given(given, wanted, xlabel="Row of the batch", ylabel="Client")


@exercise(
    "03.4",
    "Weights of a ragged batch",
    solution=row_weights,
    wrong=(
        lambda counts, width: np.full((len(counts), width), 1 / width),
        lambda counts, width: (np.arange(width) < np.asarray(counts)[:, None]) * 1.0,
        lambda counts, width: (np.arange(width) < np.asarray(counts)[:, None]) / width,
        lambda counts, width: (
            (np.arange(width) <= np.asarray(counts)[:, None]) / np.asarray(counts)[:, None]
        ),
        lambda counts, width: (np.arange(width) < np.asarray(counts)[:, None]) / sum(counts),
    ),
    hints=(
        "Which weights of a client add up to 1, and which are 0?",
        "np.arange(width) < counts[:, None] is a table of True (real row) and False (padding).",
    ),
    draw=_draw,
)
def check_row_weights(answer: Any) -> None:
    wanted = [[0.2] * 5, [1 / 3] * 3 + [0, 0], [1, 0, 0, 0, 0]]
    given = expect.numbers(answer(np.array([5, 3, 1]), 5), "the weights")
    expect.shape(given, (3, 5), "clients with 5, 3 and 1 rows in a batch of width 5")
    real = np.arange(5) < np.array([5, 3, 1])[:, None]
    if (given[~real] != 0).any():
        raise expect.Wrong("Padding must not count at all.", given, wanted)
    if not np.allclose(given.sum(axis=1), 1):
        raise expect.Wrong("The weights of each client must add up to 1.", given, wanted)
    expect.close(given, wanted, "clients with 5, 3 and 1 rows in a batch of width 5")
    expect.close(answer(np.array([2]), 2), [[0.5, 0.5]], "one client, full batch")
