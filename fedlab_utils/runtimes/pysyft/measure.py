"""Federated evaluation and the federated threshold as PySyft jobs. Taught in chapter 04."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from fedlab_utils.detect import ScoreHistogram, federated_threshold, score_edges
from fedlab_utils.detect.metrics import ClientMetrics, mean_client, worst_client
from fedlab_utils.runtimes.pysyft.agreed import EVALUATE, HISTOGRAM, task_of
from fedlab_utils.runtimes.pysyft.federation import Absent, SyftFederation

if TYPE_CHECKING:
    import pandas as pd

    from fedlab_utils.runtimes.pysyft.pair import Release, Review


@dataclass(frozen=True)
class SyftReport:
    """What the banks measured at home: {model: each bank's metrics}, and who is missing.

    There is no pooled metric: it would need everybody's scores in one list. A bank whose test rows
    are all of one class has no AP and AUC, and is left out of mean and worst client.
    Taught in chapter 04.
    """

    metrics: dict[str, tuple[ClientMetrics, ...]]
    absent: tuple[Absent, ...]

    def table(self) -> pd.DataFrame:
        """One row per model: AP and AUC of the mean and the worst bank, and the prevalence."""
        import pandas as pd

        rows = []
        for model, banks in self.metrics.items():
            row: dict[str, object] = {"detector": model}
            for title, metric in (("AP", "ap"), ("AUC", "auc")):
                row[f"{title} mean client"] = mean_client(banks, metric)
                row[f"{title} worst client"], row[f"{title} worst name"] = worst_client(
                    banks, metric
                )
            total = sum(bank.rows for bank in banks)
            anomalies = sum(bank.anomalies for bank in banks)
            rows.append({**row, "prevalence": anomalies / total if total else float("nan")})
        return pd.DataFrame(rows).set_index("detector")

    def by_client(self) -> pd.DataFrame:
        """One row per model and bank."""
        import pandas as pd

        rows = [
            {
                "detector": model,
                "client": bank.client,
                "rows": bank.rows,
                "anomalies": bank.anomalies,
                "prevalence": bank.prevalence,
                "AP": bank.ap,
                "AUC": bank.auc,
            }
            for model, banks in self.metrics.items()
            for bank in banks
        ]
        return pd.DataFrame(rows).set_index(["detector", "client"])


@dataclass(frozen=True)
class SyftThreshold:
    """A threshold, the calibration rows behind it, and the banks that are missing."""

    value: float
    rows: int
    absent: tuple[Absent, ...]


def evaluate_pysyft(
    models: dict[str, nn.Module],
    banks: SyftFederation,
    *,
    review: Review | None = None,
    release: Release | None = None,
    timeout: float = 300.0,
) -> SyftReport:
    """Let every bank measure the models on its own test rows; only counts and metrics come back.

    Args:
        models: name -> DenseAutoencoder; all of one shape.
        review, release, timeout: as in `SyftFederation.ask`.

    Raises FedlabError for other models, and NobodyAnswered. Taught in chapter 04.
    """
    tasks = dict.fromkeys(banks.names, task_of(models))
    answers = banks.ask(EVALUATE, tasks, review=review, release=release, timeout=timeout)
    metrics = {
        model: tuple(
            ClientMetrics(
                bank, int(a["rows"]), int(a["anomalies"]), float(a["ap"][i]), float(a["auc"][i])
            )
            for bank, a in answers.arrays.items()
        )
        for i, model in enumerate(models)
    }
    return SyftReport(metrics, answers.absent)


def threshold_pysyft(
    model: nn.Module,
    banks: SyftFederation,
    alarm_rate: float,
    *,
    review: Review | None = None,
    release: Release | None = None,
    timeout: float = 300.0,
) -> SyftThreshold:
    """One threshold for all banks from histograms of calibration scores that the banks count.

    Its value is that of `federated_threshold` of the same banks' histograms; scores stay at home.
    Raises FedlabError for a model that is no DenseAutoencoder, DataError as `federated_threshold`
    and for counts that make no histogram, and NobodyAnswered. Taught in chapter 04.
    """
    tasks = dict.fromkeys(banks.names, task_of({"global": model}))
    answers = banks.ask(HISTOGRAM, tasks, review=review, release=release, timeout=timeout)
    edges = score_edges()
    histograms = [ScoreHistogram(edges, a["counts"]) for a in answers.arrays.values()]
    value = federated_threshold(histograms, alarm_rate)
    return SyftThreshold(value, sum(h.n for h in histograms), answers.absent)
