"""Autoencoders, their weights as flat vectors, and stacked execution for many clients."""

from fedlab_utils.models.dense import DenseAutoencoder, dense_autoencoder
from fedlab_utils.models.flat import flatten, unflatten
from fedlab_utils.models.stacked import StackedModel, StackedModule
from fedlab_utils.models.stacked_dense import StackedDense

__all__ = [
    "DenseAutoencoder",
    "StackedDense",
    "StackedModel",
    "StackedModule",
    "dense_autoencoder",
    "flatten",
    "unflatten",
]
