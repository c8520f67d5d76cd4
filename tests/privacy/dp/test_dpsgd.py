"""DP-SGD: stacked against the plain loop and Opacus, its bits, its epsilon."""

import math
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss

import fedlab_utils as fl
from fedlab_utils.errors import FedlabError
from fedlab_utils.federate import RowStore
from fedlab_utils.federate.dpsgd import DPSGD, train_stacked_privately
from fedlab_utils.models.stacked_dense import LANES, with_ones
from fedlab_utils.privacy.dp import Release, SystemNoise, epsilon_spent
from fedlab_utils.privacy.dp.bench import load, measure
from fedlab_utils.privacy.dp.clipping import clipped_gradient, clipped_model
from tests.federate.toy import Windows, rows

RAGGED = (1, 5, 31, 64, 100)
SOLVERS = (
    DPSGD(0.1, clip=0.3, noise_multiplier=1.0, sample_rate=0.1, steps=7),
    DPSGD(0.5, clip=0.2, noise_multiplier=0.0, batch_size=16, epochs=1, momentum=0.9),
    DPSGD(0.1, clip=0.5, noise_multiplier=0.5, sample_rate=1.0, steps=2),
)


def make(kind):
    torch.manual_seed(0)
    if kind == "windows":
        return Windows(), rows(RAGGED, (4, 3))
    if kind == "sequential":
        return nn.Sequential(nn.Linear(8, 3), nn.Tanh(), nn.Linear(3, 8)), rows(RAGGED)
    return fl.dense_autoencoder(8, activation=kind), rows(RAGGED)


@pytest.mark.parametrize("local", SOLVERS, ids=lambda s: f"z{s.noise_multiplier}")
@pytest.mark.parametrize("kind", ["tanh", "relu", "sequential", "windows"])
def test_stacked_equals_the_loop(kind, local):
    model, parts = make(kind)
    store, start, everyone = RowStore(parts, model), fl.flatten(model), np.arange(len(parts))
    updates, losses = local.train("stacked", model, start, store, everyone, 3, 1)
    expected, expected_losses = local.train("loop", model, start, store, everyone, 3, 1)
    scale = expected.abs().amax(dim=1, keepdim=True)
    assert float(((updates - expected).abs() / scale.clamp_min(1e-6)).max()) < 1e-5
    torch.testing.assert_close(losses, expected_losses, rtol=1e-5, atol=1e-6)
    assert float(scale[1:].min()) > 1e-5


