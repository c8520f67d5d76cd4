"""The course's FedAvg equals the article's, run on PySyft 0.2.9, after every round."""

from pathlib import Path

import numpy as np
import pytest
import torch

import fedlab_utils as fl

GOLDEN = Path(__file__).parents[2] / "datasets" / "article" / "article_pysyft029_seed0.npz"
NAMES = ("alice", "bob", "charlie")


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def weights_of(golden, stage):
    return {
        name.removeprefix(stage + "."): torch.from_numpy(value)
        for name, value in golden.items()
        if name.startswith(stage + ".")
    }


@pytest.fixture
def federation(golden):
    empty = np.empty((0, 20), dtype=np.float32)
    none = np.empty(0, dtype=bool)
    clients = [
        fl.Client(name, golden[f"data.{name}"], empty, empty, none, none.astype(str))
        for name in NAMES
    ]
    return fl.Federation("article", clients, [f"x{i}" for i in range(20)])


@pytest.mark.parametrize("engine", ["loop", "stacked"])
def test_every_round_equals_pysyft_029(golden, federation, engine):
    model = fl.DenseAutoencoder((20, 10, 5), "relu")
    model.load_state_dict(weights_of(golden, "init"))
    for rounds in range(1, 6):
        run = fl.fit(
            model,
            federation,
            rounds=rounds,
            local=fl.SGD(lr=0.01, epochs=5, batch_size=None),
            aggregator=fl.Mean(weighted=False),
            engine=engine,
            progress=False,
        )
        expected = weights_of(golden, f"round{rounds}")
        for name, value in run.model.state_dict().items():
            assert torch.allclose(value, expected[name], rtol=0, atol=1e-6), (rounds, name)
        moved = max(float((expected[n] - v).abs().max()) for n, v in model.state_dict().items())
        assert moved > 1e-3  # the tolerance is far below what a round changes


def test_the_anomalies_are_found_as_in_the_article(golden, federation):
    model = fl.DenseAutoencoder((20, 10, 5), "relu")
    model.load_state_dict(weights_of(golden, "round5"))
    error = fl.reconstruction_error(model, golden["data.charlie"])
    np.testing.assert_allclose(error, golden["charlie_error"], rtol=1e-5)
    assert error[-10:].min() > error[:-10].max()
