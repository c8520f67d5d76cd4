"""The floor: what a detector that has learned nothing gets. Taught in chapter 01."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import nn

from fedlab_utils.detect.scores import check_rows, reconstruction_error
from fedlab_utils.errors import DataError

_UNTRAINED = 0xF1008  # keeps this stream apart from the one that drew the model's first weights


class UntrainedAutoencoder:
    """The floor of an autoencoder: its architecture with freshly drawn weights.

    Random layers shrink a row to almost nothing, so its score is close to the row's squared
    length: what this detector finds, no training was needed for. `model` is only copied, and
    torch's global random state is left alone. Raises DataError if a submodule owns parameters
    but has no `reset_parameters()`, since then trained weights would stay in the floor.
    Taught in chapter 01.
    """

    def __init__(self, model: nn.Module, seed: int = 0) -> None:
        self.model = redraw(model, int(np.random.default_rng([seed, _UNTRAINED]).integers(2**31)))

    def score(self, X: np.ndarray, /) -> np.ndarray:
        """Return the untrained model's reconstruction error, X [n, d] -> [n]."""
        return reconstruction_error(self.model, X)


def redraw(model: nn.Module, seed: int) -> nn.Module:
    """Return a copy of `model` with new initial weights, without knowing its class.

    Every submodule's `reset_parameters()` is called, children before parents, so that a model
    with an initialisation of its own has the last word. Same seed, same weights. Raises
    DataError as `UntrainedAutoencoder` does. Taught in chapter 01.
    """
    device = next(model.parameters(), torch.empty(0)).device
    fresh = copy.deepcopy(model).cpu()
    with torch.random.fork_rng(devices=[]):
        # the CPU generator alone: torch.manual_seed would also reseed accelerators
        torch.default_generator.manual_seed(seed)
        for name, module in reversed(list(fresh.named_modules())):
            # nn.MultiheadAttention spells it with an underscore
            reset = getattr(module, "reset_parameters", getattr(module, "_reset_parameters", None))
            if callable(reset):
                reset()
            elif own := [key for key, _ in module.named_parameters(recurse=False)]:
                raise DataError(
                    f"{type(module).__name__} {name or '(the model itself)'} owns the parameter "
                    f"{own[0]} but has no reset_parameters(); add one, so that it can be redrawn"
                )
    return fresh.to(device)


class RowNorm:
    """The simplest floor: the length of the standardised row, learned from two moments only.

    `mean` and `scale` [d] standardise; without them rows are taken as standardised already.
    Taught in chapter 01.
    """

    def __init__(self, mean: np.ndarray | None = None, scale: np.ndarray | None = None) -> None:
        self.mean = np.zeros(1) if mean is None else np.asarray(mean, dtype=np.float64)
        self.scale = np.ones(1) if scale is None else np.asarray(scale, dtype=np.float64)

    @classmethod
    def fit(cls, X: np.ndarray) -> RowNorm:
        """Take mean and standard deviation of each feature from rows [n, ..., d].

        A constant feature keeps its unit (scale 1). Raises DataError if there are no rows.
        """
        rows = check_rows(X).astype(np.float64)
        if not len(rows):
            raise DataError("RowNorm.fit: there are no rows")
        axes = tuple(range(rows.ndim - 1))
        scale = rows.std(axis=axes)
        return cls(rows.mean(axis=axes), np.where(scale > 0, scale, 1.0))

    def score(self, X: np.ndarray, /) -> np.ndarray:
        """Return each row's Euclidean norm after standardising, X [n, d] -> [n]."""
        rows = check_rows(X).astype(np.float64)
        for moment in (self.mean, self.scale):
            if moment.shape not in ((1,), rows.shape[-1:]):
                raise DataError(
                    f"RowNorm was made for {moment.shape[0]} features, the rows have "
                    f"{rows.shape[-1]}"
                )
        standard = (rows - self.mean) / self.scale
        return np.sqrt(np.square(standard).reshape(len(rows), -1).sum(1))


class SklearnDetector:
    """A fitted scikit-learn outlier detector held to our contract: higher = more anomalous.

    scikit-learn's `score_samples` says the opposite (higher = more normal), so the sign turns.
    Works for IsolationForest, OneClassSVM and LocalOutlierFactor(novelty=True); windows and
    images are flattened. Taught in chapter 01.
    """

    def __init__(self, estimator: Any) -> None:
        if not callable(getattr(estimator, "score_samples", None)):
            raise DataError(f"{type(estimator).__name__} has no score_samples(X)")
        self.estimator = estimator

    def score(self, X: np.ndarray, /) -> np.ndarray:
        """Return minus the estimator's `score_samples`, X [n, d] -> [n]."""
        rows = check_rows(X)
        return -np.asarray(self.estimator.score_samples(rows.reshape(len(rows), -1)))


def isolation_forest(X: np.ndarray, seed: int = 0) -> SklearnDetector:
    """Fit an isolation forest (100 trees) on rows X [n, d] and return it as a detector.

    A strong baseline that needs all rows in one place. Raises DataError if there are no rows.
    Source: Liu, Ting, Zhou, "Isolation Forest", ICDM 2008, https://doi.org/10.1109/ICDM.2008.17.
    Taught in chapter 01.
    """
    from sklearn.ensemble import IsolationForest

    rows = check_rows(X)
    if not len(rows):
        raise DataError("isolation_forest: there are no rows to fit on")
    forest = IsolationForest(n_estimators=100, random_state=seed)
    return SklearnDetector(forest.fit(rows.reshape(len(rows), -1)))
