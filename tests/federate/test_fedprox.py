"""FedProx against autograd, in both engines and in its limits."""

import numpy as np
import pytest
import torch

import fedlab_utils as fl
from fedlab_utils.errors import FedlabError
from fedlab_utils.federate import RowStore, batch_order, train_stacked
from fedlab_utils.federate.fedprox import FedProx
from tests.federate.toy import RAGGED, compare_engines, federation, rows


def test_the_update_is_that_of_autograd_on_the_loss_with_the_pull():
    local = FedProx(lr=0.2, epochs=3, batch_size=16, momentum=0.5, mu=0.7)
    model, (x,) = fl.dense_autoencoder(8), rows((50,))
    start = fl.flatten(model)
    store = RowStore([x], model)
    (update,), _ = local.train("stacked", model, start, store, np.array([0]), 3, 1)
    own = fl.unflatten(start, model)
    optimiser = torch.optim.SGD(own.parameters(), lr=0.2, momentum=0.5)
    for epoch in range(3):
        (order,) = batch_order(3, 1, np.array([0]), np.array([epoch]), 50, np.array([50]))
        for batch in torch.from_numpy(order).split(16):
            here = torch.from_numpy(x)[batch]
            optimiser.zero_grad()
            w = torch.cat([p.reshape(-1) for p in own.parameters()])
            loss = (own(here) - here).square().mean() + 0.7 / 2 * (w - start).square().sum()
            loss.backward()
            optimiser.step()
    torch.testing.assert_close(update, fl.flatten(own) - start, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("model", ["dense", "module"])
@pytest.mark.parametrize("own_starts", [False, True])
def test_stacked_equals_the_loop(model, own_starts):
    compare_engines(
        FedProx(lr=0.1, epochs=2, batch_size=7, momentum=0.9, mu=0.5), model, own_starts
    )


def test_bits_do_not_depend_on_the_chunk_or_the_company():
    model, local = fl.dense_autoencoder(8), FedProx(lr=0.1, epochs=2, momentum=0.9, mu=0.5)
    store, everyone = RowStore(rows(RAGGED * 3), model), np.arange(3 * len(RAGGED))
    torch.manual_seed(0)
    starts = fl.flatten(model) + 0.01 * torch.randn(len(everyone), 1)
    where = {"anchor": fl.flatten(model)}
    reference, _ = train_stacked(model, starts, store, everyone, local, 3, 1, beside=where)
    for chunk in (1, 3, 7):
        again, _ = train_stacked(model, starts, store, everyone, local, 3, 1, chunk, where)
        assert torch.equal(again, reference)
    few = np.array([7, 2, 20])
    again, _ = train_stacked(model, starts[few], store, few, local, 3, 1, beside=where)
    assert torch.equal(again, reference[few])


def test_without_pull_it_is_fedavg_to_the_bit():
    model, members = fl.dense_autoencoder(8), federation()
    settings = {"lr": 0.1, "epochs": 2, "momentum": 0.9}
    for engine in ("stacked", "loop"):
        runs = [
            fl.fit(model, members, rounds=3, local=local, engine=engine, progress=False)
            for local in (fl.SGD(**settings), FedProx(**settings, mu=0))
        ]
        assert torch.equal(*[fl.flatten(run.model) for run in runs])
        assert runs[0].history.loss == runs[1].history.loss


def test_a_stronger_pull_keeps_clients_nearer():
    model, members = fl.dense_autoencoder(8), federation()
    store = RowStore([c.x_train for c in members], model)
    lengths = []
    for mu in (0, 0.1, 1, 9.99):
        local = FedProx(lr=0.1, epochs=20, mu=mu)
        updates, _ = local.train("stacked", model, fl.flatten(model), store, np.arange(3), 0, 0)
        lengths.append(float(updates.norm(dim=1).max()))
    assert sorted(lengths, reverse=True) == lengths and lengths[-1] < 0.1 * lengths[0]


@pytest.mark.parametrize("mu", [-1, np.nan, 10])
def test_settings_that_make_no_sense_are_refused(mu):
    with pytest.raises(FedlabError, match="mu"):
        FedProx(lr=0.1, mu=mu)
