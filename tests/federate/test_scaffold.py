"""SCAFFOLD against the published algorithm written out, and in its limits."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import fedlab_utils as fl
from fedlab_utils.federate import RowStore
from fedlab_utils.federate.fednova import FedNova
from fedlab_utils.federate.scaffold import Scaffold
from fedlab_utils.federate.solvers import RoundSolver
from tests.federate.toy import RAGGED, Regression, assert_rows_close, federation, lines, rows


def test_it_is_algorithm_1_of_the_paper():
    """Equal weights, full batches, sampled clients: x, c and c_k as published, option II."""
    model, members, lr, steps = fl.dense_autoencoder(8), federation((20, 30, 25, 40)), 0.2, 3
    local = Scaffold(fl.SGD(lr=lr, epochs=steps, batch_size=None), weighted=False)
    run = fl.fit(
        model, members, rounds=5, local=local, aggregator=fl.Mean(weighted=False),
        server=fl.ServerSGD(0.8), clients_per_round=2, progress=False, seed=1,
    )  # fmt: skip

    def gradient(flat, data):
        own = fl.unflatten(flat, model)
        (own(data) - data).square().mean().backward()
        return torch.cat([p.grad.reshape(-1) for p in own.parameters()])

    x = fl.flatten(model)
    c, controls = torch.zeros_like(x), {name: torch.zeros_like(x) for name in members.names}
    for round_ in run.history:
        dy, dc = [], []
        for name in round_.clients:
            data, y = torch.from_numpy(members[name].x_train), x.clone()
            for _ in range(steps):
                y = y - lr * (gradient(y, data) - controls[name] + c)
            new = controls[name] - c + (x - y) / (steps * lr)
            dy.append(y - x)
            dc.append(new - controls[name])
            controls[name] = new
        x = x + 0.8 * torch.stack(dy).mean(dim=0)
        c = c + 2 / 4 * torch.stack(dc).mean(dim=0)
    torch.testing.assert_close(fl.flatten(run.model), x, rtol=1e-4, atol=1e-6)


def run_rounds(local, engine, rounds=3):
    model = fl.dense_autoencoder(8)
    weights, store = fl.flatten(model), RowStore(rows(RAGGED), model)
    state = local.start(weights, store.sizes)
    for round_ in range(rounds):
        clients = np.array([0, 2, 3, 4, 6, 7]) if round_ % 2 else np.arange(len(RAGGED))
        trained = local.train_round(engine, model, weights, store, clients, 3, round_, state)
        weights = weights + trained.updates.mean(dim=0)
    return trained.updates, state


@pytest.mark.parametrize("sgd", [fl.SGD(0.1, 2, 32), fl.SGD(0.1, 2, 7, momentum=0.5)], ids=str)
def test_stacked_equals_the_loop(sgd):
    (updates, state), (expected, by_loop) = (
        run_rounds(Scaffold(sgd), engine) for engine in ("stacked", "loop")
    )
    assert_rows_close(updates, expected)
    assert_rows_close(state["clients"], by_loop["clients"])


def test_the_first_round_is_fedavg_to_the_bit():
    model, members, sgd = fl.dense_autoencoder(8), federation(), fl.SGD(0.1, 2, momentum=0.9)
    for engine in ("stacked", "loop"):
        runs = [
            fl.fit(model, members, rounds=1, local=local, engine=engine, progress=False)
            for local in (sgd, Scaffold(sgd))
        ]
        assert torch.equal(*[fl.flatten(run.model) for run in runs])


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_control_variates_are_gradients_and_their_mean_is_kept(momentum):
    """One full-batch step: c_k is the client's gradient, whatever the correction was."""
    model, members = fl.dense_autoencoder(8), federation()
    local = Scaffold(fl.SGD(lr=0.1, batch_size=None, momentum=momentum))
    store, weights = RowStore([c.x_train for c in members], model), fl.flatten(model)
    state = local.start(weights, store.sizes)
    for round_ in range(4):
        clients = np.array([0, 1, 2]) if round_ in (0, 3) else np.array([round_])
        trained = local.train_round("stacked", model, weights, store, clients, 0, round_, state)
        if round_ < 3:
            weights = weights + trained.updates.mean(dim=0)
    for client, control in zip(members, state["clients"], strict=True):
        x = torch.from_numpy(client.x_train)
        own = fl.unflatten(weights, model)
        (own(x) - x).square().mean().backward()
        gradient = torch.cat([p.grad.reshape(-1) for p in own.parameters()])
        torch.testing.assert_close(control, gradient, rtol=1e-4, atol=1e-6)
    share = torch.from_numpy(store.sizes / store.sizes.sum()).float()
    torch.testing.assert_close(state["server"], share @ state["clients"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_it_finds_the_optimum_that_fedavg_misses(momentum):
    """Several local steps on clients of unequal curvature."""
    members, optimum = lines()
    sgd = fl.SGD(lr=0.2, epochs=5, batch_size=None, momentum=momentum)

    def slope(local, **options):
        options |= {"rounds": 40, "engine": "loop", "progress": False}
        return fl.flatten(fl.fit(Regression(), members, local=local, **options).model).item()

    assert abs(slope(sgd) - optimum) > 0.05
    assert slope(Scaffold(sgd)) == pytest.approx(optimum, abs=2e-3)
    # FedNova does what it can about unequal numbers of steps, not about unequal curvature.
    assert abs(slope(sgd, aggregator=FedNova(sgd)) - optimum) > 0.02
    # With equal weights everywhere, it is the mean of the clients' losses that is minimised.
    u2 = np.array([np.square(c.x_train[:, 0]).mean() for c in members])
    equal = float((u2 * np.array([-1.0, 0.5, 3.0])).sum() / u2.sum())
    found = slope(Scaffold(sgd, weighted=False), aggregator=fl.Mean(weighted=False))
    assert found == pytest.approx(equal, abs=2e-3)


def test_memory_survives_sampling_and_a_checkpoint(tmp_path):
    model, members = fl.dense_autoencoder(8), federation()
    settings = {"local": Scaffold(fl.SGD(0.1, momentum=0.5)), "progress": False}
    settings |= {"clients_per_round": 2, "seed": 2}
    whole = fl.fit(model, members, rounds=6, **settings)
    path = tmp_path / "state.npz"
    for rounds in (2, 4, 6):
        run = fl.fit(model, members, rounds=rounds, checkpoint=path, **settings)
    assert torch.equal(fl.flatten(run.model), fl.flatten(whole.model))
    assert run.history.loss == whole.history.loss
    with pytest.raises(fl.errors.CheckpointError, match="other settings"):
        other = settings | {"local": Scaffold(fl.SGD(0.1, momentum=0.5), weighted=False)}
        fl.fit(model, members, rounds=8, checkpoint=path, **other)


def test_bytes_are_counted_twice_and_nobody_has_a_model_of_its_own():
    model, members = fl.dense_autoencoder(8), federation()
    assert isinstance(Scaffold(), RoundSolver) and not isinstance(fl.SGD(), RoundSolver)
    run = fl.fit(model, members, rounds=2, local=Scaffold(), progress=False)
    plain = fl.fit(model, members, rounds=2, progress=False)
    assert run.history.bytes_up == [2 * b for b in plain.history.bytes_up]
    assert run.history.bytes_down == [2 * b for b in plain.history.bytes_down]
    assert run.personal == {} and plain.personal == {}
    with pytest.raises(fl.errors.DivergedError, match="round 1: the weights of bank 1"):
        fl.fit(model, members, rounds=1, local=Scaffold(fl.SGD(1e30)), progress=False)
    with pytest.raises(fl.errors.FedlabError, match="lr"):
        replace(Scaffold(), local=fl.SGD(lr=-1))


def test_a_single_client_has_nothing_to_correct():
    """c_k = c in every round, so SCAFFOLD is FedAvg for as long as it runs, to the bit."""
    model, members, sgd = fl.dense_autoencoder(8), federation((50,)), fl.SGD(0.1, 2, momentum=0.5)
    runs = [fl.fit(model, members, rounds=4, local=k, progress=False) for k in (sgd, Scaffold(sgd))]
    assert torch.equal(*[fl.flatten(run.model) for run in runs])