@pytest.mark.parametrize("kind", ["tanh", "sequential"])
@pytest.mark.parametrize("engine", ["stacked", "loop"])
def test_clients_may_start_from_weights_of_their_own(kind, engine):
    model, parts = make(kind)
    store, local = RowStore(parts, model), SOLVERS[0]
    start = fl.flatten(model) + 0.1 * torch.randn(len(parts), 1)
    updates, _ = local.train(engine, model, start, store, np.arange(len(parts)), 3, 1)
    for k in range(len(parts)):
        alone, _ = local.train(engine, model, start[k], store, np.array([k]), 3, 1)
        torch.testing.assert_close(updates[k], alone[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["tanh", "sequential"])
@pytest.mark.parametrize("local", SOLVERS, ids=lambda s: f"z{s.noise_multiplier}")
def test_bits_do_not_depend_on_the_chunk_the_company_or_the_threads(local, kind):
    model, _ = make(kind)
    many = RAGGED * 5
    store, start, everyone = RowStore(rows(many), model), fl.flatten(model), np.arange(len(many))
    reference, losses = train_stacked_privately(local, model, start, store, everyone, 3, 1)
    few = np.array([7, 2, 10])
    before = torch.get_num_threads()
    try:
        for threads, chunk in ((1, 1), (1, 3), (2, 7), (2, None)):
            torch.set_num_threads(threads)
            updates, again = train_stacked_privately(
                local, model, start, store, everyone, 3, 1, chunk
            )
            if kind == "tanh":
                assert torch.equal(updates, reference) and torch.equal(again, losses)
            else:
                torch.testing.assert_close(updates, reference)
    finally:
        torch.set_num_threads(before)
    updates, _ = train_stacked_privately(local, model, start, store, few, 3, 1)
    torch.testing.assert_close(updates, reference[few], rtol=0, atol=0 if kind == "tanh" else 1e-6)


def test_clipped_gradients_equal_those_of_opacus():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from opacus import GradSampleModule
        from opacus.optimizers import DPOptimizer

        for activation in ("tanh", "relu"):
            model = fl.dense_autoencoder(8, activation=activation)
            x = torch.from_numpy(
                rows((48,))[0] * np.linspace(0.01, 3, 48, dtype=np.float32)[:, None]
            )
            start = fl.flatten(model)
            wrapped = GradSampleModule(fl.DenseAutoencoder(model.widths, activation))
            load(wrapped, start)
            reference, norms = clipped_gradient(model, x, 0.2)
            assert float(norms.min()) < 0.2 < float(norms.max())  # some are clipped, some are not
            inner = torch.optim.SGD(wrapped.parameters(), lr=1.0)
            optimiser = DPOptimizer(
                inner, noise_multiplier=0.0, max_grad_norm=0.2, expected_batch_size=48
            )
            mse_loss(wrapped(x), x).backward()
            optimiser.pre_step()
            theirs = torch.cat([p.grad.flatten() for p in wrapped.parameters()])
            stacked = clipped_model(model, start, 2, 48)
            before = stacked.matrix().clone()
            twice, all_rows = with_ones(torch.stack([x, x])), torch.full((2,), 48.0)
            stacked.differentiate_clipped(twice, all_rows, 0.2, 1 / all_rows)
            stacked.weights.add_(stacked.gradients)
            for ours in (reference / 48, *(stacked.matrix() - before)):
                torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_without_clipping_and_noise_it_is_a_gradient_step():
    model = fl.dense_autoencoder(8)
    (x,) = rows((30,))
    store, start = RowStore([x], model), fl.flatten(model)
    local = DPSGD(0.2, clip=1e6, noise_multiplier=0.0, sample_rate=1.0, steps=1)
    update, loss = local.train("stacked", model, start, store, np.array([0]), 0, 0)
    given = torch.from_numpy(x)
    wanted = mse_loss(model(given), given)
    wanted.backward()
    gradient = torch.cat([p.grad.flatten() for p in model.parameters()])
    torch.testing.assert_close(update[0], -0.2 * gradient, rtol=1e-4, atol=1e-6)
    assert float(loss) == pytest.approx(float(wanted.detach()), rel=1e-5)


def test_a_single_row_moves_a_step_by_at_most_the_clip():
    model = fl.dense_autoencoder(8)
    (x,) = rows((40,))
    far = np.concatenate([x, np.full((1, 8), 1e3, dtype=np.float32)])
    start = fl.flatten(model)
    stacked = clipped_model(model, start, 2, 48)
    both = torch.zeros(2, 48, stacked.shapes[0][1])
    both[0, :40], both[1, :41] = torch.from_numpy(x), torch.from_numpy(far)
    counts = torch.tensor([40.0, 41.0])
    stacked.differentiate_clipped(with_ones(both), counts, 0.3, torch.ones(2))
    before = stacked.matrix().clone()
    stacked.weights.add_(stacked.gradients)
    moved = stacked.matrix() - before
    assert float((moved[1] - moved[0]).norm()) == pytest.approx(0.3, rel=1e-3)


def test_the_noise_has_the_right_size_and_empty_samples_get_it_too():
    model = fl.dense_autoencoder(8)
    store, start = RowStore(rows((40,)), model), fl.flatten(model)
    one = np.array([0])
    nobody = DPSGD(1.0, clip=0.5, noise_multiplier=3.0, sample_rate=1e-9, steps=1)
    update, loss = nobody.train("stacked", model, start, store, one, 0, 0)
    assert float(loss) == 0 and bool(update.isfinite().all())
    assert float(update.std()) == pytest.approx(0.5 * 3.0 / (1e-9 * 40), rel=0.15)
    loop, _ = nobody.train("loop", model, start, store, one, 0, 0)
    torch.testing.assert_close(loop, update)
    other, _ = nobody.train("stacked", model, start, store, one, 0, 1)
    assert not torch.equal(other, update)
    secret = DPSGD(1.0, 0.5, 3.0, sample_rate=0.5, steps=1, noise=SystemNoise())
    first, second = (secret.train("stacked", model, start, store, one, 0, 0)[0] for _ in range(2))
    assert not torch.equal(first, second) and bool(first.isfinite().all())


def test_clients_have_different_noise_and_samples():
    local = DPSGD(0.1, 1.0, 1.0, sample_rate=0.3, steps=3)
    (one, a), (two, b) = (local.draw(client, 50, 0, 0) for client in (0, 1))
    assert not all(map(np.array_equal, one, two))
    assert not np.array_equal(a.normal((9,)), b.normal((9,)))
    again, _ = local.draw(0, 50, 0, 0)
    assert all(map(np.array_equal, one, again))


def test_epsilon_counts_every_step_of_the_worst_client():
    local = DPSGD(0.1, 1.0, 1.2, batch_size=20, epochs=2)
    assert (local.rate(100), local.steps_of(100), local.rate(10)) == (0.2, 10, 1.0)
    assert local.epsilon([100, 1000], 5, 1e-5) == pytest.approx(
        epsilon_spent(Release(1.2, 0.2, 50), 1e-5)
    )
    assert local.epsilon(1000, 5, 1e-5) < local.epsilon(100, 5, 1e-5)
    fixed = DPSGD(0.1, 1.0, 1.2, sample_rate=0.05, steps=4)
    assert fixed.epsilon([3, 999], 5, 1e-5) == epsilon_spent(Release(1.2, 0.05, 20), 1e-5)
    scaler = Release(10.0, what="scaler")
    assert fixed.epsilon(9, 5, 1e-5, also=[scaler]) > fixed.epsilon(9, 5, 1e-5)
    assert fixed.epsilon(9, 5, 1e-5, accountant="pld") < fixed.epsilon(9, 5, 1e-5)
    assert DPSGD(0.1, 1.0, 0.0, sample_rate=0.1, steps=1).epsilon(9, 1, 1e-5) == math.inf
    text = fixed.statement([10, 20], 5, 1e-5, also=[scaler]).text()
    for part in ("one record", "20 releases", "rate 0.05", "scaler (1 release", "the threshold"):
        assert part in text


def test_it_is_a_solver_of_fit():
    none = np.empty((0, 8), dtype=np.float32)
    clients = [
        fl.Client(f"bank {i}", x, none, none, np.empty(0), np.empty(0, dtype=str))
        for i, x in enumerate(rows((40, 60)))
    ]
    federation = fl.Federation("toy", clients, [f"x{i}" for i in range(8)])
    model = fl.dense_autoencoder(8)
    local = DPSGD(1.0, clip=1.0, noise_multiplier=0.1, sample_rate=0.2, steps=5)
    run = fl.fit(model, federation, rounds=4, local=local, progress=False)
    again = fl.fit(model, federation, rounds=4, local=local, progress=False)
    loop = fl.fit(model, federation, rounds=4, local=local, progress=False, engine="loop")
    assert torch.equal(fl.flatten(run.model), fl.flatten(again.model))
    torch.testing.assert_close(fl.flatten(run.model), fl.flatten(loop.model), rtol=1e-3, atol=1e-4)
    assert run.history.loss[-1] < run.history.loss[0]


def test_the_benchmark_checks_its_own_work(capsys, monkeypatch):
    from fedlab_utils.privacy.dp import bench

    table = {row["contestant"]: row for row in measure(clients=3, repeats=1)}
    assert set(table) == {"Opacus", "ours, one client at a time", "ours, stacked"}
    assert table["ours, stacked"]["times Opacus"] > 1
    monkeypatch.setattr("sys.argv", ["bench", "--clients", "2", "--repeats", "1"])
    bench.main()
    assert "times Opacus" in capsys.readouterr().out
    monkeypatch.setitem(__import__("sys").modules, "opacus", None)
    with pytest.raises(SystemExit):
        bench.main()


def test_a_buffer_for_any_number_of_rows_is_filled_up():
    assert LANES == 16  # `differentiate_clipped` above is given 48 rows


@pytest.mark.parametrize(
    "options, message",
    [
        ({"lr": 0.0}, "lr"),
        ({"clip": 0.0}, "clip"),
        ({"noise_multiplier": -1.0}, "noise_multiplier"),
        ({"sample_rate": None}, "sample_rate or batch_size"),
        ({"batch_size": 8}, "sample_rate or batch_size"),
        ({"steps": None}, "steps or epochs"),
        ({"epochs": 1}, "steps or epochs"),
        ({"sample_rate": 1.5}, "sample_rate=1.5"),
        ({"sample_rate": None, "batch_size": 0}, "batch_size=0"),
        ({"steps": 0}, "steps=0"),
        ({"steps": None, "epochs": 0.0}, "epochs"),
        ({"momentum": 1.0}, "momentum"),
    ],
)
def test_settings_that_make_no_sense(options, message):
    with pytest.raises(FedlabError, match=message):
        DPSGD(**{"sample_rate": 0.1, "steps": 1, **options})
