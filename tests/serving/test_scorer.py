"""The exported detector: the scores of the trained one, from plain arrays, without torch."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import fedlab_utils as fl
from fedlab_utils.data.standardise import Scaler
from fedlab_utils.detect import ScoreHistogram, federated_threshold, score_edges
from fedlab_utils.errors import DataError, FedlabError
from fedlab_utils.runtimes.updates import UpdateError
from fedlab_utils.serving import (
    Bundle,
    Card,
    Scorer,
    export,
    largest_difference,
    read_bundle,
    to_model,
    write_bundle,
    write_onnx,
)
from fedlab_utils.serving.bundle import ARRAYS, CARD, parse_bundle
from fedlab_utils.serving.exporting import reference
from fedlab_utils.serving.speed import measure
from tests.serving.conftest import FEATURES, Made


@given(
    d=st.integers(2, 12),
    hidden=st.lists(st.integers(1, 20), min_size=1, max_size=3),
    activation=st.sampled_from(["tanh", "relu"]),
    seed=st.integers(0, 100),
)
@settings(max_examples=25, deadline=None)
def test_scores_equal_the_trained_models(d, hidden, activation, seed):
    torch.manual_seed(seed)
    model = fl.DenseAutoencoder((d, *hidden), activation)
    rng = np.random.default_rng(seed)
    scaler = Scaler(rng.normal(size=d) * 100, rng.uniform(0.1, 50, size=d))
    rows = scaler.mean + scaler.std * rng.normal(size=(60, d)) * 3
    scores = fl.reconstruction_error(model, scaler.apply(rows))
    histogram = ScoreHistogram.of(scores)
    names = tuple(f"x{i}" for i in range(d))
    bundle = export(model, scaler, names, histogram, name="m", alarm_rate=0.1, bins=3)
    assert largest_difference(bundle, model, rows) < 1e-4
    np.testing.assert_allclose(Scorer(bundle).errors(rows).mean(axis=1), scores, rtol=1e-4)
    assert torch.equal(fl.flatten(to_model(bundle)), fl.flatten(model))


def test_batches_do_not_show(made):
    scorer, rows = Scorer(made.bundle), made.draw(9000)
    one_by_one = np.concatenate([scorer.score(part) for part in np.array_split(rows, 700)])
    np.testing.assert_allclose(scorer.score(rows), one_by_one, rtol=1e-5)
    assert scorer.score(rows[:0]).shape == (0,)


def test_threshold_and_reference_come_from_the_histogram(made):
    card = made.bundle.card
    assert card.threshold == federated_threshold([made.histogram], 0.01)
    edges, counts = made.bundle.arrays["edges"], made.bundle.arrays["counts"]
    assert counts.sum() == made.histogram.n and len(counts) == card.bins == len(edges) + 1
    assert np.isin(edges, made.histogram.edges).all()
    assert counts.min() > 0.5 * made.histogram.n / 10


@given(st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=300), st.integers(2, 12))
@settings(max_examples=60, deadline=None)
def test_the_reference_counts_exactly(scores, bins):
    histogram = ScoreHistogram.of(np.array(scores), score_edges(1e-4, 1e4, 5))
    try:
        edges, counts = reference(histogram, bins)
    except FedlabError:
        assert len(np.unique(np.searchsorted(histogram.edges, scores))) == 1
        return
    exact = np.bincount(np.searchsorted(edges, scores, side="left"), minlength=len(counts))
    np.testing.assert_array_equal(counts, exact)
    assert (counts > 0).all()


def test_only_dense_autoencoders_are_exported(made):
    with pytest.raises(FedlabError, match="Linear cannot be exported"):
        export(nn.Linear(4, 4), made.scaler, FEATURES, made.histogram, name="x", alarm_rate=0.1)


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        (np.zeros((3, 5)), r"shape \[3, 5\], expected \[n, 4\]: amount"),
        (np.zeros(4), r"shape \[4\]"),
        ([["a", 1, 2, 3]], "must be a number"),
        (np.array([[0, 0, 0, 0], [0, 0, np.inf, 0]]), "row 1, 'count' is not a finite number"),
    ],
)
def test_bad_rows_are_named(made, rows, match):
    with pytest.raises(DataError, match=match):
        Scorer(made.bundle).score(rows)


def test_a_bundle_comes_back_to_the_bit(made, tmp_path):
    write_bundle(tmp_path / "b", made.bundle)
    back = read_bundle(tmp_path / "b")
    assert back.card == made.bundle.card
    for name, array in made.bundle.arrays.items():
        np.testing.assert_array_equal(back.arrays[name], array)
    with pytest.raises(FedlabError, match="holds no bundle"):
        read_bundle(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "Big Name"},
        {"name": "../up"},
        {"features": ("a", "a", "b", "c")},
        {"widths": (5, 2)},
        {"widths": (4, 10**9)},
        {"activation": "exec"},
        {"threshold": float("nan")},
        {"threshold": True},
        {"alarm_rate": 1.0},
        {"bins": 1},
        {"notes": {"a": 1}},
    ],
)
def test_cards_that_make_no_sense(made, changes):
    with pytest.raises(FedlabError, match=next(iter(changes))):
        replace(made.bundle.card, **changes)


@given(st.one_of(st.binary(max_size=100), st.sampled_from([b"[]", b"1", b"{}", b'{"name": 1}'])))
@settings(max_examples=50, deadline=None)
def test_any_bytes_are_no_card(data):
    with pytest.raises(FedlabError):
        Card.from_json(data)


def test_arrays_must_fit_the_card(made):
    files = made.bundle.files()
    wide = replace(made.bundle.card, widths=(4, 7, 2)).to_json()
    with pytest.raises(UpdateError, match=r"source.*shape \[6, 4\], expected \[7, 4\]"):
        parse_bundle({**files, CARD: wide}, "source")
    with pytest.raises(UpdateError, match="larger than the card allows"):
        parse_bundle({**files, ARRAYS: files[ARRAYS] + bytes(100_000)}, "source")
    with pytest.raises(FedlabError, match=r"source: .*not a card"):
        parse_bundle({**files, CARD: b"{}"}, "source")
    arrays = dict(made.bundle.arrays)
    with pytest.raises(FedlabError, match="'mean' must be float64"):
        Bundle(made.bundle.card, {**arrays, "mean": np.zeros(3)})
    with pytest.raises(FedlabError, match="increasing edges"):
        Bundle(made.bundle.card, {**arrays, "edges": arrays["edges"][::-1]})
    with pytest.raises(FedlabError, match="increasing edges"):
        Bundle(made.bundle.card, {**arrays, "counts": arrays["counts"] * 0})


def test_what_a_bank_runs_needs_no_torch():
    code = (
        "import sys; from fedlab_utils.serving import Registry, Scorer, StreamScorer, make_app;"
        "import fedlab_utils.commands.bank;"
        "print({'torch', 'pandas', 'sklearn', 'flwr'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_measuring_counts_what_it_times():
    calls = []
    speed = measure(calls.append, np.zeros((100, 2)), 32, seconds=0.01, warm_up=3)
    assert {len(part) for part in calls} == {32} and len(calls) == speed.calls + 3
    assert speed.calls >= 100 and speed.median_ms <= speed.p99_ms and speed.rows_per_second > 0
    with pytest.raises(FedlabError, match="batch=101"):
        measure(calls.append, np.zeros((100, 2)), 101)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_onnx_gives_the_same_scores(tmp_path, activation):
    import onnxruntime as runtime

    made = Made(activation)
    write_onnx(tmp_path / "m.onnx", made.bundle)
    session = runtime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    rows = made.draw(300)
    (scores,) = session.run(["scores"], {"rows": rows})
    np.testing.assert_allclose(scores, Scorer(made.bundle).score(rows), rtol=1e-4)
    assert float(session.get_modelmeta().custom_metadata_map["threshold"]) == pytest.approx(
        made.bundle.card.threshold
    )


def test_without_onnx_the_command_is_named(made, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(FedlabError, match="pip install"):
        write_onnx(tmp_path / "m.onnx", made.bundle)
