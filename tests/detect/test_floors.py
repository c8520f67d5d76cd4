import copy

import numpy as np
import pytest
import torch
from torch import nn

from fedlab_utils.detect import (
    RowNorm,
    SklearnDetector,
    UntrainedAutoencoder,
    isolation_forest,
    reconstruction_error,
    redraw,
)
from fedlab_utils.errors import DataError


def model() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Sequential(nn.Linear(3, 4)))


def rows(n: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(n, *shape))


def vector(module: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def test_redraw_is_fixed_by_its_seed_and_leaves_the_model_alone() -> None:
    trained = model()
    before = copy.deepcopy(trained.state_dict())
    one, again, other = redraw(trained, 1), redraw(trained, 1), redraw(trained, 2)
    assert torch.equal(vector(one), vector(again))
    assert (vector(one) != vector(other)).all()
    assert (vector(one) != vector(trained)).all()
    assert all(torch.equal(value, before[key]) for key, value in trained.state_dict().items())


def test_redraw_does_not_depend_on_or_touch_the_global_state() -> None:
    trained = model()
    torch.manual_seed(5)
    expected_next = torch.rand(3)
    torch.manual_seed(5)
    one = redraw(trained, 1)
    assert torch.equal(torch.rand(3), expected_next)
    torch.manual_seed(6)
    assert torch.equal(vector(one), vector(redraw(trained, 1)))


def test_redraw_lets_the_parent_have_the_last_word() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def reset_parameters(self) -> None:
            nn.init.constant_(self.layer.weight, 0.25)

    assert (redraw(Own(), 0).layer.weight == 0.25).all()  # type: ignore[union-attr]


def test_redraw_covers_attention_and_batch_statistics() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(4, 2)
            self.norm = nn.BatchNorm1d(4)

    block = Block()
    block.norm(torch.randn(8, 4) + 3)
    fresh = redraw(block, 0)
    assert (fresh.attention.in_proj_weight != block.attention.in_proj_weight).all()  # type: ignore[union-attr]
    assert (fresh.norm.running_mean == 0).all()  # type: ignore[union-attr]


def test_redraw_refuses_parameters_that_would_stay_trained() -> None:
    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.position = nn.Parameter(torch.zeros(3))

    with pytest.raises(DataError, match="Bare 1 owns the parameter position"):
        redraw(nn.Sequential(nn.Linear(2, 2), Bare()), 0)


def test_untrained_differs_from_the_start_of_the_same_seed() -> None:
    x = rows(10, 4)
    torch.manual_seed(0)
    start = model()
    floor = UntrainedAutoencoder(start, seed=0)
    assert (vector(floor.model) != vector(start)).all()
    assert (floor.score(x) == reconstruction_error(floor.model, x)).all()


def test_row_norm_against_the_formula() -> None:
    x = rows(50, 3) * [1, 10, 0] + [0, 5, 7]
    z = x.copy()
    z[:, :2] = (x[:, :2] - x[:, :2].mean(0)) / x[:, :2].std(0)
    z[:, 2] = 0  # a constant feature says nothing and divides by nothing
    assert RowNorm.fit(x).score(x) == pytest.approx(np.linalg.norm(z, axis=1))
    assert RowNorm().score(x) == pytest.approx(np.linalg.norm(x, axis=1))


def test_row_norm_of_windows_standardises_each_channel() -> None:
    x = rows(20, 5, 2) * [1, 100]
    z = (x - x.mean((0, 1))) / x.std((0, 1))
    expected = [np.linalg.norm(window) for window in z]
    assert RowNorm.fit(x).score(x) == pytest.approx(expected)


def test_row_norm_refuses() -> None:
    with pytest.raises(DataError, match="made for 3 features, the rows have 4"):
        RowNorm.fit(rows(5, 3)).score(rows(5, 4))
    with pytest.raises(DataError, match="no rows"):
        RowNorm.fit(rows(0, 3))


@pytest.mark.parametrize("shape", [(3,), (4, 2)])
def test_isolation_forest_scores_outliers_higher(shape: tuple[int, ...]) -> None:
    x = rows(200, *shape)
    forest = isolation_forest(x, seed=0)
    assert forest.score(x + 8).min() > np.quantile(forest.score(x), 0.9)
    assert (forest.score(x) == isolation_forest(x, seed=0).score(x)).all()
    assert (forest.score(x) != isolation_forest(x, seed=1).score(x)).any()


def test_isolation_forest_and_wrapper_refuse() -> None:
    with pytest.raises(DataError, match="no rows"):
        isolation_forest(rows(0, 3))
    with pytest.raises(DataError, match="int has no score_samples"):
        SklearnDetector(3)
