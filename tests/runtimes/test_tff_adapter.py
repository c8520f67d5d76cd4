"""TensorFlow Federated computes what the course's engine computes, round by round."""

from itertools import islice

import numpy as np
import pytest
import torch

import fedlab_utils as fl
from fedlab_utils.data.files import dataset_path
from fedlab_utils.errors import DivergedError, FedlabError
from fedlab_utils.runtimes.tff import adapter, fit_tff, tff_rounds

NAMES = ("alice", "bob", "charlie")
TOLERANCE = 1e-6


@pytest.fixture(scope="module")
def golden():
    with np.load(dataset_path("article", "article_pysyft029_seed0.npz")) as data:
        return {name: data[name] for name in data.files}


@pytest.fixture(scope="module")
def article(golden):
    none = np.empty((0, 20), np.float32)
    clients = tuple(
        fl.Client(n, golden[f"data.{n}"], none, none, np.empty(0, bool), np.empty(0, str))
        for n in NAMES
    )
    return fl.Federation("article", clients, tuple(f"x{i}" for i in range(20)))


@pytest.fixture(scope="module")
def start(golden):
    model = fl.DenseAutoencoder((20, 10, 5), "relu")
    names = list(model.state_dict())
    model.load_state_dict({n: torch.tensor(golden[f"init.{n}"]) for n in names})
    return model


@pytest.fixture(scope="module")
def banks():
    """A small payments federation with banks of unequal size."""
    whole = fl.load("payments", clients=4, shift=0.6, seed=0)
    sizes = (130, 64, 97, 33)
    clients = [
        fl.Client(c.name, c.x_train[:n], *(getattr(c, part) for part in PARTS))
        for c, n in zip(whole, sizes, strict=True)
    ]
    return fl.Federation("payments", tuple(clients), whole.features)


PARTS = ("x_calibration", "x_test", "y_test", "kind_test")


def gaps(model, federation, rounds, kernel, **options):
    """Largest difference of the weights to those of fl.fit, after each round; what changed."""
    found = islice(tff_rounds(model, federation, kernel=kernel, **options), rounds)
    each = []
    for round_, done in enumerate(found, start=1):
        ours = fl.fit(model, federation, rounds=round_, progress=False, **options)
        each.append(float((fl.flatten(ours.model) - done.weights).abs().max()))
        assert done.loss == pytest.approx(ours.history.loss[-1], rel=1e-4)
        assert done.clients == ours.history[-1].clients
    moved = float((fl.flatten(model) - done.weights).abs().max())
    assert moved > 1000 * TOLERANCE  # the tolerance is far below what the rounds change
    return each


def test_every_round_of_the_article(golden, article, start, tff):
    local = fl.SGD(lr=0.01, epochs=5, batch_size=None)
    options = {"local": local, "aggregator": fl.Mean(weighted=False)}
    assert max(gaps(start, article, 5, tff, **options)) < TOLERANCE
    play = tff_rounds(start, article, kernel=tff, **options)
    for round_, done in enumerate(islice(play, 5), start=1):
        wanted = [golden[f"round{round_}.{n}"].reshape(-1) for n in start.state_dict()]
        np.testing.assert_allclose(done.weights, np.concatenate(wanted), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(
    "options",
    [
        {"local": fl.SGD(lr=0.1, epochs=2, batch_size=32)},
        {"local": fl.SGD(lr=0.05, epochs=1, batch_size=16, momentum=0.9), "seed": 3},
        {"local": fl.SGD(lr=0.1, batch_size=64), "server": fl.ServerSGD(0.5)},
        {"local": fl.SGD(lr=0.1), "clients_per_round": 2, "aggregator": fl.Mean(weighted=False)},
    ],
    ids=["two epochs, ragged batches", "momentum", "server rate", "two of four, unweighted"],
)
def test_payments_with_small_batches(banks, tff, options):
    model = fl.dense_autoencoder(banks.n_features, seed=1)
    assert max(gaps(model, banks, 3, tff, **options)) < TOLERANCE


def test_fit_tff_returns_a_run_and_leaves_the_model_alone(article, start, tff):
    before = fl.flatten(start)
    run = fit_tff(start, article, rounds=2, local=fl.SGD(lr=0.01), kernel=tff)
    assert torch.equal(fl.flatten(start), before)
    ours = fl.fit(start, article, rounds=2, local=fl.SGD(lr=0.01), progress=False)
    torch.testing.assert_close(fl.flatten(run.model), fl.flatten(ours.model), rtol=0, atol=1e-6)
    assert len(run.history) == 2 and run.history[0].client_losses == ()
    assert run.history.bytes_up == ours.history.bytes_up
    assert all(seconds > 0 for seconds in run.history.seconds)


def test_an_update_that_is_not_finite_is_not_left_out_silently(article, tff):
    broken = fl.Client(
        "broken", 1e30 * article["bob"].x_train, *[getattr(article["bob"], p) for p in PARTS]
    )
    mixed = fl.Federation("mixed", (article["alice"], broken), article.features)
    model = fl.dense_autoencoder(20)
    with pytest.raises(DivergedError, match=r"round 1: only 40 of 80 rows counted.*cannot be seen"):
        fit_tff(model, mixed, rounds=1, kernel=tff)


def test_what_has_no_counterpart_is_refused_before_anything_starts(article, start, monkeypatch):
    def unexpected():
        raise AssertionError("a kernel was started")

    monkeypatch.setattr(adapter, "shared_kernel", unexpected)
    with pytest.raises(FedlabError, match="model is a Linear; only DenseAutoencoder"):
        fit_tff(torch.nn.Linear(20, 20), article, rounds=1)
    with pytest.raises(FedlabError, match="aggregator is a object"):
        fit_tff(start, article, rounds=1, aggregator=object())
    with pytest.raises(FedlabError, match="takes 5 features"):
        fit_tff(fl.DenseAutoencoder((5, 2)), article, rounds=1)
    with pytest.raises(FedlabError, match="whole number"):
        fit_tff(start, article, rounds=-1)
