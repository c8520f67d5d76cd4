"""The detector in NumPy alone: what a bank runs. Taught in chapter 14."""

from __future__ import annotations

import numpy as np

from fedlab_utils.errors import DataError
from fedlab_utils.serving.bundle import Bundle

_BATCH_ROWS = 4096


class Scorer:
    """Scores raw rows: standardise, reconstruct, mean squared error.

    The arithmetic is that of the trained model (float32 layers, float64 error), so the scores are
    those of `reconstruction_error`; `largest_difference` checks it. Taught in chapter 14.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.card, arrays = bundle.card, bundle.arrays
        self._mean, self._std = arrays["mean"], arrays["std"]
        self.edges, self.counts = arrays["edges"], arrays["counts"]
        depth = len(self.card.widths) - 1
        self._layers = [
            # Transposed once, in the order in which a product with rows reads it.
            (np.ascontiguousarray(arrays[f"weight{i}"].T), arrays[f"bias{i}"])
            for i in range(2 * depth)
        ]
        # The code and the output are linear.
        self._linear = (depth - 1, 2 * depth - 1)
        self._tanh = self.card.activation == "tanh"

    def check(self, rows: np.ndarray) -> np.ndarray:
        """Rows [n, d] as float64. Raises DataError for another shape or values not finite."""
        try:
            values = np.asarray(rows, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise DataError(f"every value must be a number ({error}).") from error
        if values.ndim != 2 or values.shape[1] != len(self.card.features):
            raise DataError(
                f"the rows have the shape {list(values.shape)}, expected "
                f"[n, {len(self.card.features)}]: {', '.join(self.card.features[:4])}, ..."
            )
        finite = np.isfinite(values)
        if not finite.all():
            row, column = (int(i) for i in np.argwhere(~finite)[0])
            raise DataError(f"row {row}, {self.card.features[column]!r} is not a finite number.")
        return values

    def reconstruct(self, standard: np.ndarray) -> np.ndarray:
        """The autoencoder: standardised rows [n, d] float32 -> [n, d]."""
        x = standard
        for i, (weight, bias) in enumerate(self._layers):
            x = x @ weight + bias
            if i not in self._linear:
                x = np.tanh(x, out=x) if self._tanh else np.maximum(x, 0, out=x)
        return x

    def errors(self, rows: np.ndarray) -> np.ndarray:
        """Squared error of each feature, [n, d]; the score of a row is its mean.

        Raises DataError as `check` does.
        """
        values = self.check(rows)
        errors = np.empty(values.shape)
        for start in range(0, len(values), _BATCH_ROWS):
            part = slice(start, start + _BATCH_ROWS)
            standard = ((values[part] - self._mean) / self._std).astype(np.float32)
            errors[part] = np.square((self.reconstruct(standard) - standard).astype(np.float64))
        return errors

    def score(self, X: np.ndarray, /) -> np.ndarray:
        """Mean squared reconstruction error of raw rows, [n, d] -> float64 [n]."""
        return self.errors(X).mean(axis=1)
