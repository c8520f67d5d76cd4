"""The whole way: split, encode, train, test, thresholds. Taught in chapter 16."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from fedlab_utils.data.federation import Federation
from fedlab_utils.detect.alarms import threshold_report
from fedlab_utils.detect.evaluation import FOREST, NORM, UNTRAINED, evaluate
from fedlab_utils.detect.floors import RowNorm, UntrainedAutoencoder, isolation_forest
from fedlab_utils.detect.forest_common import add_counts
from fedlab_utils.detect.histogram import ScoreHistogram, federated_threshold, score_edges
from fedlab_utils.detect.report import Report, format_summary, summarise
from fedlab_utils.detect.scores import reconstruction_error
from fedlab_utils.federate.aggregators import Aggregator, Mean, RoundAggregator
from fedlab_utils.federate.fit import Run, fit, fit_local
from fedlab_utils.models.dense import dense_autoencoder
from fedlab_utils.pipeline.preparing import Prepared, prepare
from fedlab_utils.pipeline.settings import Settings
from fedlab_utils.pipeline.table import OwnTable

if TYPE_CHECKING:
    import pandas as pd

    from fedlab_utils.privacy.dp.statement import Guarantee

FEDERATED, LOCAL, CENTRAL = "federated", "local", "central"
# Scores of odd data can be anything; wide bins cost the histogram nothing but zeros.
EDGES = score_edges(low=1e-9, high=1e15)


@dataclass(frozen=True, eq=False)
class Outcome:
    """What `run_pipeline` found. The first seed's models and scores are kept, as the ones to use.

    Attributes:
        table, settings: what went in.
        prepared: the first seed's federation and what was told to make it.
        run: the first seed's federated model and its history.
        local: client -> the model that it trained alone, of the first seed.
        reports: one for each seed; empty without labels.
        thresholds: the federated model's, one row per client; see `threshold_report`.
        threshold: the federated one.
        floors: name -> detector, of the first seed: floors and the isolation forest.
        guarantee: the statement of the training's differential privacy, if there is one.
    """

    table: OwnTable
    settings: Settings
    prepared: Prepared
    run: Run
    local: Mapping[str, nn.Module]
    reports: tuple[Report, ...]
    thresholds: pd.DataFrame
    threshold: float
    floors: Mapping[str, Any]
    guarantee: Guarantee | None

    def summary(self) -> pd.DataFrame | None:
        """AP and AUC of every detector, mean ± deviation over the seeds; None without labels."""
        return format_summary(summarise(self.reports)) if self.reports else None

    def by_client(self) -> pd.DataFrame | None:
        """AP at each client, mean over the seeds, one column per detector; None without labels."""
        import pandas as pd

        if not self.reports:
            return None
        tables = pd.concat([report.by_client()["AP"] for report in self.reports])
        means = tables.groupby(level=["detector", "client"], sort=False).mean()
        shares = self.reports[0].by_client()["prevalence"].groupby(level="client").first()
        wide = means.unstack("detector")[list(dict.fromkeys(means.index.get_level_values(0)))]
        wide = wide.reindex([client.name for client in self.prepared.federation.everyone])
        return wide.assign(prevalence=shares).rename_axis(columns=None)

    def scores(self, client: str) -> pd.DataFrame:
        """One client's test rows with the federated model's score, the highest first.

        For the client's own eyes: index is the line of the file; "most odd" names the three
        features with the largest part in the error. Raises DataError for an unknown client.
        """
        import pandas as pd

        x = self.prepared.federation[client].x_test
        values = reconstruction_error(self.run.model, x)
        with torch.no_grad():
            rows = torch.from_numpy(x)
            error = (self.run.model(rows) - rows).square().numpy()
        names = np.array(self.prepared.federation.features, dtype=object)
        top = np.argsort(-error, axis=1)[:, :3]
        frame = pd.DataFrame(
            {
                "score": values,
                "alarm": values > self.threshold,
                "most odd": [", ".join(names[i]) for i in top],
            },
            index=pd.Index(self.prepared.test_lines[client], name="line"),
        )
        if self.prepared.labelled:
            frame["anomaly"] = self.prepared.federation[client].y_test
        return frame.sort_values("score", ascending=False, kind="stable")


def run_pipeline(
    table: OwnTable, settings: Settings | None = None, *, progress: bool = True
) -> Outcome:
    """Train local, federated and central detectors on somebody's data, and test them.

    Beside them stand the floors and an isolation forest. Thresholds need no labels. Without labels
    nothing is tested; scores, thresholds and the alarms on the test rows are there.

    Args:
        table: what `read_csv` returned.
        settings: see `Settings`.
        progress: show a progress bar over the seeds.

    Raises FedlabError, before anything is trained, for data or settings that do not fit; as `fit`
    if training diverges. Taught in chapter 16.
    """
    from tqdm import tqdm

    settings = settings or Settings()
    reports, first = [], None
    for seed in tqdm(settings.seeds, desc="seeds", unit="seed", disable=not progress):
        prepared = _prepare(table, settings, seed)
        run, local, central = _train(prepared.federation, settings, seed)
        if first is None:
            first = prepared, run, local
        if not prepared.labelled:
            break  # nothing to test, so nothing to repeat
        models = {LOCAL: local, FEDERATED: run.model, CENTRAL: central}
        reports.append(evaluate(models, prepared.federation, seed=seed))
    assert first is not None
    prepared, run, local = first
    threshold = _threshold(run.model, prepared.federation, settings)
    rows = np.concatenate([client.x_train for client in prepared.federation])
    private, sizes = settings.private(prepared.federation.sizes), prepared.federation.sizes
    guarantee = None
    if private is not None:
        guarantee = private.statement(sizes, settings.rounds, settings.delta)
    return Outcome(
        table=table,
        settings=settings,
        prepared=prepared,
        run=run,
        local=local,
        reports=tuple(reports),
        thresholds=threshold_report(run.model, prepared.federation, settings.alarm_rate, EDGES),
        threshold=threshold,
        floors={
            UNTRAINED: UntrainedAutoencoder(run.model, settings.seeds[0]),
            NORM: RowNorm.fit(rows),
            FOREST: isolation_forest(rows, settings.seeds[0]),
        },
        guarantee=guarantee,
    )


def _prepare(table: OwnTable, settings: Settings, seed: int) -> Prepared:
    prepared = prepare(
        table,
        unseen=settings.unseen,
        test_fraction=settings.test_fraction,
        calibration_fraction=settings.calibration_fraction,
        min_rows=settings.min_rows,
        min_count=settings.min_count,
        seed=seed,
    )
    settings.check(prepared.federation)
    return prepared


def _train(
    federation: Federation, settings: Settings, seed: int
) -> tuple[Run, dict[str, nn.Module], nn.Module]:
    """The federated run, the local models and the central one, from the same start.

    Local and central training have no noise: nobody else sees what a client trains for itself, and
    the central one is the comparison with all rows in one place.
    """
    start = dense_autoencoder(federation.n_features, settings.hidden, settings.code, seed=seed)
    aggregator: Aggregator | RoundAggregator = secure_mean() if settings.masks else Mean()
    run = fit(
        start,
        federation,
        rounds=settings.rounds,
        local=settings.private(federation.sizes) or settings.local,
        aggregator=aggregator,
        seed=seed,
        progress=False,
    )
    rounds, solver, whole = settings.rounds, settings.local, federation.pooled_federation()
    local = fit_local(start, federation, rounds=rounds, local=solver, seed=seed)
    central = fit(start, whole, rounds=rounds, local=solver, seed=seed, progress=False)
    return run, local, central.model


def secure_mean(weighted: bool = True, fraction_bits: int = 24) -> RoundAggregator:
    """A secure mean with room for large clients: 64 bits, of which some are after the point."""
    from fedlab_utils.privacy.secure import SecureMean

    return SecureMean(bits=64, fraction_bits=fraction_bits, weighted=weighted)


def _threshold(model: nn.Module, federation: Federation, settings: Settings) -> float:
    """The federated threshold, from the sum of histograms, which is a secure one with masks."""
    parts = [
        ScoreHistogram.of(reconstruction_error(model, client.x_calibration), EDGES)
        for client in federation
    ]
    if settings.masks:
        vectors = [part.to_vector() for part in parts]
        total = add_counts(vectors, federation.names, secure_mean(False, 0))
        parts = [ScoreHistogram.from_vector(total, EDGES)]
    return federated_threshold(parts, settings.alarm_rate)
