"""Exercises of chapter 06: differential privacy."""

from typing import Any

import numpy as np
import torch

from fedlab_utils.course import expect
from fedlab_utils.course.checks import exercise


def clipped_sum(vectors: torch.Tensor, clip: float) -> torch.Tensor:
    """Return the sum [P] of the rows of `vectors` [n, P], each shortened to at most `clip`."""
    norms = vectors.norm(dim=1, keepdim=True)
    return (vectors * (clip / norms.clamp_min(1e-12)).clamp(max=1.0)).sum(dim=0)


@exercise(
    "06.1",
    "A sum of bounded sensitivity",
    solution=clipped_sum,
    wrong=(
        lambda vectors, clip: vectors.clamp(-clip, clip).sum(dim=0),
        lambda vectors, clip: vectors.sum(dim=0) * min(1.0, clip / float(vectors.sum(0).norm())),
        lambda vectors, clip: (
            vectors * clip / vectors.norm(dim=1, keepdim=True).clamp_min(1e-12)
        ).sum(dim=0),
        lambda vectors, clip: (
            vectors * (clip / vectors.norm(dim=1, keepdim=True).clamp_min(1e-12)).clamp(max=1.0)
        ).mean(dim=0),
    ),
    hints=(
        "Which factor makes a vector of norm 5 have norm 2? And which one a vector of norm 1?",
        "Each row gets a factor of its own, and none is ever made longer.",
    ),
)
def check_clipped_sum(answer: Any) -> None:
    far = torch.tensor([[3.0, 4.0]])
    expect.close(answer(far, 1.0), [0.6, 0.8], "the row (3, 4) with clip 1")
    expect.close(answer(far, 10.0), [3.0, 4.0], "the row (3, 4) with clip 10: it is short enough")
    rows = torch.tensor([[3.0, 4.0], [0.0, 0.0], [0.3, 0.0]])
    expect.close(answer(rows, 1.0), [0.9, 0.8], "three rows, one of them zeros", atol=1e-5)
    with_one = answer(torch.cat([rows, 1e6 * far]), 1.0)
    moved = np.linalg.norm(expect.numbers(with_one, "the sum") - expect.numbers([0.9, 0.8], ""))
    expect.that(moved < 1.0001, "One more row moves the sum by more than the clip norm.")


def epsilon_of_sums(noise_multiplier: float, steps: int, delta: float, orders: Any) -> float:
    """Return the epsilon of `steps` Gaussian sums without sampling, by the best of `orders`."""
    orders = np.asarray(orders, dtype=float)
    divergence = steps * orders / (2 * noise_multiplier**2)
    return float((divergence + np.log(1 / delta) / (orders - 1)).min())


@exercise(
    "06.2",
    "The account of many sums",
    solution=epsilon_of_sums,
    wrong=(
        lambda z, steps, delta, orders: (
            steps
            * float(
                (
                    np.asarray(orders) / (2 * z**2) + np.log(1 / delta) / (np.asarray(orders) - 1)
                ).min()
            )
        ),
        lambda z, steps, delta, orders: float(
            (steps * np.asarray(orders) / (2 * z**2) + np.log(1 / delta)).min()
        ),
        lambda z, steps, delta, orders: float(
            (
                steps * np.asarray(orders) / (2 * z) + np.log(1 / delta) / (np.asarray(orders) - 1)
            ).min()
        ),
        lambda z, steps, delta, orders: float(
            (
                steps * np.asarray(orders) / (2 * z**2)
                + np.log(1 / delta) / (np.asarray(orders) - 1)
            ).max()
        ),
    ),
    hints=(
        "Which of the two terms grows with the number of steps? Add up first, convert once.",
        "Every order gives a true bound, so you may take the smallest.",
    ),
)
def check_epsilon_of_sums(answer: Any) -> None:
    one = expect.numbers(answer(2.0, 1, 1e-5, [4.0]), "the epsilon")
    expect.close(one, 4 / 8 + np.log(1e5) / 3, "one sum, noise multiplier 2, order 4")
    orders = np.arange(2, 200)
    for z, steps, delta in ((2.0, 1, 1e-5), (5.0, 100, 1e-6)):
        given = answer(z, steps, delta, orders)
        wanted = epsilon_of_sums(z, steps, delta, orders)
        expect.close(given, wanted, f"{steps} sums, noise multiplier {z:g}, delta {delta:g}")


def row_norms(delta: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
    """Return the norms [B] of a dense layer's gradients (weight and bias), row by row.

    delta [B, out] is the loss's derivative by the layer's output, h [B, in] its input.
    """
    return (delta.square().sum(dim=1) * (h.square().sum(dim=1) + 1)).sqrt()


@exercise(
    "06.3",
    "The norm of a gradient that nobody makes",
    solution=row_norms,
    wrong=(
        lambda delta, h: (delta.square().sum(dim=1) * h.square().sum(dim=1)).sqrt(),
        lambda delta, h: delta.square().sum(dim=1) * (h.square().sum(dim=1) + 1),
        lambda delta, h: (delta.T @ h).norm() * torch.ones(len(h)),
        lambda delta, h: (delta.square().sum(dim=1) + h.square().sum(dim=1) + 1).sqrt(),
    ),
    hints=(
        "The weight's gradient of one row is the outer product of delta and h: what is its norm?",
        "The bias's gradient is delta itself: as if h had one more entry, a 1.",
    ),
)
def check_row_norms(answer: Any) -> None:
    draw = torch.Generator().manual_seed(6)
    for b, n_in, n_out in ((4, 3, 2), (3, 5, 7)):
        delta, h = torch.randn(b, n_out, generator=draw), torch.randn(b, n_in, generator=draw)
        wanted = [
            torch.cat([torch.outer(delta[i], h[i]).flatten(), delta[i]]).norm() for i in range(b)
        ]
        given = answer(delta, h)
        expect.shape(given, (b,), f"{b} rows")
        expect.close(given, torch.stack(wanted), f"{b} rows", rtol=1e-4, atol=1e-6)


def noise_for_a_person(noise_multiplier: float, records: int) -> float:
    """Return the noise multiplier with which a person of that many records is protected."""
    return noise_multiplier / records


@exercise(
    "06.4",
    "A person with several records",
    solution=noise_for_a_person,
    wrong=(
        lambda noise_multiplier, records: noise_multiplier,
        lambda noise_multiplier, records: noise_multiplier * records,
        lambda noise_multiplier, records: noise_multiplier / records**0.5,
    ),
    hints=(
        "A noise multiplier is noise / sensitivity. Which of the two is another one for a person?",
        "In the worst case all of the person's clipped vectors point in the same direction.",
    ),
)
def check_noise_for_a_person(answer: Any) -> None:
    expect.close(answer(2.0, 1), 2.0, "a person with one record")
    expect.close(answer(2.0, 4), 0.5, "noise multiplier 2, four records")
    expect.close(answer(1.1, 10), 0.11, "noise multiplier 1.1, ten records")
