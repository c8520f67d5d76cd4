"""What a server reads from an update: exact rows, and nothing where a defence holds."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss

import fedlab_utils as fl
from fedlab_utils.attacks import invert_update, reconstruction_success
from fedlab_utils.attacks.matching import match, mismatch
from fedlab_utils.attacks.network import Network, flat
from fedlab_utils.attacks.row_search import noise_level
from fedlab_utils.errors import FedlabError
from fedlab_utils.federate import RowStore, train_stacked

D = 12
ONE_STEP = fl.SGD(0.05, batch_size=None)


def rows(n, seed=0):
    """Standardised rows whose features depend on each other."""
    rng = np.random.default_rng(seed)
    mix = np.random.default_rng(99).normal(size=(D, D)) / D**0.5
    return (rng.normal(size=(n, D)) @ mix + 0.3 * rng.normal(size=(n, D))).astype(np.float32)


def updates(model, parts, local=ONE_STEP):
    store = RowStore(parts, model)
    clients = np.arange(len(parts))
    return train_stacked(model, fl.flatten(model), store, clients, local, 0, 0)[0]


@pytest.fixture(scope="module")
def model():
    return fl.dense_autoencoder(D, seed=1)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("local", [ONE_STEP, fl.SGD(0.1, 3, None, 0.5), fl.SGD(0.1, 2, 4, 0.5)])
def test_the_network_simulates_local_training(activation, local):
    model = fl.dense_autoencoder(D, activation=activation)
    network = Network(model)
    x = torch.from_numpy(rows(8))
    own = fl.unflatten(fl.flatten(model), model)
    optimiser = torch.optim.SGD(own.parameters(), lr=local.lr, momentum=local.momentum)
    for _ in range(local.epochs):
        for batch in x.split(local.batch_size or 8):
            optimiser.zero_grad()
            mse_loss(own(batch), batch).backward()
            optimiser.step()
    wanted = flat(network.split((fl.flatten(own) - fl.flatten(model)).double()))
    found = network.update(x.double()[None], local)[0]
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("local", [ONE_STEP, fl.SGD(0.1, epochs=5, momentum=0.9)])
def test_one_record_is_read_off_exactly(model, local):
    x = rows(1)
    inversion = invert_update(model, updates(model, [x], local)[0], local=local, rows=1)
    assert inversion.method == "ratio" and inversion.residual < 1e-3
    np.testing.assert_allclose(inversion.rows, x, atol=1e-4)


@pytest.mark.parametrize("scale", [1.0, -0.003, 1000.0])
@pytest.mark.parametrize("n", [2, 6])
def test_every_row_of_a_batch_comes_back_whatever_the_scale(model, n, scale):
    x = rows(n)
    inversion = invert_update(model, scale * updates(model, [x])[0], local=ONE_STEP, rows=n)
    success = reconstruction_success(x, inversion.rows, reference=rows(50, 1))
    assert success.recovered == 1 and success.errors.max() < 1e-3
    assert inversion.residual < 1e-3 and success.recovered_reference == 0


def test_several_steps_on_a_trained_model_do_not_hide_the_rows(model):
    x = rows(200, 5)
    none = np.empty((0, D), np.float32)
    client = fl.Client("bank", x, none, none, np.empty(0), np.empty(0, str))
    federation = fl.Federation("toy", [client], [str(i) for i in range(D)])
    trained = fl.fit(model, federation, rounds=20, local=fl.SGD(0.3), progress=False).model
    local = fl.SGD(0.05, epochs=2, batch_size=None)
    update = updates(trained, [rows(2)], local)[0]
    inversion = invert_update(trained, update, local=local, rows=2)
    assert reconstruction_success(rows(2), inversion.rows).recovered == 1


def test_matching_finds_the_rows_without_the_row_search(model):
    x = rows(3)
    network = Network(model)
    target = flat(network.split(updates(model, [x])[0].double()))
    target /= target.norm()
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(4, 3, D, generator=generator, dtype=torch.float64)
    best, left = match(network, target, start, ONE_STEP, ridge=0.0, steps=60)
    assert left < 1e-8 and reconstruction_success(x, best.numpy()).recovered == 1
    again, _ = match(network, target, start[:, 1:], ONE_STEP, ridge=0.0, steps=60, fixed=best[:1])
    assert torch.equal(again[0], best[0])


def test_a_problem_too_large_for_a_jacobian_is_solved_by_lbfgs(model, monkeypatch):
    monkeypatch.setattr("fedlab_utils.attacks.matching._JACOBIAN", 0)
    x = rows(2)
    network = Network(model)
    target = flat(network.split(updates(model, [x])[0].double()))
    target /= target.norm()
    start = torch.randn(2, 2, D, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    best, left = match(network, target, start, ONE_STEP, ridge=0.0, steps=300)
    before = mismatch(network, target, start, ONE_STEP).square().sum(1).min()
    assert left < 0.01 * float(before)
    assert reconstruction_success(x, best.numpy()).error < 0.1


def test_the_mean_of_many_clients_gives_no_client_away(model):
    parts = [rows(4, seed) for seed in range(30)]
    mean = updates(model, parts).mean(dim=0)
    inversion = invert_update(model, mean, local=ONE_STEP, rows=4, restarts=1, steps=10)
    assert inversion.residual > 0.01  # the attacker knows that these are not the rows
    results = [reconstruction_success(part, inversion.rows) for part in parts]
    assert max(result.recovered for result in results) == 0
    # No better than the mean row, for the typical client.
    assert np.mean([result.rmse / result.rmse_mean for result in results]) > 0.9


@pytest.mark.parametrize("n", [1, 4])
def test_masks_give_nothing_away(model, n):
    masked = torch.rand(len(fl.flatten(model)), generator=torch.Generator().manual_seed(1)) - 0.5
    inversion = invert_update(model, 1e9 * masked, local=ONE_STEP, rows=n, restarts=1, steps=20)
    success = reconstruction_success(rows(n), inversion.rows)
    assert success.recovered == 0 and success.error > 0.7 and inversion.residual > 0.8


@pytest.mark.parametrize("known", [True, False])
def test_more_noise_more_error(model, known):
    x, errors = rows(1), []
    update = updates(model, [x])[0]
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(len(update), generator=generator) * update.norm() / len(update) ** 0.5
    for strength in (1e-4, 0.1, 10.0):
        std = strength * float(update.norm()) / len(update) ** 0.5 if known else None
        noisy = update + strength * noise
        inversion = invert_update(model, noisy, local=ONE_STEP, rows=1, noise=std)
        errors.append(reconstruction_success(x, inversion.rows).error)
    assert errors[0] < 1e-3 < errors[1] < 0.1 < 0.5 < errors[2] < 3


def test_the_noise_is_measured():
    rng = torch.Generator().manual_seed(0)
    block = torch.outer(torch.arange(20.0), torch.ones(13)).double()
    block += 0.01 * torch.randn(20, 13, generator=rng, dtype=torch.float64)
    assert noise_level(block, 1) == pytest.approx(0.01, rel=0.15)
    assert noise_level(block, 13) == 0


def test_more_rows_than_the_first_layer_can_hold(model):
    x = rows(20)
    update = updates(model, [x])[0]
    inversion = invert_update(model, update, local=ONE_STEP, rows=20, restarts=1, steps=3)
    assert inversion.method == "matching" and inversion.rows.shape == (20, D)
    assert inversion.found == 0 and np.isfinite(inversion.rows).all()


def test_no_update_no_information(model):
    inversion = invert_update(model, np.zeros(len(fl.flatten(model))), local=ONE_STEP, rows=2)
    assert inversion.residual == 1 and not inversion.rows.any()


def test_same_seed_same_guess(model):
    update = updates(model, [rows(3)])[0]
    first, second = (invert_update(model, update, local=ONE_STEP, rows=3) for _ in range(2))
    assert np.array_equal(first.rows, second.rows)


def test_what_cannot_be_attacked_is_said(model):
    update = updates(model, [rows(1)])[0]
    with pytest.raises(FedlabError, match=r"2 of .* are NaN or infinite, the first at place 7"):
        bad = update.clone()
        bad[7], bad[9] = float("nan"), float("inf")
        invert_update(model, bad, local=ONE_STEP, rows=1)
    with pytest.raises(FedlabError, match="does not fit the model"):
        invert_update(model, update[:-1], local=ONE_STEP, rows=1)
    with pytest.raises(FedlabError, match="rows=0"):
        invert_update(model, update, local=ONE_STEP, rows=0)
    with pytest.raises(FedlabError, match="noise=-1"):
        invert_update(model, update, local=ONE_STEP, rows=1, noise=-1)
    with pytest.raises(FedlabError, match="not of a Linear"):
        invert_update(nn.Linear(D, D), update, local=ONE_STEP, rows=1)


def test_names_are_lazy_and_listed():
    import fedlab_utils.attacks as attacks

    assert {"invert_update", "membership_inference"} <= set(dir(attacks))
    with pytest.raises(AttributeError, match="has no name 'invert'"):
        _ = attacks.invert
