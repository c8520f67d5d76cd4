"""A small detector, exported, with the rows it was made for."""

import numpy as np
import pytest

import fedlab_utils as fl
from fedlab_utils.data.standardise import federated_scaler
from fedlab_utils.detect import ScoreHistogram
from fedlab_utils.serving import export

FEATURES = ("amount", "hour", "count", "age")


class Made:
    """What the tests share: the model, its bundle and raw rows [n, 4] of one distribution."""

    def __init__(self, activation="tanh"):
        self.rng = np.random.default_rng(0)
        self.rows = self.draw(3000)
        self.scaler = federated_scaler([self.rows])
        self.model = fl.dense_autoencoder(4, hidden=6, code=2, activation=activation)
        scores = fl.reconstruction_error(self.model, self.scaler.apply(self.draw(4000)))
        self.histogram = ScoreHistogram.of(scores)
        self.bundle = export(
            self.model, self.scaler, FEATURES, self.histogram, name="toy", alarm_rate=0.01
        )

    def draw(self, n):
        return self.rng.normal(size=(n, 4)) * [3.0, 1.0, 0.1, 20.0] + [50.0, 12.0, 0.0, 40.0]


@pytest.fixture(scope="session")
def made():
    return Made()
