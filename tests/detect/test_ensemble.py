"""Ranks from histograms, and fusion of detectors on different scales."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedlab_utils.data.federation import Federation
from fedlab_utils.detect import (
    RankFusion,
    RankReference,
    RowNorm,
    federated_reference,
    fuse,
    grow_forest,
    score_edges,
    scores_of,
)
from fedlab_utils.errors import DataError
from fedlab_utils.models import dense_autoencoder


def test_tails_are_shares_of_the_calibration_rows() -> None:
    calibration = np.arange(1, 100) / 100
    reference = RankReference.of(calibration, np.linspace(0, 1, 101))
    # 99 rows and the imaginary one; at an edge the count is exact
    assert reference.tail(np.array([0.5]))[0] == pytest.approx((49 + 0.5) / 100)
    assert reference.tail(np.array([-3.0]))[0] == 1
    assert 0 < reference.tail(np.array([7.0]))[0] < 0.0001


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(1e-5, 1e5), min_size=1, max_size=30), st.floats(1.01, 3))
def test_a_higher_score_never_has_a_larger_tail(scores: list[float], factor: float) -> None:
    reference = RankReference.of(np.array(scores))
    score = np.array(scores)
    # strictly smaller inside the public bins, beyond all calibration scores too
    assert (reference.tail(score * factor) < reference.tail(score)).all()
    top = score.max() * np.array([2.0, 4.0])
    assert reference.tail(top)[0] > reference.tail(top)[1] > 0


def test_counts_of_all_clients_make_the_reference(federation: Federation) -> None:
    norm = RowNorm()
    together = federated_reference(norm, federation)
    rows = np.concatenate([c.x_calibration for c in federation])
    alone = RankReference.of(norm.score(rows), score_edges())
    assert np.array_equal(together.histogram.counts, alone.histogram.counts)
    forest = grow_forest(rows, trees=3)
    assert np.array_equal(
        federated_reference(forest, federation).histogram.edges, forest.score_edges()
    )
    bare = [replace(c, x_calibration=c.x_calibration[:0]) for c in federation]
    with pytest.raises(DataError, match="no calibration rows"):
        federated_reference(norm, replace(federation, clients=bare))


def test_fusion_of_one_keeps_the_order_and_scales_do_not_matter(federation: Federation) -> None:
    class Scaled:
        def score(self, X: np.ndarray, /) -> np.ndarray:
            return 100 * RowNorm().score(X)

    x = federation.pooled().x_test
    norm = RowNorm().score(x)
    for how in ("rank", "tail", "surest"):
        alone = fuse([RowNorm()], federation, how).score(x)  # type: ignore[arg-type]
        assert np.array_equal(np.argsort(alone), np.argsort(norm))
        both = fuse({"a": RowNorm(), "b": Scaled()}, federation, how)  # type: ignore[arg-type]
        assert np.array_equal(np.argsort(both.score(x)), np.argsort(alone))


def test_a_sure_detector_outvotes_blind_ones_by_tails_only() -> None:
    calibration = np.linspace(0.01, 1, 999)
    reference = RankReference.of(calibration, np.linspace(0, 10, 1001))

    class Column:
        def __init__(self, column: int) -> None:
            self.column = column

        def score(self, X: np.ndarray, /) -> np.ndarray:
            return X[:, self.column]

    rows = np.array([[5.0, 0.5, 0.5], [0.85, 0.85, 0.85]])  # sure for one; odd for all
    detectors, references = tuple(map(Column, range(3))), (reference,) * 3
    by_rank = RankFusion(detectors, references, "rank").score(rows)
    by_tail = RankFusion(detectors, references, "tail").score(rows)
    surest = RankFusion(detectors, references, "surest").score(rows)
    assert by_rank[0] < by_rank[1] and by_tail[0] > by_tail[1] and surest[0] > surest[1]


def test_models_and_detectors_mix(federation: Federation) -> None:
    parts = {"net": dense_autoencoder(4), "norm": RowNorm()}
    fused = fuse(parts, federation)
    assert scores_of(fused, federation.pooled().x_test).shape == (240,)


def test_bad_input_is_named(federation: Federation) -> None:
    reference = federated_reference(RowNorm(), federation)
    with pytest.raises(DataError, match="as many references"):
        RankFusion((RowNorm(),), (reference, reference))
    with pytest.raises(DataError, match="how='loud'"):
        RankFusion((RowNorm(),), (reference,), "loud")  # type: ignore[arg-type]
