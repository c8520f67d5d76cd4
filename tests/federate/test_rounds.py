"""What `fit` offers to aggregators with a memory and to clients that decide for themselves."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

import fedlab_utils as fl
from fedlab_utils.errors import FedlabError
from fedlab_utils.federate import Aggregated, RoundAggregator, RoundContext, choose_clients
from tests.federate.toy import federation

SIZES = tuple(range(20, 26))


@dataclass(frozen=True)
class Momentum:
    """Half of the last update lives on; needs memory, and counts its own bytes."""

    def start(self, size):
        return {"last": torch.zeros(size)}

    def aggregate_round(self, updates, weights, state, context):
        assert len(context.clients) == len(updates) and context.population == 6
        update = updates.sum(0) / 6 + 0.5 * state["last"]
        return Aggregated(update, {"last": update}, 7, 3, epsilon=0.5 * (context.round + 1))


SETTINGS = {"local": fl.SGD(0.1), "aggregator": Momentum(), "progress": False}


def test_an_aggregator_keeps_its_memory_between_rounds_and_over_a_checkpoint(tmp_path):
    assert isinstance(Momentum(), RoundAggregator) and not isinstance(fl.Mean(), RoundAggregator)
    model, members = fl.dense_autoencoder(8), federation(SIZES)
    whole = fl.fit(model, members, rounds=4, **SETTINGS)
    path = tmp_path / "state.npz"
    fl.fit(model, members, rounds=2, checkpoint=path, **SETTINGS)
    resumed = fl.fit(model, members, rounds=4, checkpoint=path, **SETTINGS)
    assert torch.equal(fl.flatten(whole.model), fl.flatten(resumed.model))
    without = fl.fit(
        model, members, rounds=4, local=fl.SGD(0.1), aggregator=fl.Mean(False), progress=False
    )
    assert not torch.allclose(fl.flatten(whole.model), fl.flatten(without.model))
    for history in (whole.history, resumed.history):
        assert history.bytes_up == [7] * 4 and history.bytes_down == [3] * 4
        assert history.epsilon == [0.5, 1.0, 1.5, 2.0]
    assert list(whole.history.to_frame()["epsilon"]) == [0.5, 1.0, 1.5, 2.0]
    assert "epsilon" not in without.history.to_frame()


def test_poisson_sampling_lets_each_client_decide_alone():
    rate, rounds = 0.3, 4000
    chosen = np.zeros((rounds, 10))
    for r in range(rounds):
        chosen[r, choose_clients(10, fl.Poisson(rate), seed=0, round_=r)] = 1
    assert np.abs(chosen.mean(0) - rate).max() < 0.04  # 5 standard errors
    assert chosen.sum(1).var() == pytest.approx(10 * rate * (1 - rate), rel=0.15)
    assert np.abs(np.corrcoef(chosen.T) - np.eye(10)).max() < 0.08
    with pytest.raises(FedlabError, match="rate=0"):
        fl.Poisson(0)
    with pytest.raises(FedlabError, match=r"rate=1\.2"):
        fl.Poisson(1.2)


@pytest.mark.parametrize("engine", ["stacked", "loop"])
def test_a_round_in_which_nobody_takes_part_changes_nothing(engine):
    model, members = fl.dense_autoencoder(8), federation(SIZES)
    run = fl.fit(
        model, members, rounds=8, clients_per_round=fl.Poisson(0.05), engine=engine, progress=False
    )
    empty = [r for r in run.history if not r.clients]
    assert empty and all(np.isnan(r.loss) and r.bytes_up == 0 for r in empty)
    assert bool(fl.flatten(run.model).isfinite().all())
    nobody = fl.federate.aggregators.aggregate(
        fl.Mean(), torch.zeros(0, 4), torch.zeros(0), {}, RoundContext(0, 0, (), 6)
    )
    assert torch.equal(nobody.update, torch.zeros(4))
