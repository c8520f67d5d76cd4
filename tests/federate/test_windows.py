"""Windows and images all the way: training, floors, thresholds, reports."""

import numpy as np
import pytest
import torch

import fedlab_utils as fl
from fedlab_utils import detect, models
from fedlab_utils.detect.scores import check_rows
from fedlab_utils.errors import DataError, FedlabError
from fedlab_utils.federate import RowStore, Scaffold
from tests.federate.toy import RAGGED, assert_rows_close, rows

WINDOW, IMAGE = (6, 3), (8, 8, 1)
MODELS = {
    "lstm": (models.lstm_autoencoder(3, units=5, code=2), WINDOW),
    "predictor": (models.lstm_predictor(3, units=5), WINDOW),
    "transformer": (models.transformer_autoencoder(3, 6, width=8, code=4), WINDOW),
    "conv": (models.conv_autoencoder(IMAGE, filters=2, code=4), IMAGE),
}


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("kind", MODELS)
def test_stacked_equals_loop_for_ragged_clients(kind, momentum):
    model, shape = MODELS[kind]
    store, clients = RowStore(rows(RAGGED, shape), model), np.arange(len(RAGGED))
    local = fl.SGD(lr=0.1, batch_size=32, momentum=momentum)
    start = fl.flatten(model)
    (stacked, losses), (loop, expected) = (
        local.train(engine, model, start, store, clients, 3, 1) for engine in ("stacked", "loop")
    )
    assert_rows_close(stacked, loop)
    torch.testing.assert_close(losses, expected, rtol=1e-5, atol=1e-6)


def federation(shape, clients=3, n=20, seed=0):
    """Clients with anomalies far away, and an unseen one."""
    rng = np.random.default_rng(seed)

    def client(k):
        train, calibration, normal = (
            rng.normal(size=(m, *shape)).astype(np.float32) for m in (n + k, 19, 8)
        )
        odd = 6 + rng.normal(size=(4, *shape)).astype(np.float32)
        y = np.arange(12) >= 8
        test = np.concatenate([normal, odd])
        return fl.Client(f"c{k}", train, calibration, test, y, np.where(y, "far", "normal"))

    names = [f"f{i}" for i in range(shape[-1])]
    *members, unseen = [client(k) for k in range(clients + 1)]
    return fl.Federation("toy", members, names, unseen)


@pytest.mark.parametrize("kind", MODELS)
def test_evaluate_and_thresholds_take_windows_and_images(kind):
    model, shape = MODELS[kind]
    members = federation(shape).standardised()
    run = fl.fit(model, members, rounds=1, local=Scaffold(fl.SGD(lr=0.05)), progress=False)
    local = fl.fit_local(model, members, rounds=1, local=fl.SGD(lr=0.05))
    table = fl.evaluate({"federated": run.model, "local": local}, members).table()
    floors = ["untrained autoencoder", "row norm", "isolation forest (central)"]
    assert list(table.index) == ["federated", "local", *floors]
    assert (table["AUC pooled"] > 0.9).all() and (table["AUC unseen"] > 0.9).all()
    scores = [fl.reconstruction_error(run.model, c.x_calibration) for c in members]
    threshold = fl.federated_threshold([detect.ScoreHistogram.of(s) for s in scores], 0.1)
    assert np.mean(np.concatenate(scores) > threshold) <= 0.1
    alarms = detect.threshold_report(run.model, members, 0.1)
    assert len(alarms) >= 3


@pytest.mark.parametrize("shape", [WINDOW, IMAGE])
def test_forests_and_one_class_see_the_flat_rows(shape):
    members = federation(shape).standardised()
    flat = members.flattened()
    forests = [detect.grow_common(f, trees=5, seed=0) for f in (members, flat)]
    scores = [
        f.score(c.x_test)
        for f, c in zip(forests, (members.clients[0], flat.clients[0]), strict=True)
    ]
    np.testing.assert_array_equal(*scores)
    central = [detect.isolation_forest(f.pooled().x_train) for f in (members, flat)]
    scores = [
        f.score(c.x_test)
        for f, c in zip(central, (members.clients[0], flat.clients[0]), strict=True)
    ]
    np.testing.assert_array_equal(*scores)


def test_flattened_keeps_every_number_and_names_its_place():
    members = federation((2, 3))
    flat = members.flattened()
    assert flat.features == ("0 f0", "0 f1", "0 f2", "1 f0", "1 f1", "1 f2")
    for part in ("x_train", "x_calibration", "x_test"):
        for one, other in zip(members.everyone, flat.everyone, strict=True):
            np.testing.assert_array_equal(
                getattr(one, part), getattr(other, part).reshape(-1, 2, 3)
            )
    assert flat.unseen is not None and flat.unseen.name == "c3"
    assert federation((2, 2, 1)).flattened().features == ("0,0 f0", "0,1 f0", "1,0 f0", "1,1 f0")
    plain = federation((4,))
    again = plain.flattened()
    assert again.features == plain.features
    np.testing.assert_array_equal(again.clients[0].x_test, plain.clients[0].x_test)


def test_a_dense_model_of_windows_is_told_how_to_flatten():
    members = federation(WINDOW)
    assert "6 x 3 features" in repr(members)
    with pytest.raises(FedlabError, match=r"flattened\(\)"):
        fl.fit(fl.dense_autoencoder(3), members, rounds=1)
    flat = members.flattened()
    model = fl.dense_autoencoder(flat.n_features)
    assert fl.fit(model, flat, rounds=1, progress=False).history.loss[0] > 0


def test_bad_values_are_named_by_their_place():
    image = np.zeros((2, 4, 4, 1))
    image[1, 2, 3, 0] = np.nan
    with pytest.raises(DataError, match="row 1, pixel 2, 3, column 0 is nan"):
        check_rows(image)
    with pytest.raises(DataError, match=r"images \[n, h, w, c\], got the shape \[1, 1, 1, 1, 1\]"):
        check_rows(np.zeros((1, 1, 1, 1, 1)))
