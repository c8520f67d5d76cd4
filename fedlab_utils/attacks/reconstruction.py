"""How much of a client's rows a reconstruction gives away. Taught in chapters 06-08."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedlab_utils.detect.scores import check_rows
from fedlab_utils.errors import DataError


@dataclass(frozen=True)
class Reconstruction:
    """How near recovered rows come to the true ones, beside guesses that saw no update.

    Errors are relative: distance to the recovered row divided by the true row's length, so that
    guessing the mean of standardised data (zeros) has error 1.

    Attributes:
        pairs: [n] int, the recovered row that is matched to each true row; -1 for none.
        errors: [n] relative error of each true row; a true row without partner has error 1.
        error: the median of `errors`.
        recovered: share of the true rows with an error below the threshold.
        rmse: root mean squared error over all numbers.
        rmse_mean: the same for the guess zeros.
        rmse_reference: the same for rows drawn from public data, matched in the same way, mean
            of the draws; nan without a reference.
        recovered_reference: their share of true rows below the threshold.
    """

    pairs: np.ndarray
    errors: np.ndarray
    error: float
    recovered: float
    rmse: float
    rmse_mean: float
    rmse_reference: float
    recovered_reference: float


def reconstruction_success(
    true_rows: np.ndarray,
    recovered: np.ndarray,
    *,
    reference: np.ndarray | None = None,
    threshold: float = 0.1,
    draws: int = 20,
    seed: int = 0,
) -> Reconstruction:
    """Match recovered rows [m, d] to true rows [n, d] and measure the attack's success.

    Rows come back in no order, so they are matched one to one such that the sum of squared
    distances is smallest. m and n may differ.

    Args:
        true_rows: [n, d] standardised rows of the client.
        recovered: [m, d], for example `invert_update(...).rows`.
        reference: [r, d] public rows of the same kind (not the client's) to guess from.
        threshold: relative error below which a row counts as recovered.
        draws: how often m rows are drawn from the reference.
        seed: fixes the draws.

    Raises DataError for rows that are not finite or do not fit together. Taught in chapters 06-08.
    """
    true = check_rows(true_rows, "true_rows").astype(np.float64)
    guess = check_rows(recovered, "recovered").astype(np.float64)
    if true.ndim != 2 or guess.ndim != 2 or true.shape[1] != guess.shape[1] or not len(true):
        raise DataError(
            f"true_rows {list(true.shape)} and recovered {list(guess.shape)} must be [n, d] and "
            f"[m, d] with the same d and n of at least 1."
        )
    pairs, errors, rmse = _measure(true, guess)
    by_chance = np.full((1, 2), np.nan)
    if reference is not None:
        public = check_rows(reference, "reference").astype(np.float64)
        if public.shape[1:] != true.shape[1:] or len(public) < len(guess):
            raise DataError(
                f"reference {list(public.shape)} must have {true.shape[1]} features and at least "
                f"{len(guess)} rows to draw from."
            )
        rng = np.random.default_rng([seed, 0x6E55])
        chosen = [
            _measure(true, public[rng.choice(len(public), len(guess), replace=False)])
            for _ in range(draws)
        ]
        by_chance = np.array([[r, (e < threshold).mean()] for _, e, r in chosen])
    return Reconstruction(
        pairs=pairs,
        errors=errors,
        error=float(np.median(errors)),
        recovered=float((errors < threshold).mean()),
        rmse=rmse,
        rmse_mean=float(np.sqrt(np.square(true).mean())),
        rmse_reference=float(by_chance[:, 0].mean()),
        recovered_reference=float(by_chance[:, 1].mean()),
    )


def _measure(true: np.ndarray, guess: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Pairs [n], relative errors [n] and root mean squared error of the best assignment."""
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    squared = cdist(true, guess, "sqeuclidean")
    i, j = linear_sum_assignment(squared)
    size = np.square(true).sum(axis=1)
    distance = size.copy()  # without a partner the guess is zeros
    distance[i] = squared[i, j]
    pairs = np.full(len(true), -1)
    pairs[i] = j
    relative = np.sqrt(distance / np.maximum(size, 1e-12))
    return pairs, relative, float(np.sqrt(distance.sum() / true.size))
