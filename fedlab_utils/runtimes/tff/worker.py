"""What `fit_tff` runs in the environment of TensorFlow Federated. Taught in chapter 05.

That Python has TensorFlow Federated and numpy, not this package.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff


def split(vector: np.ndarray, widths: Sequence[int]) -> list[np.ndarray]:
    """Flat weights [P] as Keras keeps them: for each layer the weight [in, out], then the bias.

    Flat, a layer's weight is [out, in], row by row, as torch keeps it.
    """
    parts, at = [], 0
    for n_in, n_out in pairwise(widths):
        weight = vector[at : at + n_in * n_out].reshape(n_out, n_in)
        at += n_in * n_out
        parts += [np.ascontiguousarray(weight.T), vector[at : at + n_out]]
        at += n_out
    return parts


def join(parts: Sequence[np.ndarray]) -> np.ndarray:
    """The inverse of `split`."""
    return np.concatenate([np.asarray(part).T.reshape(-1) for part in parts])


def autoencoder(widths: Sequence[int], activation: str) -> tf.keras.Model:
    """The dense autoencoder in Keras: the code and the output are linear."""
    last = len(widths) - 2
    layers: list = [tf.keras.layers.InputLayer(input_shape=(widths[0],))]
    for i, width in enumerate(widths[1:]):
        linear = i in (last, last // 2)
        layers.append(tf.keras.layers.Dense(width, activation=None if linear else activation))
    return tf.keras.Sequential(layers)


class Job:
    """One training: the learning process, its state, and the clients' rows.

    Args:
        rows: each client's training rows [n, d].
        start: [P] weights before the first round.
        widths: of the layers, for example (20, 10, 5, 10, 20).
        activation: "tanh" or "relu".
        lr, momentum: of the clients' SGD.
        server_lr: of the server's.
        weighted: whether clients count by their rows.
    """

    def __init__(
        self,
        rows: list[np.ndarray],
        start: np.ndarray,
        widths: list[int],
        activation: str,
        lr: float,
        momentum: float,
        server_lr: float,
        weighted: bool,
    ) -> None:
        self.rows = rows
        spec = tf.TensorSpec([None, widths[0]], tf.float32)

        def model_fn():  # type: ignore[no-untyped-def]
            return tff.learning.models.from_keras_model(
                autoencoder(widths, activation),
                loss=tf.keras.losses.MeanSquaredError(),
                input_spec=(spec, spec),
            )

        algorithms, optimizers = tff.learning.algorithms, tff.learning.optimizers
        build = (
            algorithms.build_weighted_fed_avg if weighted else algorithms.build_unweighted_fed_avg
        )
        self.process = build(
            model_fn,
            client_optimizer_fn=optimizers.build_sgdm(lr, momentum),
            server_optimizer_fn=optimizers.build_sgdm(server_lr),
        )
        # Weights set inside model_fn would be lost: they are set in the state.
        weights = tff.learning.models.ModelWeights(tuple(split(start, widths)), ())
        self.state = self.process.set_model_weights(self.process.initialize(), weights)

    def round(self, clients: list[int], orders: list, batch_size: int | None) -> dict:
        """Play one round; returns the weights [P] after it, the mean training loss, and the rows
        that counted. TensorFlow Federated leaves out clients whose update is not finite.

        `orders` gives for each of the clients its row numbers, epoch by epoch.
        """
        data = [
            self.dataset(k, order, batch_size) for k, order in zip(clients, orders, strict=True)
        ]
        output = self.process.next(self.state, data)
        self.state = output.state
        train = output.metrics["client_work"]["train"]
        return {
            "weights": join(self.process.get_model_weights(self.state).trainable),
            "loss": float(train["loss"]),
            "rows": int(train["num_examples"]),
        }

    def dataset(self, client: int, order: np.ndarray, batch_size: int | None) -> tf.data.Dataset:
        """One client's batches of a round. An epoch's last batch may be smaller, as in torch."""
        whole = None
        for epoch in order:
            rows = self.rows[client][epoch]
            part = tf.data.Dataset.from_tensor_slices((rows, rows)).batch(batch_size or len(rows))
            whole = part if whole is None else whole.concatenate(part)
        return whole
