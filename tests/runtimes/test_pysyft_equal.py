"""Training, evaluation and threshold as PySyft jobs compute what the plain engine computes."""

from pathlib import Path

import numpy as np
import pytest
import torch

import fedlab_utils as fl
from fedlab_utils.detect import ScoreHistogram, federated_threshold
from fedlab_utils.runtimes.pysyft import (
    SyftFederation,
    evaluate_pysyft,
    fit_pysyft,
    threshold_pysyft,
)

pytest.importorskip("syft_rds", reason="PySyft is missing: pip install 'fedlab-utils[syft]'")

GOLDEN = Path(__file__).parents[2] / "datasets" / "article" / "article_pysyft029_seed0.npz"


def article(golden):
    empty, none = np.empty((0, 20), dtype=np.float32), np.empty(0, dtype=bool)
    clients = [
        fl.Client(name, golden[f"data.{name}"], empty, empty, none, none.astype(str))
        for name in ("alice", "bob", "charlie")
    ]
    return fl.Federation("article", clients, [f"x{i}" for i in range(20)])


@pytest.mark.slow
def test_five_rounds_equal_pysyft_029():
    with np.load(GOLDEN, allow_pickle=False) as archive:
        golden = {name: archive[name] for name in archive.files}
    model = fl.DenseAutoencoder((20, 10, 5), "relu")
    names = list(model.state_dict())
    model.load_state_dict({name: torch.from_numpy(golden[f"init.{name}"]) for name in names})
    with SyftFederation(article(golden)) as banks:
        for round_ in range(1, 6):
            run = fit_pysyft(
                model,
                banks,
                rounds=1,
                local=fl.SGD(lr=0.01, epochs=5, batch_size=None),
                aggregator=fl.Mean(weighted=False),
                timeout=300,
                progress=False,
            )
            model = run.model
            assert not run.absent
            for name, value in model.state_dict().items():
                expected = torch.from_numpy(golden[f"round{round_}.{name}"])
                assert torch.allclose(value, expected, rtol=0, atol=1e-6), (round_, name)


@pytest.mark.slow
def test_payments_equal_fit_evaluate_and_federated_threshold():
    whole = fl.load("payments", clients=3, shift=0.6, seed=0)
    federation = whole.only(whole.names[1:])  # a client's number is its place in the federation
    model = fl.dense_autoencoder(federation.n_features, seed=0)
    options = {"rounds": 2, "local": fl.SGD(0.3, 1, 64, 0.9), "seed": 4, "progress": False}
    plain = fl.fit(model, federation, **options)
    with SyftFederation(federation) as banks:
        run = fit_pysyft(model, banks, timeout=300, **options)
        models = {"trained": plain.model, "start": model}
        report = evaluate_pysyft(models, banks, timeout=300)
        threshold = threshold_pysyft(plain.model, banks, 0.01, timeout=300)
    difference = fl.flatten(run.model) - fl.flatten(plain.model)
    assert float(difference.abs().max()) < 1e-6
    assert run.history.loss == pytest.approx(plain.history.loss, rel=1e-5)
    wanted = fl.evaluate(models, federation, baselines=False)
    for result in wanted.results:
        for measured, expected in zip(report.metrics[result.detector], result.clients, strict=True):
            assert (measured.client, measured.rows) == (expected.client, expected.rows)
            assert measured.anomalies == expected.anomalies
            assert (measured.ap, measured.auc) == pytest.approx((expected.ap, expected.auc))
    table = report.table()
    for column in table.columns:
        if column.endswith("client"):
            np.testing.assert_allclose(table[column], wanted.table()[column], rtol=1e-9)
    assert report.by_client().shape == (4, 5) and report.absent == ()
    scores = [fl.reconstruction_error(plain.model, c.x_calibration) for c in federation]
    exact = federated_threshold([ScoreHistogram.of(s) for s in scores], 0.01)
    assert threshold.value == exact and threshold.rows == sum(map(len, scores))
