"""From a trained model to arrays that need no torch. Taught in chapter 14.

Why not `torch.export` or TorchScript? Both files hold pickles beside the tensors, both need torch
(hundreds of megabytes) where a row is scored, and a dense autoencoder is four products of matrices.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from fedlab_utils.data.standardise import Scaler
from fedlab_utils.detect.histogram import ScoreHistogram, federated_threshold
from fedlab_utils.detect.scores import reconstruction_error
from fedlab_utils.errors import FedlabError
from fedlab_utils.models.dense import DenseAutoencoder
from fedlab_utils.serving.bundle import Bundle, Card
from fedlab_utils.serving.drift import BIN_ROWS
from fedlab_utils.serving.scorer import Scorer


def export(
    model: nn.Module,
    scaler: Scaler,
    features: tuple[str, ...],
    histogram: ScoreHistogram,
    *,
    name: str,
    alarm_rate: float,
    bins: int = 10,
    notes: Mapping[str, str] | None = None,
) -> Bundle:
    """Put model, scaler, threshold and reference into one bundle.

    Args:
        model: a DenseAutoencoder; others have no scorer in NumPy.
        scaler: what standardised the training rows; the bundle scores raw rows.
        features: names of the raw features, in order.
        histogram: sum of the banks' histograms of calibration scores. The federated threshold and
            the reference quantiles come from it.
        name: of the detector in the registry.
        alarm_rate: share of normal rows above the threshold.
        bins: in how many about equal parts the reference divides the scores.
        notes: more for the card.

    Raises FedlabError for another kind of model, and DataError for a histogram that cannot carry
    the alarm rate. Taught in chapter 14.
    """
    if not isinstance(model, DenseAutoencoder):
        raise FedlabError(
            f"a {type(model).__name__} cannot be exported: the scorer in NumPy knows dense "
            f"autoencoders only."
        )
    edges, counts = reference(histogram, bins)
    card = Card(
        name=name,
        features=features,
        widths=model.widths,
        activation=model.activation,
        threshold=federated_threshold([histogram], alarm_rate),
        alarm_rate=alarm_rate,
        bins=len(counts),
        notes=dict(notes or {}),
    )
    arrays = {
        "mean": np.asarray(scaler.mean, np.float64),
        "std": np.asarray(scaler.std, np.float64),
        "edges": edges,
        "counts": counts,
    }
    layers = [m for m in model.modules() if isinstance(m, nn.Linear)]
    for i, layer in enumerate(layers):
        arrays[f"weight{i}"] = layer.weight.detach().numpy().astype(np.float32)
        arrays[f"bias{i}"] = layer.bias.detach().numpy().astype(np.float32)
    return Bundle(card, arrays)


def reference(histogram: ScoreHistogram, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Join a histogram's bins to about `bins` with equal counts: edges [B - 1] and counts [B].

    The counts are exact, since every new edge is an old one. Fewer bins come out where many scores
    share one of the old bins, or where there are too few for a test. Raises FedlabError if all
    scores share one bin.
    """
    below = np.cumsum(histogram.counts)[:-1]  # scores at or below each old edge
    _, first = np.unique(below, return_index=True)
    usable = first[(below[first] > 0) & (below[first] < histogram.n)]
    if not len(usable):
        raise FedlabError(f"all {histogram.n} calibration scores are in one bin; use finer edges.")
    bins = max(2, min(bins, histogram.n // BIN_ROWS))
    wanted = histogram.n * np.arange(1, bins) / bins
    chosen = np.unique(usable[np.abs(below[usable][:, None] - wanted).argmin(axis=0)])
    counts = np.diff(below[chosen], prepend=0, append=histogram.n)
    return histogram.edges[chosen], counts.astype(np.int64)


def to_model(bundle: Bundle) -> DenseAutoencoder:
    """The autoencoder of a bundle, to train it further or to evaluate it on standardised rows."""
    model = DenseAutoencoder(bundle.card.widths, bundle.card.activation)
    layers = [m for m in model.modules() if isinstance(m, nn.Linear)]
    with torch.no_grad():
        for i, layer in enumerate(layers):
            layer.weight.copy_(torch.from_numpy(bundle.arrays[f"weight{i}"]))
            layer.bias.copy_(torch.from_numpy(bundle.arrays[f"bias{i}"]))
    return model


def largest_difference(bundle: Bundle, model: nn.Module, rows: np.ndarray) -> float:
    """Largest relative difference between the exported and the original scores of raw rows."""
    scaler = Scaler(bundle.arrays["mean"], bundle.arrays["std"])
    original = reconstruction_error(model, scaler.apply(rows))
    exported = Scorer(bundle).score(rows)
    return float((np.abs(exported - original) / np.maximum(np.abs(original), 1e-12)).max())
