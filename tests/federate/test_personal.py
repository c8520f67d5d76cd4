"""Fine-tuning and Ditto between their limits, local training and FedAvg."""

import numpy as np
import pytest
import torch

import fedlab_utils as fl
from fedlab_utils.errors import DivergedError, FedlabError
from fedlab_utils.federate import RowStore
from fedlab_utils.federate.fedprox import FedProx
from fedlab_utils.federate.personal import Ditto, fine_tune
from tests.federate.toy import RAGGED, assert_rows_close, federation, of, rows


def flat(models):
    return torch.stack([fl.flatten(model) for model in models.values()])


def test_dittos_global_model_is_fedavgs_to_the_bit():
    model, members, sgd = fl.dense_autoencoder(8), federation(), fl.SGD(0.1, momentum=0.9)
    for engine in ("stacked", "loop"):
        options = {"rounds": 3, "clients_per_round": 2, "engine": engine, "progress": False}
        plain = fl.fit(model, members, local=sgd, **options)
        ditto = fl.fit(model, members, local=Ditto(sgd, mu=0.3), **options)
        assert torch.equal(fl.flatten(plain.model), fl.flatten(ditto.model))
        assert ditto.history.bytes_up == plain.history.bytes_up
        assert tuple(ditto.personal) == members.names


def test_without_pull_the_own_models_are_trained_locally():
    model, members = fl.dense_autoencoder(8), federation()
    sgd = fl.SGD(0.1, epochs=2, batch_size=None)  # full batch: the order of rows does not matter
    run = fl.fit(model, members, rounds=4, local=Ditto(sgd, mu=0), progress=False)
    alone = fl.fit_local(model, members, rounds=4, local=sgd)
    torch.testing.assert_close(flat(run.personal), flat(alone), rtol=1e-4, atol=1e-6)


def test_a_stronger_pull_keeps_the_own_models_nearer_to_the_global_one():
    model, members, sgd = fl.dense_autoencoder(8), federation(), fl.SGD(0.1, epochs=5)
    far = []
    received = fl.fit(model, members, rounds=2, local=sgd, progress=False).model
    for mu in (0, 1, 9.9):
        run = fl.fit(model, members, rounds=3, local=Ditto(sgd, mu), progress=False)
        far.append(float((flat(run.personal) - fl.flatten(received)).norm(dim=1).mean()))
    assert far[0] > far[1] > far[2] and far[2] < 0.15 * far[0]


def test_one_step_of_ditto_is_that_of_the_paper():
    model, members = fl.dense_autoencoder(8), federation((20, 30))
    local = Ditto(fl.SGD(lr=0.2, batch_size=None), mu=0.5)
    first = fl.fit(model, members, rounds=1, local=local, progress=False)
    second = fl.fit(model, members, rounds=2, local=local, progress=False)
    w = fl.flatten(first.model)
    for client in members:
        v = fl.flatten(first.personal[client.name])
        own, x = fl.unflatten(v, model), torch.from_numpy(client.x_train)
        (own(x) - x).square().mean().backward()
        gradient = torch.cat([p.grad.reshape(-1) for p in own.parameters()])
        expected = v - 0.2 * (gradient + 0.5 * (v - w))
        given = fl.flatten(second.personal[client.name])
        torch.testing.assert_close(given, expected, rtol=1e-4, atol=1e-6)


def test_stacked_equals_the_loop():
    model, local = fl.dense_autoencoder(8), Ditto(fl.SGD(0.1, 2, 7, momentum=0.9), mu=0.5)
    store = RowStore(rows(RAGGED), model)
    ends = []
    for engine in ("stacked", "loop"):
        weights = fl.flatten(model)
        state = local.start(weights, store.sizes)
        for round_ in range(2):
            clients = np.arange(len(RAGGED))
            trained = local.train_round(engine, model, weights, store, clients, 3, round_, state)
            weights = weights + 0.1 * trained.updates.mean(dim=0)
        ends.append(state["personal"] - fl.flatten(model))
    assert_rows_close(*ends)


def test_own_models_wait_while_their_client_is_not_drawn_and_survive_a_checkpoint(tmp_path):
    model, members = fl.dense_autoencoder(8), federation()
    settings = {"local": Ditto(fl.SGD(0.1)), "clients_per_round": 1, "progress": False}
    one = fl.fit(model, members, rounds=1, **settings)
    waiting = [n for n in members.names if n not in one.history[0].clients]
    assert all(torch.equal(fl.flatten(one.personal[n]), fl.flatten(model)) for n in waiting)
    path = tmp_path / "state.npz"
    fl.fit(model, members, rounds=3, checkpoint=path, **settings)
    resumed = fl.fit(model, members, rounds=6, checkpoint=path, **settings)
    whole = fl.fit(model, members, rounds=6, **settings)
    assert torch.equal(flat(resumed.personal), flat(whole.personal))


def test_fine_tuning_goes_on_from_the_model_and_includes_the_newcomer():
    model, members = fl.dense_autoencoder(8), of(rows((40, 64, 10)), unseen=True)
    tuned = fine_tune(model, members, passes=3, local=fl.SGD(0.1, epochs=5))
    assert tuple(tuned) == ("bank 1", "bank 2", "bank 3")
    alone = fl.fit_local(model, members, rounds=3, local=fl.SGD(0.1))
    assert torch.equal(flat(alone), flat(tuned)[:2])
    near = fine_tune(model, members, passes=3, local=FedProx(0.1, mu=9.9))
    distance = [(flat(m) - fl.flatten(model)).norm() for m in (near, tuned)]
    assert distance[0] < 0.5 * distance[1]


def test_settings_that_make_no_sense_and_divergence():
    with pytest.raises(FedlabError, match="Ditto: mu"):
        Ditto(mu=-1)
    with pytest.raises(FedlabError, match="lr \\* mu"):
        Ditto(fl.SGD(0.5), mu=2)
    members = federation()
    local = Ditto(fl.SGD(0.1), mu=0.5)
    model = fl.dense_autoencoder(8)
    store = RowStore([c.x_train for c in members], model)
    state = local.start(fl.flatten(model), store.sizes)
    state["personal"][1] = torch.inf  # as after a divergence of the own model alone
    trained = local.train_round(
        "stacked", model, fl.flatten(model), store, np.arange(3), 0, 0, state
    )
    assert trained.losses.isnan().tolist() == [False, True, False]
    with pytest.raises(DivergedError, match="bank 1"):
        fl.fit(model, members, rounds=1, local=Ditto(fl.SGD(1e30), mu=0), progress=False)
