"""TensorFlow Federated 0.87: build_unweighted_fed_avg on its local C++ execution stack."""

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff
from worker import Job


def rounds(job: Job):  # type: ignore[no-untyped-def]
    """Return the function that plays a round."""
    features = job.widths[0]

    def model_fn():  # type: ignore[no-untyped-def]
        layers: list = [tf.keras.layers.InputLayer(input_shape=(features,))]
        for i, width in enumerate(job.widths[1:]):
            activation = "tanh" if job.activated(i) else None
            layers.append(tf.keras.layers.Dense(width, activation=activation))
        row = tf.TensorSpec([None, features], tf.float32)
        return tff.learning.models.from_keras_model(
            tf.keras.Sequential(layers),
            loss=tf.keras.losses.MeanSquaredError(),
            input_spec=(row, row),
        )

    process = tff.learning.algorithms.build_unweighted_fed_avg(
        model_fn,
        client_optimizer_fn=tff.learning.optimizers.build_sgdm(job.lr),
        server_optimizer_fn=tff.learning.optimizers.build_sgdm(1.0),
    )
    # Keras keeps a weight as [in, out], torch as [out, in].
    start = [part for weight, bias in job.split(job.start) for part in (weight.T.copy(), bias)]
    state = process.set_model_weights(
        process.initialize(), tff.learning.models.ModelWeights(tuple(start), ())
    )
    data = []
    for batches in job.batches:
        rows = batches.reshape(-1, features)
        data.append(tf.data.Dataset.from_tensor_slices((rows, rows)).batch(batches.shape[1]))

    def play_round() -> np.ndarray:
        after = process.next(state, data).state
        parts = process.get_model_weights(after).trainable
        return np.concatenate([np.asarray(part).T.reshape(-1) for part in parts])

    return play_round
