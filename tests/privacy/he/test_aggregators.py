"""The aggregators inside `fit`: as plain FedAvg, with bytes counted."""

import numpy as np
import pytest
import torch

import fedlab_utils as fl
from fedlab_utils.errors import FedlabError
from fedlab_utils.federate.aggregators import RoundContext
from fedlab_utils.privacy.dp import DistributedDP
from fedlab_utils.privacy.he import (
    SUM_AND_SCALE,
    CKKSMean,
    FixedPoint,
    PaillierMean,
    RangeError,
    compare_costs,
)

CONTEXT = RoundContext(seed=0, round=0, clients=("a", "b", "c"), population=3)


@pytest.fixture(scope="module")
def toy():
    rng = np.random.default_rng(0)
    none = np.empty((0, 5), dtype=np.float32)
    clients = [
        fl.Client(
            n, rng.normal(size=(k, 5)).astype(np.float32), none, none, np.empty(0), none[:, 0]
        )
        for n, k in (("a", 30), ("b", 50), ("c", 7))
    ]
    return fl.Federation("toy", clients, [f"x{i}" for i in range(5)])


def aggregators(keys):
    return {
        "Paillier": (PaillierMean(keys=keys), 1e-6),
        "CKKS": (CKKSMean(), 1e-6),
        "CKKS, server scales": (CKKSMean(SUM_AND_SCALE), 1e-4),
    }


def test_fit_gives_the_model_of_plain_fedavg(paillier_keys, toy):
    model = fl.dense_autoencoder(5, hidden=4, code=2, seed=0)
    options = {"rounds": 3, "local": fl.SGD(0.1), "progress": False}
    plain = fl.fit(model, toy, **options)
    for aggregator, error in aggregators(paillier_keys).values():
        run = fl.fit(model, toy, aggregator=aggregator, **options)
        assert (fl.flatten(run.model) - fl.flatten(plain.model)).abs().max() < error
        assert min(run.history.bytes_up) > 3 * plain.history.bytes_up[0]
        assert min(run.history.bytes_down) > plain.history.bytes_down[0]


def test_unweighted_and_empty_rounds(paillier_keys):
    updates = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 0.0]])
    weights = torch.tensor([1.0, 5.0, 9.0])
    for aggregator in (PaillierMean(weighted=False, keys=paillier_keys), CKKSMean(weighted=False)):
        done = aggregator.aggregate_round(updates, weights, aggregator.start(2), CONTEXT)
        assert torch.allclose(done.update, torch.tensor([3.0, 2.0]), atol=1e-6)
        nobody = RoundContext(0, 1, (), 3)
        empty = aggregator.aggregate_round(updates[:0], weights[:0], {}, nobody)
        assert empty.update.tolist() == [0, 0] and empty.bytes_up == empty.bytes_down == 0


def test_the_key_stays_for_the_run_and_out_of_the_fingerprint(paillier_keys):
    aggregator = CKKSMean()
    assert aggregator.start(3) == {}
    keys = aggregator.keys
    aggregator.start(3)
    assert aggregator.keys is keys and "keys" not in repr(aggregator)
    assert aggregator == CKKSMean() and PaillierMean(keys=paillier_keys) == PaillierMean()
    with pytest.raises(FedlabError, match=r"the keys were made for"):
        CKKSMean(SUM_AND_SCALE, keys=keys)


def test_an_update_out_of_range_is_named(paillier_keys):
    updates = torch.tensor([[1.0], [99.0], [1.0]])
    with pytest.raises(RangeError, match=r"^b: 1 of 1 numbers"):
        PaillierMean(keys=paillier_keys).aggregate_round(updates, torch.ones(3), {}, CONTEXT)


def test_weights_must_be_whole(paillier_keys):
    for aggregator in (PaillierMean(keys=paillier_keys), CKKSMean()):
        with pytest.raises(FedlabError, match=r"a: the weight 0.5 must be a whole number"):
            aggregator.aggregate_round(torch.ones(3, 2), torch.full((3,), 0.5), {}, CONTEXT)


def test_compare_costs(paillier_keys):
    named = {"plain": fl.Mean()} | {n: a for n, (a, _) in aggregators(paillier_keys).items()}
    table = compare_costs(named, size=300, clients=3)
    assert list(table.index) == list(named)
    assert table.loc["plain", ["bytes up", "times plain"]].tolist() == [1200, 1.0]
    assert (table["times plain"] >= 1).all() and (table["largest error"] < 1e-4).all()


def test_a_key_is_made_where_none_is_given(monkeypatch, paillier_keys):
    from fedlab_utils.privacy.he import aggregators as module

    monkeypatch.setattr(module, "PaillierKeyHolder", lambda: paillier_keys)
    aggregator = PaillierMean()
    aggregator.start(3)
    assert aggregator.keys is paillier_keys


def test_a_run_goes_on_from_its_checkpoint_with_a_new_key(tmp_path, toy):
    model = fl.dense_autoencoder(5, hidden=4, code=2, seed=0)
    options = {"local": fl.SGD(0.1), "progress": False}
    path = tmp_path / "run.npz"
    fl.fit(model, toy, rounds=1, aggregator=CKKSMean(), checkpoint=path, **options)
    resumed = fl.fit(model, toy, rounds=3, aggregator=CKKSMean(), checkpoint=path, **options)
    whole = fl.fit(model, toy, rounds=3, **options)
    assert len(resumed.history) == 3
    assert (fl.flatten(resumed.model) - fl.flatten(whole.model)).abs().max() < 1e-6


def test_shares_of_one_noise_are_summed_under_the_lock(paillier_keys):
    """Noise first, then the lock: multiples of 2^-16 go in, so 16 fraction bits lose nothing."""
    inner = PaillierMean(FixedPoint(64.0, 16), weighted=False, keys=paillier_keys)
    updates, weights = torch.full((3, 4), 0.25), torch.ones(3)
    means = []
    for each in (inner, fl.Mean(weighted=False)):
        noisy = DistributedDP(clip=1.0, noise_multiplier=1.0, fewest=3, inner=each)
        means.append(noisy.aggregate_round(updates, weights, noisy.start(4), CONTEXT))
    assert torch.allclose(means[0].update, means[1].update, atol=1e-6)
    assert means[0].epsilon == means[1].epsilon and means[0].bytes_up > 3 * 500
