"""How well a backdoor works, and whether anybody would notice. Taught in chapter 13."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fedlab_utils.attacks.backdoor import Fraud
from fedlab_utils.data.federation import Federation
from fedlab_utils.detect.histogram import ScoreHistogram, federated_threshold, score_edges
from fedlab_utils.detect.metrics import average_precision
from fedlab_utils.detect.scores import as_detector, scores_of
from fedlab_utils.errors import FedlabError

if TYPE_CHECKING:
    import pandas as pd

_FRAUD = 0xF4A0D


@dataclass(frozen=True)
class BackdoorSuccess:
    """One detector against one pattern of fraud.

    Attributes:
        missed: share of the attacker's fraud at or below the threshold: the attack's success. With
            a detector that nobody has attacked it is the share that would be missed anyway.
        ap_fraud: AP of the attacker's fraud among normal rows; chance is `prevalence`.
        ap_other: AP of all other anomalies among normal rows; if it stays, nobody notices.
        alarm_rate: share of normal test rows above the threshold.
        prevalence: share of the attacker's fraud among the rows of `ap_fraud`.
        prevalence_other: share of anomalies among the rows of `ap_other`.
    """

    missed: float
    ap_fraud: float
    ap_other: float
    alarm_rate: float
    prevalence: float
    prevalence_other: float


def backdoor_success(
    detector: Any,
    federation: Federation,
    pattern: Fraud,
    *,
    attackers: Iterable[str] = (),
    alarm_rate: float = 0.01,
    rows: int = 300,
    seed: int = 0,
) -> BackdoorSuccess:
    """Commit fraud of this pattern at the honest clients, and see how much is caught.

    A few normal test rows of the honest clients get the pattern; the others are the normal rows.
    The threshold is the federated one, from the honest clients' calibration rows: that attackers
    could lie in their histograms as well is another attack, and left out here.

    Args:
        detector: an autoencoder or a Detector.
        federation: the clients (poisoned or not: only test and calibration rows are used).
        attackers: names of the clients that are left out.
        alarm_rate: of the threshold.
        rows: how many test rows get the pattern, at most half of the normal ones.
        seed: fixes which.

    Raises FedlabError if no honest client or fewer than two normal rows are left.
    Taught in chapter 13.
    """
    judge = as_detector(detector)
    bad = set(attackers)
    honest = [client for client in federation.clients if client.name not in bad]
    if not honest or sum(int((~c.y_test).sum()) for c in honest) < 2:
        raise FedlabError("backdoor_success: no honest client with two normal test rows is left.")
    edges = score_edges(high=1e15)  # a model that attackers have wrecked errs by any amount
    scores = [scores_of(judge, c.x_calibration, c.name) for c in honest]
    threshold = federated_threshold([ScoreHistogram.of(s, edges) for s in scores], alarm_rate)
    normal = np.concatenate([c.x_test[~c.y_test] for c in honest])
    other = np.concatenate([c.x_test[c.y_test] for c in honest])
    rng = np.random.default_rng([seed, _FRAUD])
    order = rng.permutation(len(normal))
    count = min(rows, len(normal) // 2)
    fraud = pattern.stamp(normal[order[:count]], federation.features, rng)
    rest = judge.score(normal[order[count:]])
    on_fraud, on_other = judge.score(fraud), judge.score(other) if len(other) else np.empty(0)
    return BackdoorSuccess(
        missed=float((on_fraud <= threshold).mean()),
        ap_fraud=_ap(on_fraud, rest),
        ap_other=_ap(on_other, rest),
        alarm_rate=float((rest > threshold).mean()),
        prevalence=count / (count + len(rest)),
        prevalence_other=len(other) / (len(other) + len(rest)),
    )


def _ap(anomalies: np.ndarray, normal: np.ndarray) -> float:
    labels = np.concatenate([np.ones(len(anomalies), bool), np.zeros(len(normal), bool)])
    return average_precision(labels, np.concatenate([anomalies, normal]))


def success_table(found: Mapping[str, BackdoorSuccess]) -> pd.DataFrame:
    """One row per detector: `missed`, `ap_fraud`, `ap_other`, `alarm_rate`, and the prevalences.

    Taught in chapter 13.
    """
    import pandas as pd

    return pd.DataFrame.from_dict({n: asdict(s) for n, s in found.items()}, orient="index")


def summarise_success(found: Iterable[tuple[str, str, BackdoorSuccess]]) -> pd.DataFrame:
    """Mean and standard deviation (n - 1) over seeds, of (attack, aggregator, success) triples.

    Rows are (attack, aggregator) in the order of first appearance, columns (measure, "mean" |
    "std"). Taught in chapter 13.
    """
    import pandas as pd

    frame = pd.DataFrame([{"attack": a, "aggregator": g, **asdict(s)} for a, g, s in found])
    return frame.groupby(["attack", "aggregator"], sort=False).agg(["mean", "std"])
