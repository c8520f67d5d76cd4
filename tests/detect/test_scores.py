import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fedlab_utils.detect import (
    AutoencoderDetector,
    Detector,
    RowNorm,
    as_detector,
    check_rows,
    reconstruction_error,
    scores_of,
)
from fedlab_utils.errors import DataError, DivergedError


class Zero(nn.Module):
    """Reconstructs every row as zeros, so that the error is the mean square."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(x)


def small_model(features: int = 4) -> nn.Sequential:
    return nn.Sequential(nn.Linear(features, 2), nn.Tanh(), nn.Linear(2, features))


def rows(n: int, *shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, *shape)).astype(np.float32)


@pytest.mark.parametrize("shape", [(5,), (7, 3)])
def test_error_is_the_mean_square_over_everything_but_rows(shape: tuple[int, ...]) -> None:
    x = rows(9, *shape)
    expected = [np.mean(np.square(row, dtype=np.float64)) for row in x]
    assert reconstruction_error(Zero(), x) == pytest.approx(expected, rel=1e-6)


def test_batches_change_nothing() -> None:
    model, x = small_model(), rows(4096 + 3, 4)
    whole = reconstruction_error(model, x)
    alone = np.concatenate(
        [reconstruction_error(model, x[i : i + 1]) for i in (0, 4095, 4096, 4098)]
    )
    assert whole[[0, 4095, 4096, 4098]] == pytest.approx(alone, rel=1e-5)
    assert len(whole) == 4099


def test_mode_of_every_submodule_is_restored_and_dropout_is_off() -> None:
    norm = nn.BatchNorm1d(4)
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), norm)
    model.train()
    norm.eval()
    x = rows(20, 4)
    assert (reconstruction_error(model, x) == reconstruction_error(model, x)).all()
    assert [m.training for m in model] == [True, True, False]
    assert model.training


def test_mode_is_restored_after_an_error() -> None:
    model = small_model().train()
    with pytest.raises(DataError):
        reconstruction_error(model, rows(3, 5))
    assert model.training


def test_weights_get_no_gradient_and_double_models_work() -> None:
    model = small_model().double()
    error = reconstruction_error(model, rows(3, 4))
    assert error.dtype == np.float64
    assert all(p.grad is None for p in model.parameters())


@given(
    row=st.integers(0, 4), column=st.integers(0, 3), bad=st.sampled_from([np.nan, np.inf, -np.inf])
)
@settings(max_examples=20, deadline=None)
def test_a_bad_value_is_named_by_row_and_column(row: int, column: int, bad: float) -> None:
    x = rows(5, 4)
    x[row, column] = bad
    with pytest.raises(DataError, match=f"row {row}, column {column} is {bad}"):
        reconstruction_error(small_model(), x)


def test_a_bad_value_in_a_window_is_named_by_step_too() -> None:
    x = rows(5, 6, 3)
    x[2, 4, 1] = np.nan
    with pytest.raises(DataError, match="row 2, step 4, column 1"):
        check_rows(x)


def test_wrong_width_says_what_the_model_expects() -> None:
    with pytest.raises(DataError, match=r"rows with 5 features.*expects 4 features"):
        reconstruction_error(small_model(4), rows(3, 5))


def test_a_model_that_is_no_autoencoder_is_refused() -> None:
    with pytest.raises(DataError, match=r"returns the shape \[3, 2\] for rows \[3, 4\]"):
        reconstruction_error(nn.Linear(4, 2), rows(3, 4))


def test_a_diverged_model_is_reported() -> None:
    model = small_model()
    with torch.no_grad():
        model[2].bias[1] = float("nan")
    with pytest.raises(DivergedError, match="row 0"):
        reconstruction_error(model, rows(3, 4))


@pytest.mark.parametrize(
    ("bad", "match"),
    [
        (np.zeros(4), r"shape \[4\]; for one row write"),
        (np.zeros((3, 0)), r"shape \[3, 0\]"),
        (np.zeros((2, 2, 2, 2, 2)), r"\[2, 2, 2, 2, 2\]"),
        ([["a", "b"]], "must be a number"),
    ],
)
def test_check_rows_refuses(bad: object, match: str) -> None:
    with pytest.raises(DataError, match=match):
        check_rows(bad)


def test_check_rows_takes_whole_numbers() -> None:
    assert check_rows([[1, 2], [3, 4]]).dtype == np.float64


def test_as_detector() -> None:
    wrapped = as_detector(model := small_model())
    assert isinstance(wrapped, AutoencoderDetector)
    assert wrapped.model is model
    norm = RowNorm()
    assert as_detector(norm) is norm
    assert isinstance(norm, Detector)


def test_a_module_with_its_own_score_keeps_it() -> None:
    class Own(nn.Module):
        def score(self, X: np.ndarray) -> np.ndarray:
            return X[:, 0]

    assert as_detector(own := Own()) is own


def test_as_detector_refuses() -> None:
    with pytest.raises(DataError, match="the class RowNorm"):
        as_detector(RowNorm)
    with pytest.raises(DataError, match="a int is not a detector"):
        as_detector(3)


def test_scores_of_holds_a_detector_to_its_contract() -> None:
    class Column:
        def __init__(self, value: object) -> None:
            self.value = value

        def score(self, X: np.ndarray, /) -> np.ndarray:
            return np.asarray(self.value)

    x = rows(2, 3)
    assert scores_of(Column([1, 2]), x).tolist() == [1.0, 2.0]
    assert scores_of(Column(None), x[:0]).shape == (0,)
    with pytest.raises(DataError, match=r"mine: .*\[2\].*\[2, 1\]"):
        scores_of(Column([[1], [2]]), x, "mine")
    with pytest.raises(DataError, match="score of row 1 is nan"):
        scores_of(Column([1, np.nan]), x)
