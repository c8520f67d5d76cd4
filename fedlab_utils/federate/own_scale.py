"""One model for all behind a scaler of each client's own. Taught in chapter 09.

The simplest personal part there is: two numbers per feature that stay at home, before a model that
is common. It is what a batch-norm layer at the input is with local statistics, as in FedBN (Li et
al. 2021, arXiv:2102.07623), with the statistics taken once over all training rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import nn

from fedlab_utils.data.federation import Federation
from fedlab_utils.data.standardise import Scaler, federated_scaler
from fedlab_utils.detect.scores import reconstruction_error


@dataclass(frozen=True)
class OwnScaled:
    """A detector: standardise rows by `scaler`, then take the model's reconstruction error.

    The error counts in units of the client's own deviations. Taught in chapter 09.
    """

    model: nn.Module
    scaler: Scaler

    def score(self, X: np.ndarray, /) -> np.ndarray:
        """X [n, d] in the federation's units -> [n]; higher = more anomalous."""
        return reconstruction_error(self.model, self.scaler.apply(X))


def own_scaled(
    model: nn.Module | Mapping[str, nn.Module], federation: Federation
) -> dict[str, OwnScaled]:
    """Put a model (or each client's model) behind the scaler of each client's training rows.

    Train it on `federation.standardised("own")`, and use the result with `federation` itself: it
    stands in one table with detectors that read the federation's rows as they are. Standardising
    twice does no harm, since only the last scaler counts. The unseen client, which has training
    rows as all have, gets its own scaler, too, unless `model` lacks one under its name.

    Returns {client name: detector}. Taught in chapter 09.
    """
    models = model if isinstance(model, Mapping) else dict.fromkeys(_names(federation), model)
    return {
        client.name: OwnScaled(models[client.name], federated_scaler([client.x_train]))
        for client in federation.everyone
        if client.name in models
    }


def _names(federation: Federation) -> list[str]:
    return [client.name for client in federation.everyone]
