"""The one-class SVM: scikit-learn's kernel, linear and SGD versions are the oracles."""

import numpy as np
import pytest
import torch

from fedlab_utils.data.federation import Client, Federation
from fedlab_utils.detect import Detector, OneClass, OneClassSGD, auc
from fedlab_utils.errors import DataError, FedlabError
from fedlab_utils.federate import RowStore, fit
from fedlab_utils.models import dense_autoencoder, flatten, unflatten
from fedlab_utils.privacy.secure import SecureMean


@pytest.fixture(scope="module")
def federation() -> Federation:
    rng = np.random.default_rng(2)

    def client(k: int) -> Client:
        n = 90 + 70 * k
        y = np.arange(100) < 15
        x = rng.normal(size=(n + 140, 3)).astype(np.float32)
        x[:, 1] += 0.8 * x[:, 0]
        x[-100:][y] *= 3
        kind = np.where(y, "far", "normal")
        return Client(f"client {k}", x[:n], x[n : n + 40], x[-100:], y, kind)

    return Federation("toy", tuple(client(k) for k in range(4)), tuple("abc"))


def test_dot_products_approach_the_gaussian_kernel() -> None:
    x = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    kernel = torch.exp(-0.7 * torch.cdist(x, x).square())
    errors = []
    for features in (100, 10_000):
        z = OneClass(3, features, gamma=0.7).features(x)
        errors.append(float((z @ z.T - kernel).abs().mean()))
    assert errors[0] < 0.1 and errors[1] < 0.012  # falls like 1 / sqrt(D)


def test_common_seed_gives_a_common_map() -> None:
    one, two, other = OneClass(3, 8, seed=1), OneClass(3, 8, seed=1), OneClass(3, 8, seed=2)
    assert torch.equal(one.direction, two.direction) and torch.equal(one.phase, two.phase)
    assert not torch.equal(one.direction, other.direction)
    assert flatten(one).shape == (9,)  # the map is no parameter: it does not travel
    assert isinstance(one, Detector)


def test_central_training_reaches_scikit_learns_optimum(federation: Federation) -> None:
    from sklearn.linear_model import SGDOneClassSVM
    from sklearn.svm import OneClassSVM

    solver, everything = OneClassSGD(nu=0.1, lr=1.0, batch_size=16), federation.pooled_federation()
    rows = torch.from_numpy(federation.pooled().x_train)
    model = OneClass(3, 60)
    run = fit(model, everything, rounds=40, local=solver, progress=False)
    z = model.features(rows)

    def value(w: np.ndarray, offset: float) -> float:
        return solver.loss(z.double(), torch.from_numpy(w), torch.tensor([offset])).item()

    ours = value(run.model.coefficients.detach().double().numpy(), run.model.offset.item())
    exact = OneClassSVM(kernel="linear", nu=0.1, tol=1e-6).fit(z.numpy())
    scale = 1 / (0.1 * len(rows))  # libsvm's dual variables are larger by nu n
    best = value(scale * exact.coef_[0].astype(float), scale * -float(exact.intercept_[0]))
    sgd = SGDOneClassSVM(nu=0.1, random_state=0, average=True, max_iter=40, tol=None).fit(z.numpy())
    theirs = value(sgd.coef_.astype(float).ravel(), float(sgd.offset_[0]))
    assert best <= ours + 1e-9 and ours - best < 0.01 * abs(best)
    assert ours - best < theirs - best + 0.002 * abs(best)
    agree = np.corrcoef(run.model.score(rows.numpy()), -exact.decision_function(z.numpy()))[0, 1]
    assert agree > 0.97
    assert 0.05 < (run.model.score(rows.numpy()) > 0).mean() < 0.15  # about nu lie outside


def test_stacked_is_the_loop(federation: Federation) -> None:
    model = OneClass(3, 20)
    store = RowStore([c.x_train for c in federation], model)
    weights = flatten(unflatten(torch.linspace(-0.1, 0.3, 21), model))
    for solver in (OneClassSGD(epochs=2, batch_size=32), OneClassSGD(nu=0.4, batch_size=500)):
        for clients in (np.arange(4), np.array([3, 0])):
            stacked = solver.train("stacked", model, weights, store, clients, 5, 3)
            loop = solver.train("loop", model, weights, store, clients, 5, 3)
            for one, two in zip(stacked, loop, strict=True):
                assert torch.allclose(one, two, rtol=1e-4, atol=2e-7)
    nobody = OneClassSGD().train("stacked", model, weights, store, np.array([], dtype=int), 0, 0)
    assert nobody[0].shape == (0, 21) and nobody[1].shape == (0,)


def test_fit_federates_it_with_any_aggregator(federation: Federation) -> None:
    model, test = OneClass(3, 60), federation.pooled()
    options = {"rounds": 12, "local": OneClassSGD(nu=0.1, batch_size=16), "progress": False}
    plain = fit(model, federation, **options)  # type: ignore[arg-type]
    assert flatten(model).abs().sum() == 0  # the start is left alone
    assert auc(test.y_test, plain.model.score(test.x_test)) > 0.9  # type: ignore[operator]
    assert plain.history.loss[-1] < plain.history.loss[0]
    secure = fit(
        model,
        federation,
        aggregator=SecureMean(fraction_bits=16),
        **options,  # type: ignore[arg-type]
    )
    assert torch.allclose(flatten(secure.model), flatten(plain.model), atol=1e-5)


def test_windows_are_flattened() -> None:
    x = np.random.default_rng(0).normal(size=(30, 4, 2)).astype(np.float32)
    client = Client("a", x, x[:0], x, np.zeros(30, bool), np.full(30, "normal"))
    data = Federation("windows", (client,), ("a", "b"))
    runs = [
        fit(OneClass(8, 5), data, rounds=1, local=OneClassSGD(), engine=engine, progress=False)
        for engine in ("stacked", "loop")  # type: ignore[arg-type]
    ]
    assert torch.allclose(flatten(runs[0].model), flatten(runs[1].model), atol=1e-7)
    assert runs[0].model.score(x).shape == (30,)  # type: ignore[operator]


def test_edges_follow_from_the_offset() -> None:
    model = OneClass(2, 3)
    assert model.score_edges()[[0, -1]].tolist() == [-9.0, 2.0]
    moved = unflatten(torch.tensor([0.0, 0, 0, 0.5]), model)
    assert moved.score_edges()[[0, -1]].tolist() == [-4.5, 1.0]  # type: ignore[operator]


def test_bad_input_is_named(federation: Federation) -> None:
    for wrong in ({"nu": 0.0}, {"lr": -1.0}, {"epochs": 0}, {"batch_size": 0}):
        with pytest.raises(FedlabError):
            OneClassSGD(**wrong)
    with pytest.raises(FedlabError, match="n_features=0"):
        OneClass(0)
    with pytest.raises(FedlabError, match="gamma=-1"):
        OneClass(2, gamma=-1)
    with pytest.raises(DataError, match="made for 3 features, the rows have 2"):
        OneClass(3, 4).score(np.ones((1, 2)))
    with pytest.raises(FedlabError, match="trains a OneClass model, not DenseAutoencoder"):
        fit(dense_autoencoder(3), federation, rounds=1, local=OneClassSGD(), progress=False)
    with pytest.raises(FedlabError, match="takes 4 features, the rows have 3"):
        fit(OneClass(4), federation, rounds=1, local=OneClassSGD(), progress=False)
