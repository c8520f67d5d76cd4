"""Autoencoders, their weights as flat vectors, and stacked execution for many clients."""

from fedlab_utils.models.dense import DenseAutoencoder, dense_autoencoder
from fedlab_utils.models.flat import flatten, unflatten
from fedlab_utils.models.image import ConvAutoencoder, conv_autoencoder
from fedlab_utils.models.sequence import (
    LSTM,
    LSTMAutoencoder,
    LSTMPredictor,
    SelfAttention,
    TransformerAutoencoder,
    lstm_autoencoder,
    lstm_predictor,
    transformer_autoencoder,
)
from fedlab_utils.models.stacked import StackedModel, StackedModule
from fedlab_utils.models.stacked_dense import StackedDense

__all__ = [
    "LSTM",
    "ConvAutoencoder",
    "DenseAutoencoder",
    "LSTMAutoencoder",
    "LSTMPredictor",
    "SelfAttention",
    "StackedDense",
    "StackedModel",
    "StackedModule",
    "TransformerAutoencoder",
    "conv_autoencoder",
    "dense_autoencoder",
    "flatten",
    "lstm_autoencoder",
    "lstm_predictor",
    "transformer_autoencoder",
    "unflatten",
]
