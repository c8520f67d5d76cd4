"""Many small federations at once are what `fit` makes of each."""

import numpy as np
import pytest
import torch

import fedlab_utils as fl
from fedlab_utils.attacks import federated_trainer, membership_inference, one_client_each
from fedlab_utils.errors import FedlabError
from fedlab_utils.federate import CoordinateMedian, compress

PARTS = [np.random.default_rng(i).normal(size=(23, 6)).astype(np.float32) for i in range(4)]
MODEL = fl.dense_autoencoder(6, seed=0)
WHOLE = fl.SGD(lr=0.1, epochs=3, batch_size=None)  # full batches: the order of rows is no matter


@pytest.mark.parametrize(
    "aggregator",
    [None, CoordinateMedian(), compress.Compressed(compress.TopK(0.2))],
    ids=["mean", "median", "with a memory"],
)
def test_it_is_fit_for_every_part(aggregator):
    train_many = federated_trainer(MODEL, clients=4, rounds=3, local=WHOLE, aggregator=aggregator)
    for part, model in zip(PARTS, train_many(PARTS, 5), strict=True):
        federation = one_client_each(np.array_split(part, 4))
        options = {"rounds": 3, "local": WHOLE, "seed": 5, "progress": False}
        wanted = fl.fit(MODEL, federation, aggregator=aggregator, **options).model
        torch.testing.assert_close(fl.flatten(model), fl.flatten(wanted), rtol=1e-4, atol=1e-6)


def test_one_client_is_training_in_one_place():
    models = federated_trainer(MODEL, clients=1, rounds=2, local=WHOLE)(PARTS, 0)
    wanted = fl.fit_local(MODEL, one_client_each(PARTS), rounds=2, local=WHOLE)
    for model, other in zip(models, wanted.values(), strict=True):
        torch.testing.assert_close(fl.flatten(model), fl.flatten(other), rtol=1e-4, atol=1e-6)


def test_membership_is_harder_after_averaging():
    pool = np.random.default_rng(0).normal(size=(60, 6)).astype(np.float32)
    local = fl.SGD(lr=0.1, epochs=100, batch_size=8, momentum=0.9)
    found = {
        clients: membership_inference(
            federated_trainer(MODEL, clients=clients, rounds=1, local=local),
            pool,
            members=20,
            shadows=12,
        )
        for clients in (1, 5)
    }
    auc = {c: report.attacks["LiRA online"].auc.mean() for c, report in found.items()}
    assert auc[1] > auc[5] + 0.05 and auc[1] > 0.7


def test_parts_that_are_too_small_are_refused():
    with pytest.raises(FedlabError, match="fewer rows than 24 clients"):
        federated_trainer(MODEL, clients=24)(PARTS, 0)
