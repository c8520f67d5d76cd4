"""Clustered federation: one cluster is FedAvg, two kinds of clients find their two models."""

import numpy as np
import pytest
import torch

import fedlab_utils as fl
from fedlab_utils.errors import FedlabError
from fedlab_utils.federate.clustered import fit_clustered, similar_clients, split_by_updates
from fedlab_utils.federate.fedprox import FedProx
from tests.federate.toy import Regression, federation, lines, of, rows


@pytest.mark.parametrize("local", [fl.SGD(0.1, momentum=0.9), FedProx(0.1, mu=0.5)], ids=str)
def test_one_cluster_is_fedavg_to_the_bit(local):
    model, members = fl.dense_autoencoder(8), federation()
    for engine in ("stacked", "loop"):
        options = {"rounds": 4, "local": local, "clients_per_round": 2, "progress": False}
        options |= {"engine": engine, "server": fl.ServerSGD(0.7)}
        plain = fl.fit(model, members, **options)
        run = fit_clustered([model], members, **options)
        assert torch.equal(fl.flatten(plain.model), fl.flatten(run.models[0]))
        assert run.history.loss == plain.history.loss
        assert run.history.bytes_down == plain.history.bytes_down
        assert [tuple(c) for c in run.chosen] == [r.clients for r in plain.history]


def two_kinds(unseen=True):
    """Three clients of slope 1, three of slope -2, mixed; the unseen one has slope -2."""
    members, _ = lines((1, -2, 1, -2, -2, 1), (1, 2, 1, 1, 2, 1), (20, 30, 40, 20, 20, 20))
    newcomer, _ = lines((-2,), (1,), (25,))
    (client,) = newcomer.clients
    unseen_client = fl.Client("newcomer", *(getattr(client, f) for f in (
        "x_train", "x_calibration", "x_test", "y_test", "kind_test"
    )))  # fmt: skip
    return fl.Federation("two", members.clients, members.features, unseen_client)


def start(slope):
    model = Regression()
    with torch.no_grad():
        model.slope.fill_(slope)
    return model


def test_two_kinds_of_clients_find_their_two_models():
    run = fit_clustered(
        [start(0.1), start(-0.1)], two_kinds(), rounds=20, local=fl.SGD(0.5), progress=False
    )
    assert [fl.flatten(m).item() for m in run.models] == pytest.approx([1, -2], abs=1e-2)
    assert list(run.cluster.values()) == [0, 1, 0, 1, 1, 0, 1]
    assert run.personal["newcomer"] is run.models[1] and run.cluster["newcomer"] == 1
    size = 4 * 6
    assert run.history.bytes_up == [size] * 20 and run.history.bytes_down == [2 * size] * 20


def test_a_model_that_nobody_takes_stays_and_clients_may_be_drawn():
    run = fit_clustered(
        [start(0.0), start(50.0)], two_kinds(), rounds=5, clients_per_round=fl.Poisson(0.3),
        progress=False, seed=1,
    )  # fmt: skip
    assert fl.flatten(run.models[1]).item() == 50 and set(run.cluster.values()) == {0}
    assert {len(c) for c in run.chosen} != {6}


def test_updates_tell_who_is_alike():
    base = torch.eye(3)[[1, 0, 1, 2, 0]] + 0.01 * torch.arange(15.0).view(5, 3)
    assert similar_clients(5 * base, 3).tolist() == [0, 1, 0, 2, 1]
    assert similar_clients(base, 1).tolist() == [0] * 5
    assert similar_clients(base, 5).tolist() == [0, 1, 2, 3, 4]
    for wrong in (0, 6):
        with pytest.raises(FedlabError, match=f"clusters={wrong}"):
            similar_clients(base, wrong)
    model = fl.fit(start(0.0), two_kinds(), rounds=9, local=fl.SGD(0.2), progress=False).model
    models, labels = split_by_updates(model, two_kinds(), 2, local=fl.SGD(0.1))
    assert labels.tolist() == [0, 1, 0, 1, 1, 0]
    assert models[0].slope > model.slope > models[1].slope


def test_settings_that_make_no_sense_are_refused():
    members = of(rows((20, 30)))
    with pytest.raises(FedlabError, match="at least one model"):
        fit_clustered([], members, rounds=1)
    with pytest.raises(FedlabError, match="different numbers"):
        models = [fl.dense_autoencoder(8), fl.dense_autoencoder(8, hidden=5)]
        fit_clustered(models, members, rounds=1)
    with pytest.raises(FedlabError, match="rounds"):
        fit_clustered([fl.dense_autoencoder(8)], members, rounds=-1)
    assert np.isfinite(fit_clustered([fl.dense_autoencoder(8)], members, rounds=1).history.loss[0])
