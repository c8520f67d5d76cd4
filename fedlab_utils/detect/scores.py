"""Anomaly scores: one number per row, higher = more anomalous. Taught in chapter 01."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import nn

from fedlab_utils.errors import DataError, DivergedError

BATCH_ROWS = 4096


@runtime_checkable
class Detector(Protocol):
    """Anything with `score(X[n, d]) -> [n]`, higher = more anomalous. Taught in chapter 01."""

    def score(self, X: np.ndarray, /) -> np.ndarray: ...


class AutoencoderDetector:
    """An autoencoder as a detector: the score is the reconstruction error. Taught in chapter 01."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def score(self, X: np.ndarray, /) -> np.ndarray:
        """Return the mean squared reconstruction error of each row, X [n, d] -> [n]."""
        return reconstruction_error(self.model, X)


def as_detector(obj: Any) -> Detector:
    """Return `obj` as a detector: a `Detector` is kept, an autoencoder is wrapped.

    Raises DataError for a class instead of an object and for anything without `score`.
    Taught in chapter 01.
    """
    if isinstance(obj, type):
        raise DataError(f"got the class {obj.__name__}; pass an object, e.g. {obj.__name__}(...)")
    if isinstance(obj, nn.Module) and not callable(getattr(obj, "score", None)):
        return AutoencoderDetector(obj)
    if isinstance(obj, Detector):
        return obj
    raise DataError(
        f"a {type(obj).__name__} is not a detector: pass an nn.Module autoencoder or an object "
        "with score(X) -> [n] (a fitted scikit-learn model: wrap it in SklearnDetector)"
    )


def check_rows(X: Any, where: str = "X") -> np.ndarray:
    """Return rows [n, d], windows [n, T, c] or images [n, h, w, c] as floats, or say what is wrong.

    Raises DataError naming `where` for another number of axes, no features, values that are not
    numbers, and, with its place, for NaN or infinity. Taught in chapters 01 and 11.
    """
    try:
        rows = np.asarray(X)
        rows = rows if np.issubdtype(rows.dtype, np.floating) else rows.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: every value must be a number ({error})") from error
    if rows.ndim not in (2, 3, 4) or 0 in rows.shape[1:]:
        raise DataError(
            f"{where}: expected rows [n, d], windows [n, T, c] or images [n, h, w, c], got the "
            f"shape {list(rows.shape)}"
            + ("; for one row write X[None, :]" if rows.ndim == 1 else "")
        )
    finite = np.isfinite(rows)
    if not finite.all():
        place = [int(i) for i in np.argwhere(~finite)[0]]
        inner = {3: "step", 4: "pixel"}.get(rows.ndim, "")
        step = f", {inner} {', '.join(map(str, place[1:-1]))}" if inner else ""
        raise DataError(
            f"{where}: row {place[0]}{step}, column {place[-1]} is {rows[tuple(place)]} "
            f"({int((~finite).sum())} such values in all); drop or fill them first"
        )
    return rows


def scores_of(detector: Detector, X: np.ndarray, name: str = "detector") -> np.ndarray:
    """Score rows X [n, d] -> float64 [n] and hold the detector to its contract.

    Raises DataError when the detector returns another shape than [n] or a score that is not
    finite. No rows give no scores. Taught in chapter 01.
    """
    rows = check_rows(X)
    if not len(rows):
        return np.empty(0)
    scores = np.asarray(detector.score(rows), dtype=np.float64)
    if scores.shape != (len(rows),):
        raise DataError(
            f"{name}: score(X) must return one number per row, [{len(rows)}], "
            f"but returned the shape {list(scores.shape)}"
        )
    if not np.isfinite(scores).all():
        row = int(np.argmin(np.isfinite(scores)))
        raise DataError(f"{name}: the score of row {row} is {scores[row]}; it must be finite")
    return scores


def reconstruction_error(model: nn.Module, X: np.ndarray) -> np.ndarray:
    """Return each row's mean squared reconstruction error, X [n, ...] -> float64 [n].

    The model runs in eval mode without gradients, in batches; the mode of every submodule is
    restored afterwards. Raises DataError for NaN or infinity (with row and column) and for rows
    of the wrong width, DivergedError when the model returns NaN or infinity.
    Taught in chapter 01.
    """
    rows = check_rows(X)
    first = next(model.parameters(), torch.empty(0))
    errors = np.empty(len(rows))
    with _evaluating(model), torch.no_grad():
        for start in range(0, len(rows), BATCH_ROWS):
            part = torch.as_tensor(
                rows[start : start + BATCH_ROWS], dtype=first.dtype, device=first.device
            )
            # float64 for the squares: a large but finite error must not overflow to infinity
            difference = (_reconstruct(model, part) - part).double()
            error = difference.square().flatten(1).mean(1)
            errors[start : start + len(part)] = error.cpu().numpy()
    if not np.isfinite(errors).all():
        row = int(np.argmin(np.isfinite(errors)))
        raise DivergedError(
            f"the model's reconstruction of row {row} is not finite: its training has diverged "
            "(lower the learning rate) or the rows were not standardised"
        )
    return errors


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    # each submodule's own flag: a frozen part may be in eval mode while the rest trains
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _reconstruct(model: nn.Module, rows: torch.Tensor) -> torch.Tensor:
    try:
        output = model(rows)
    except RuntimeError as error:
        leaf = next((m for m in model.modules() if not list(m.children())), model)
        wanted = getattr(leaf, "in_features", getattr(leaf, "input_size", None))
        expected = f"it expects {wanted} features" if wanted else "see the cause below"
        raise DataError(
            f"the model cannot read rows with {rows.shape[-1]} features "
            f"(shape {list(rows.shape)}): {expected}"
        ) from error
    if output.shape != rows.shape:
        raise DataError(
            f"the model returns the shape {list(output.shape)} for rows {list(rows.shape)}; "
            "an autoencoder returns the shape that it was given"
        )
    return output
