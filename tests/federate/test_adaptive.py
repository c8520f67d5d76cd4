"""Server optimisers and FedNova against Flower's, torch's and limiting cases."""

import numpy as np
import pytest
import torch

import fedlab_utils as fl
from fedlab_utils.errors import FedlabError
from fedlab_utils.federate.adaptive import ServerAdagrad, ServerAdam, ServerMomentum, ServerYogi
from fedlab_utils.federate.fednova import FedNova

RNG = np.random.default_rng(0)
UPDATES = RNG.normal(scale=0.1, size=(6, 40)).astype(np.float32)


def run(server, zero_square=False):
    weights = torch.linspace(-1, 1, 40)
    state = server.start(weights)
    if zero_square:
        state["square"].zero_()
    for update in UPDATES:
        weights, state = server.step(weights, torch.from_numpy(update), state)
        yield weights.numpy()


def flower(monkeypatch, name, **options):
    """The weights after each round of Flower's strategy, given the mean of the clients' weights."""
    strategies = pytest.importorskip("flwr.serverapp.strategy", reason="flwr is not installed")
    from flwr.app import Array, ArrayRecord

    # The mean itself needs messages of a running Flower server; the optimiser after it does not.
    monkeypatch.setattr(strategies.FedAvg, "aggregate_train", lambda self, round_, mean: mean)
    strategy = getattr(strategies, name)(**options)
    weights = np.linspace(-1, 1, 40, dtype=np.float32)
    for number, update in enumerate(UPDATES):
        strategy.current_arrays = {"w": weights}
        mean = ArrayRecord({"w": Array(weights + update)}), None
        arrays, _ = strategy.aggregate_train(number + 1, mean)
        weights = arrays["w"].numpy()
        yield weights


@pytest.mark.parametrize(
    ("server", "name", "options"),
    [
        (ServerYogi(0.05, 1e-2, 0.8, 0.9), "FedYogi", {"eta": 0.05, "beta_1": 0.8, "beta_2": 0.9}),
        (ServerAdagrad(0.05, 1e-2), "FedAdagrad", {"eta": 0.05}),
    ],
)
def test_adaptive_servers_equal_flowers(monkeypatch, server, name, options):
    # Flower starts the mean square at zero, the paper (and we) at tau^2.
    theirs = flower(monkeypatch, name, tau=1e-2, **options)
    for ours, expected in zip(run(server, True), theirs, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=2e-5, atol=1e-6)


def test_adam_equals_torchs_without_its_correction_of_the_first_rounds():
    """torch's Adam divides by 1 - beta^t; undoing that in lr and eps gives the paper's step."""
    lr, tau, beta1, beta2 = 0.05, 1e-2, 0.8, 0.9
    w = torch.linspace(-1, 1, 40, dtype=torch.float64).requires_grad_()
    optimiser = torch.optim.Adam([w], betas=(beta1, beta2))
    server = ServerAdam(lr, tau, beta1, beta2)
    for t, (update, ours) in enumerate(zip(UPDATES, run(server, True), strict=True), start=1):
        root = (1 - beta2**t) ** 0.5
        optimiser.param_groups[0]["lr"] = lr * (1 - beta1**t) / root
        optimiser.param_groups[0]["eps"] = tau / root
        w.grad = -torch.from_numpy(update).double()
        optimiser.step()
        np.testing.assert_allclose(ours, w.detach().numpy(), rtol=1e-4, atol=1e-6)


def test_momentum_equals_torchs_and_without_it_is_fedavg():
    w = torch.linspace(-1, 1, 40).requires_grad_()
    optimiser = torch.optim.SGD([w], lr=0.5, momentum=0.9)
    for update, ours in zip(UPDATES, run(ServerMomentum(0.5, 0.9)), strict=True):
        w.grad = -torch.from_numpy(update)
        optimiser.step()
        np.testing.assert_allclose(ours, w.detach().numpy(), rtol=1e-5, atol=1e-6)
    plain = list(run(fl.ServerSGD()))
    assert all(map(np.array_equal, run(ServerMomentum(1.0, 0.0)), plain))


def test_settings_that_make_no_sense_are_refused():
    for make, message in [
        (lambda: ServerMomentum(momentum=1.0), "momentum"),
        (lambda: ServerMomentum(lr=0), "lr=0"),
        (lambda: ServerAdam(tau=0), "tau=0"),
        (lambda: ServerYogi(beta2=1.5), "beta2"),
    ]:
        with pytest.raises(FedlabError, match=message):
            make()
    with pytest.raises(FedlabError, match="positive number of training rows"):
        FedNova(fl.SGD()).aggregate(torch.ones(2, 3), torch.tensor([0.0, 1.0]))


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_fednova_counts_effective_steps(momentum):
    """On a constant gradient g the update of a client is -lr * tau * g."""
    local = fl.SGD(lr=0.1, epochs=3, batch_size=32, momentum=momentum)
    rows = torch.tensor([1.0, 32.0, 33.0, 100.0])
    for tau, n in zip(local.effective_steps(rows), (1, 1, 2, 4), strict=True):
        weights, gradients, velocity = torch.zeros(1), torch.ones(1), None
        for _ in range(n * 3):
            velocity = local.step(weights, gradients, velocity)
        assert float(tau) == pytest.approx(-float(weights) / 0.1, rel=1e-5)


def test_fednova_is_the_mean_for_equal_clients_and_undoes_unequal_steps():
    local = fl.SGD(epochs=2, batch_size=10)
    updates = torch.from_numpy(UPDATES)
    even = torch.full((6,), 30.0)
    torch.testing.assert_close(
        FedNova(local).aggregate(updates, even), fl.Mean().aggregate(updates, even)
    )
    # Each client moves by its own constant gradient per step: the result is a weighted mean of
    # gradients times a common number of steps, whatever the steps of each.
    rows = torch.tensor([10.0, 20.0, 50.0])
    gradients = torch.eye(3)
    moved = gradients * local.effective_steps(rows).float()[:, None]
    result = FedNova(local).aggregate(moved, rows)
    torch.testing.assert_close(result / result.sum(), rows / rows.sum())
    assert not torch.allclose(fl.Mean().aggregate(moved, rows) / rows, result / rows)
