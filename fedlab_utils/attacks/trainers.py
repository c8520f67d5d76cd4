"""Training procedures to attack, and a setting in which the attack succeeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import nn

from fedlab_utils.attacks.membership import TrainMany
from fedlab_utils.data.federation import Client, Federation
from fedlab_utils.data.registry import load
from fedlab_utils.errors import FedlabError
from fedlab_utils.federate.fit import fit_local
from fedlab_utils.federate.solvers import SGD
from fedlab_utils.models.dense import DenseAutoencoder, dense_autoencoder


def one_client_each(parts: Sequence[np.ndarray]) -> Federation:
    """A federation in which client i holds the rows parts[i] [n_i, d] and nothing else.

    It lets `fit_local` train one model per part, all at once. Taught in chapters 06-08.
    """
    none = np.empty((0, *parts[0].shape[1:]), dtype=np.float32)
    clients = [
        Client(f"part {i}", rows, none, none, np.empty(0, bool), np.empty(0, str))
        for i, rows in enumerate(parts)
    ]
    features = [f"x{i}" for i in range(parts[0].shape[-1])]
    return Federation("parts", tuple(clients), tuple(features))


def local_trainer(model: nn.Module, *, rounds: int = 1, local: SGD | None = None) -> TrainMany:
    """A `train_many` that trains `model` on each part by itself, all parts stacked.

    Args:
        model: the start of every training, known to the attacker.
        rounds, local: as in `fit_local`; the budget is rounds x local.epochs passes.

    Taught in chapters 06-08.
    """

    def train_many(parts: Sequence[np.ndarray], seed: int) -> list[nn.Module]:
        federation = one_client_each(parts)
        return list(fit_local(model, federation, rounds=rounds, local=local, seed=seed).values())

    return train_many


@dataclass(frozen=True)
class Setting:
    """What `membership_inference` needs; see `demo_setting`.

    Attributes:
        pool: [N, d] standardised rows.
        members: rows in each training set.
        model: the start of every training.
        local: the solver that overfits.
    """

    pool: np.ndarray
    members: int
    model: DenseAutoencoder
    local: SGD

    @property
    def train_many(self) -> TrainMany:
        """The training procedure without a defence."""
        return local_trainer(self.model, local=self.local)


def demo_setting(
    name: str = "payments", *, rows: int = 400, members: int = 100, epochs: int = 100
) -> Setting:
    """A setting in which membership inference clearly succeeds: few rows and many epochs.

        demo = demo_setting()
        report = membership_inference(demo.train_many, demo.pool, members=demo.members)

    The model is the course's default; nothing in it invites the attack. With fewer epochs the
    attack gets weaker, with more it is nearly perfect.

    Args:
        name: a data set; its clients' training rows, all normal, are pooled.
        rows: size of the pool N, at most as many as there are.
        members: rows in each training set.
        epochs: passes over them.

    Raises FedlabError if the data set has not more than `members` rows. Taught in chapters 06-08.
    """
    pooled = load(name, seed=0).pooled().x_train
    order = np.random.default_rng([0, 0xDE30]).permutation(len(pooled))
    pool = pooled[order[:rows]]
    if len(pool) <= members:
        raise FedlabError(
            f"demo_setting: {name!r} has {len(pool)} rows; members={members} leaves nobody out."
        )
    local = SGD(lr=0.1, epochs=epochs, batch_size=16, momentum=0.9)
    return Setting(pool, members, dense_autoencoder(pool.shape[1]), local)
