"""Measure detectors on a federation's test rows, with the floors beside them.

Taught in chapters 01 and 02.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from fedlab_utils.detect.floors import RowNorm, UntrainedAutoencoder, isolation_forest
from fedlab_utils.detect.metrics import ClientMetrics, by_kind
from fedlab_utils.detect.report import Report, Result
from fedlab_utils.detect.scores import AutoencoderDetector, Detector, as_detector, scores_of
from fedlab_utils.errors import DataError

if TYPE_CHECKING:
    from fedlab_utils.data.federation import Client, Federation

UNTRAINED = "untrained autoencoder"
NORM = "row norm"
FOREST = "isolation forest (central)"


def evaluate(
    model_or_detectors: Any, federation: Federation, *, baselines: bool = True, seed: int = 0
) -> Report:
    """Score every client's test rows and report AP and AUC of each detector.

    `model_or_detectors` is an autoencoder, a `Detector`, a dict name -> one of these, or a dict
    name -> (dict client name -> model) for local models. Of local models, each client's rows are
    scored by its own. The unseen client is scored by its own too, if the dict has a model under
    its name (fine-tuned by the newcomer, say); otherwise it gets the mean of the AP (and AUC)
    that the local models reach on it.

    With `baselines` three rows are added: "untrained autoencoder" (the first autoencoder given,
    redrawn from `seed`) and "row norm" (moments of all clients' training rows) are the floor,
    what is found without learning; "isolation forest (central)" is fitted on all clients'
    training rows in one place. Raises DataError, naming detector and client, for rows or scores
    that are not finite, for names used twice, and for local models that do not match the clients.
    Taught in chapters 01 and 02.
    """
    chosen = _named(model_or_detectors, federation)
    if baselines:
        floors = _baselines(chosen, federation, seed)
        if taken := [name for name in chosen if name in floors]:
            raise DataError(f"the name {taken[0]!r} belongs to a baseline; choose another")
        chosen = {**chosen, **floors}
    return Report(
        federation=federation.name,
        seed=seed,
        results=tuple(_measure(name, entry, federation) for name, entry in chosen.items()),
    )


Entry = Detector | dict[str, Detector]  # one detector for all, or one for each client


def _named(given: Any, federation: Federation) -> dict[str, Entry]:
    if not isinstance(given, Mapping):
        return {"model": as_detector(given)}
    if not given:
        raise DataError("there is no detector: the dict is empty")
    members = [client.name for client in federation.clients]
    everyone = [client.name for client in federation.everyone]
    if set(given) == set(members) and len(members) > 1:
        raise DataError(
            'these look like local models, one for each client; give them a name: {"local": models}'
        )
    chosen: dict[str, Entry] = {}
    for name, entry in given.items():
        if not isinstance(entry, Mapping):
            chosen[str(name)] = as_detector(entry)
            continue
        missing = [member for member in members if member not in entry]
        unknown = [str(key) for key in entry if key not in everyone]
        if missing or unknown:
            problem = f"none for {missing[0]!r}" if missing else f"no client {unknown[0]!r}"
            raise DataError(f"{name}: local models must match the clients: {problem}")
        chosen[str(name)] = {who: as_detector(entry[who]) for who in everyone if who in entry}
    return chosen


def _baselines(
    chosen: Mapping[str, Entry], federation: Federation, seed: int
) -> dict[str, Detector]:
    pooled = np.concatenate([client.x_train for client in federation.clients])
    floors: dict[str, Detector] = {}
    model = _first_model(chosen)
    if model is not None:
        floors[UNTRAINED] = UntrainedAutoencoder(model, seed)
    floors[NORM] = RowNorm.fit(pooled)
    floors[FOREST] = isolation_forest(pooled, seed)
    return floors


def _first_model(chosen: Mapping[str, Entry]) -> nn.Module | None:
    for entry in chosen.values():
        for detector in entry.values() if isinstance(entry, dict) else (entry,):
            if isinstance(detector, AutoencoderDetector):
                return detector.model
    return None


def _measure(name: str, entry: Entry, federation: Federation) -> Result:
    members = federation.clients
    scores = [
        _scores(entry[client.name] if isinstance(entry, dict) else entry, client, name)
        for client in members
    ]
    y = np.concatenate([client.y_test for client in members])
    kind = np.concatenate([client.kind_test for client in members])
    together = np.concatenate(scores)
    return Result(
        detector=name,
        local=isinstance(entry, dict),
        pooled=ClientMetrics.of("all", y, together),
        clients=tuple(
            ClientMetrics.of(client.name, client.y_test, own)
            for client, own in zip(members, scores, strict=True)
        ),
        unseen=_unseen(name, entry, federation.unseen),
        kinds=tuple(by_kind(y, kind, together).values()),
    )


def _unseen(name: str, entry: Entry, client: Client | None) -> ClientMetrics | None:
    if client is None:
        return None
    if isinstance(entry, dict):
        detectors = [entry[client.name]] if client.name in entry else list(entry.values())
    else:
        detectors = [entry]
    each = [
        ClientMetrics.of(client.name, client.y_test, _scores(detector, client, name))
        for detector in detectors
    ]
    return ClientMetrics(
        client=client.name,
        rows=each[0].rows,
        anomalies=each[0].anomalies,
        ap=float(np.mean([metrics.ap for metrics in each])),
        auc=float(np.mean([metrics.auc for metrics in each])),
    )


def _scores(detector: Detector, client: Client, name: str) -> np.ndarray:
    try:
        return scores_of(detector, client.x_test, name)
    except DataError as error:
        raise DataError(f"{name} on the test rows of client {client.name!r}: {error}") from error
