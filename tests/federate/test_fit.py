"""The engines against each other and against torch, and everything `fit` promises."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import fedlab_utils as fl
from fedlab_utils.errors import CheckpointError, DivergedError, FedlabError
from fedlab_utils.federate import RowStore, batch_order, choose_clients, train_loop, train_stacked
from tests.federate.toy import RAGGED, Windows, federation, rows

SOLVERS = (
    fl.SGD(0.05),
    fl.SGD(0.1, epochs=3, momentum=0.9),
    fl.SGD(0.1, epochs=2, batch_size=None),
    fl.SGD(0.3, epochs=2, batch_size=7, momentum=0.5),
)


def both(model, parts, local, **options):
    store, start, clients = RowStore(parts, model), fl.flatten(model), np.arange(len(parts))
    stacked = train_stacked(model, start, store, clients, local, 3, 1, **options)
    return stacked, train_loop(model, start, store, clients, local, 3, 1)


@pytest.mark.parametrize("local", SOLVERS, ids=str)
@pytest.mark.parametrize("model", ["tanh", "relu", "sequential", "windows"])
def test_stacked_equals_the_loop(model, local):
    if model == "windows":
        torch.manual_seed(0)
        module, parts = Windows(), rows(RAGGED[:6], (4, 3))
    elif model == "sequential":
        torch.manual_seed(0)
        module, parts = nn.Sequential(nn.Linear(8, 3), nn.Tanh(), nn.Linear(3, 8)), rows(RAGGED)
    else:
        module, parts = fl.dense_autoencoder(8, activation=model), rows(RAGGED)
    (updates, losses), (expected, expected_losses) = both(module, parts, local)
    scale = expected.abs().amax(dim=1, keepdim=True)
    assert float(((updates - expected).abs() / scale).max()) < 1e-5
    torch.testing.assert_close(losses, expected_losses, rtol=1e-5, atol=1e-6)
    assert float(scale.min()) > 1e-4  # everyone has learned something


@pytest.mark.parametrize("local", SOLVERS, ids=str)
@pytest.mark.parametrize("threads", [1, 2])
def test_bits_do_not_depend_on_the_chunk_the_company_or_the_threads(local, threads):
    model = fl.dense_autoencoder(8)
    store, start = RowStore(rows(RAGGED * 5), model), fl.flatten(model)
    everyone = np.arange(len(store.sizes))
    reference, losses = train_stacked(model, start, store, everyone, local, 3, 1)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for chunk in (1, 2, 3, 7, 39):
            updates, again = train_stacked(model, start, store, everyone, local, 3, 1, chunk)
            assert torch.equal(updates, reference) and torch.equal(again, losses)
        few = np.array([7, 2, 30])
        updates, _ = train_stacked(model, start, store, few, local, 3, 1)
        assert torch.equal(updates, reference[few])
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=8), st.integers(0, 2**63), st.integers(0, 99)
)
def test_orders_are_permutations_that_depend_on_the_client_alone(sizes, seed, round_):
    sizes = np.array(sizes)
    clients = np.arange(len(sizes)) + 5
    epochs = np.zeros_like(clients)
    order = batch_order(seed, round_, clients, epochs, 64, sizes)
    for k, size in enumerate(sizes):
        assert np.array_equal(np.sort(order[k, :size]), np.arange(size))
        alone = batch_order(
            seed, round_, clients[k : k + 1], epochs[:1], int(size), sizes[k : k + 1]
        )
        assert np.array_equal(alone[0], order[k, :size])


def test_orders_are_uniform_and_differ_by_seed_round_client_and_epoch():
    n, many = 5, 4000
    clients, sizes = np.arange(many), np.full(many, n)
    order = batch_order(0, 0, clients, np.zeros(many, int), n, sizes)
    counts = np.stack([np.bincount(order[:, i], minlength=n) for i in range(n)])
    expected = many / n
    assert (np.square(counts - expected) / expected).sum() < 40  # chi-square, 16 degrees: p < .001
    others = [
        batch_order(1, 0, clients, np.zeros(many, int), n, sizes),
        batch_order(0, 1, clients, np.zeros(many, int), n, sizes),
        batch_order(0, 0, clients + 1, np.zeros(many, int), n, sizes),
        batch_order(0, 0, clients, np.ones(many, int), n, sizes),
    ]
    for other in others:
        # Two independent orders of five agree once in 120.
        assert (other == order).all(axis=1).mean() < 0.02


def test_one_round_is_the_weighted_mean_of_what_clients_learn_alone():
    model, members = fl.dense_autoencoder(8), federation()
    run = fl.fit(model, members, rounds=1, local=fl.SGD(0.1), progress=False, engine="loop")
    store, start = RowStore([c.x_train for c in members], model), fl.flatten(model)
    updates, _ = train_loop(model, start, store, np.arange(3), fl.SGD(0.1), 0, 0)
    expected = start + sum(n / 114 * u for n, u in zip((40, 64, 10), updates, strict=True))
    torch.testing.assert_close(fl.flatten(run.model), expected)
    assert torch.equal(fl.flatten(model), start)  # the caller's model is left alone


def test_a_federation_of_one_with_full_batches_is_gradient_descent():
    model, members = fl.dense_autoencoder(8), federation((50,))
    local = fl.SGD(0.2, batch_size=None)
    run = fl.fit(model, members, rounds=7, local=local, progress=False)
    own = fl.unflatten(fl.flatten(model), model)
    x = torch.from_numpy(members["bank 1"].x_train)
    for _ in range(7):
        own.zero_grad()
        (own(x) - x).square().mean().backward()
        with torch.no_grad():
            for p in own.parameters():
                p -= 0.2 * p.grad
    torch.testing.assert_close(fl.flatten(run.model), fl.flatten(own), rtol=1e-5, atol=1e-7)


def test_same_seed_same_bits_other_seed_other_bits():
    def weights(seed):
        return fl.flatten(
            fl.fit(fl.dense_autoencoder(8), federation(), rounds=3, seed=seed, progress=False).model
        )

    assert torch.equal(weights(4), weights(4))
    assert not torch.equal(weights(4), weights(5))


def test_history_says_who_took_part_and_what_travelled():
    model, members = fl.dense_autoencoder(8), federation((20,) * 6)
    run = fl.fit(model, members, rounds=8, clients_per_round=2, progress=False, local=fl.SGD(0.5))
    size = 4 * fl.flatten(model).numel()
    for number, round_ in enumerate(run.history, start=1):
        assert round_.round == number and len(set(round_.clients)) == 2
        assert round_.bytes_up == round_.bytes_down == 2 * size
        assert round_.loss == pytest.approx(np.mean(round_.client_losses), rel=1e-6)
    assert len({r.clients for r in run.history}) > 1
    frame = run.history.to_frame()
    assert list(frame.index) == list(range(1, 9)) and (frame["clients"] == 2).all()
    assert run.history.bytes_up == [2 * size] * 8 and len(run.history.seconds) == 8
    assert run.history.bytes_down == run.history.bytes_up
    assert len(fl.fit(model, members, rounds=0, progress=False).history.to_frame()) == 0


def test_sampling_is_uniform_and_without_replacement():
    seen = np.zeros(10)
    for round_ in range(2000):
        chosen = choose_clients(10, 3, seed=0, round_=round_)
        assert len(set(chosen.tolist())) == 3
        seen[chosen] += 1
    assert np.abs(seen / 600 - 1).max() < 0.15
    assert np.array_equal(choose_clients(4, None, 0, 0), np.arange(4))


def test_training_lowers_the_loss():
    run = fl.fit(
        fl.dense_autoencoder(8), federation(), rounds=30, progress=False, local=fl.SGD(0.5)
    )
    assert run.history.loss[-1] < 0.9 * run.history.loss[0]


def test_a_resumed_run_ends_in_the_same_bits(tmp_path):
    model, members = fl.dense_autoencoder(8), federation()
    settings_ = {"local": fl.SGD(0.1, momentum=0.9), "clients_per_round": 2, "progress": False}
    whole = fl.fit(model, members, rounds=6, **settings_)
    path = tmp_path / "run" / "state.npz"
    fl.fit(model, members, rounds=2, checkpoint=path, **settings_)
    resumed = fl.fit(model, members, rounds=6, checkpoint=path, **settings_)
    assert torch.equal(fl.flatten(resumed.model), fl.flatten(whole.model))
    assert resumed.history.loss == whole.history.loss
    assert [r.clients for r in resumed.history] == [r.clients for r in whole.history]
    finished = fl.fit(model, members, rounds=6, checkpoint=path, **settings_)  # nothing to do
    assert torch.equal(fl.flatten(finished.model), fl.flatten(whole.model))
    with pytest.raises(FedlabError, match="already holds 6 rounds"):
        fl.fit(model, members, rounds=3, checkpoint=path, **settings_)


@pytest.mark.parametrize(
    "change",
    [{"seed": 1}, {"local": fl.SGD(0.2)}, {"clients_per_round": 1}, {"server": fl.ServerSGD(0.5)}],
)
def test_a_checkpoint_of_another_run_is_refused(tmp_path, change):
    path = tmp_path / "state.npz"
    fl.fit(fl.dense_autoencoder(8), federation(), rounds=1, checkpoint=path, progress=False)
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match="another model, other data or other settings"):
        fl.fit(
            fl.dense_autoencoder(8),
            federation(),
            rounds=2,
            checkpoint=path,
            progress=False,
            **change,
        )
    with pytest.raises(CheckpointError, match="other data"):
        other = federation((41, 64, 10))
        fl.fit(fl.dense_autoencoder(8), other, rounds=2, checkpoint=path, progress=False)
    assert path.read_bytes() == before  # nothing is lost


def test_damaged_and_pickled_checkpoints_are_refused(tmp_path):
    path = tmp_path / "state.npz"

    def resume():
        fl.fit(fl.dense_autoencoder(8), federation(), rounds=2, checkpoint=path, progress=False)

    resume()
    good = path.read_bytes()
    for bad in (b"", b"not an archive", good[: len(good) // 2]):
        path.write_bytes(bad)
        with pytest.raises(CheckpointError, match="cannot be read"):
            resume()
    np.savez(path, weights=np.array([{"a": 1}], dtype=object), about=np.array(json.dumps({})))
    with pytest.raises(CheckpointError, match="cannot be read"):
        resume()


@pytest.mark.parametrize("engine", ["stacked", "loop"])
def test_a_diverging_client_is_reported_by_name_and_the_last_round_is_kept(tmp_path, engine):
    members = federation()
    huge = fl.Client(
        "bank x", members["bank 1"].x_train * 1e25, *(
            getattr(members["bank 1"], part)
            for part in ("x_calibration", "x_test", "y_test", "kind_test")
        ),
    )  # fmt: skip
    mixed = fl.Federation("toy", (*members.clients, huge), members.features)
    with pytest.raises(DivergedError, match=r"round 1: the weights of bank x are not finite"):
        fl.fit(fl.dense_autoencoder(8), mixed, rounds=2, progress=False, engine=engine)
    with pytest.raises(DivergedError, match="bank x"):
        fl.fit_local(fl.dense_autoencoder(8), mixed, rounds=1)


def test_local_models_are_those_of_each_client_alone():
    model, members = fl.dense_autoencoder(8), federation()
    models = fl.fit_local(model, members, rounds=3, local=fl.SGD(0.1, epochs=2))
    assert tuple(models) == members.names
    alone = fl.fit_local(model, members.only("bank 1"), rounds=3, local=fl.SGD(0.1, epochs=2))
    assert torch.equal(fl.flatten(models["bank 1"]), fl.flatten(alone["bank 1"]))
    assert not torch.equal(fl.flatten(models["bank 1"]), fl.flatten(models["bank 2"]))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"rounds": -1}, "rounds=-1"),
        ({"clients_per_round": 4}, "has 3 clients"),
        ({"clients_per_round": 0}, "1 to 3"),
        ({"engine": "quantum"}, "stacked, loop"),
        ({"model": fl.dense_autoencoder(9)}, "takes 9 features"),
    ],
)
def test_settings_that_make_no_sense(change, message):
    call = {"model": fl.dense_autoencoder(8), "federation": federation(), "rounds": 1, **change}
    with pytest.raises(FedlabError, match=message):
        fl.fit(**call, progress=False)


@pytest.mark.parametrize(
    "change", [{"lr": 0.0}, {"lr": np.nan}, {"epochs": 0}, {"batch_size": 0}, {"momentum": 1.0}]
)
def test_solver_settings_are_checked(change):
    with pytest.raises(FedlabError, match=next(iter(change))):
        fl.SGD(**change)


def test_mean_and_server():
    updates = torch.tensor([[1.0, 0.0], [3.0, 8.0]])
    weights = torch.tensor([3.0, 1.0])
    assert fl.Mean().aggregate(updates, weights).tolist() == [1.5, 2.0]
    assert fl.Mean(weighted=False).aggregate(updates, weights).tolist() == [2.0, 4.0]
    for bad in (torch.tensor([0.0, 0.0]), torch.tensor([-1.0, 2.0])):
        with pytest.raises(FedlabError, match="weights"):
            fl.Mean().aggregate(updates, bad)
    with pytest.raises(FedlabError, match=r"\[K, P\]"):
        fl.Mean().aggregate(updates, torch.ones(3))
    moved, _ = fl.ServerSGD(0.5).step(torch.ones(2), torch.tensor([2.0, 4.0]), {})
    assert moved.tolist() == [2.0, 3.0]
    with pytest.raises(FedlabError, match="lr"):
        fl.ServerSGD(0.0)


def test_the_progress_bar_can_be_shown(capsys):
    run = fl.fit(fl.dense_autoencoder(8), federation(), rounds=1)
    assert len(run.history) == 1
