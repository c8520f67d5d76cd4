"""Scores, floors, metrics, reports and label-free thresholds. Taught in chapters 01, 02, 10."""

from fedlab_utils.detect.alarms import threshold_report
from fedlab_utils.detect.evaluation import evaluate
from fedlab_utils.detect.floors import (
    RowNorm,
    SklearnDetector,
    UntrainedAutoencoder,
    isolation_forest,
    redraw,
)
from fedlab_utils.detect.histogram import ScoreHistogram, federated_threshold, score_edges
from fedlab_utils.detect.metrics import (
    ClientMetrics,
    auc,
    average_precision,
    by_kind,
    mean_client,
    prevalence,
    worst_client,
)
from fedlab_utils.detect.report import Report, Result, format_summary, summarise
from fedlab_utils.detect.scores import (
    AutoencoderDetector,
    Detector,
    as_detector,
    check_rows,
    reconstruction_error,
    scores_of,
)
from fedlab_utils.detect.threshold import AlarmRateBound, alarm_rate_bound, local_threshold

__all__ = [
    "AlarmRateBound",
    "AutoencoderDetector",
    "ClientMetrics",
    "Detector",
    "Report",
    "Result",
    "RowNorm",
    "ScoreHistogram",
    "SklearnDetector",
    "UntrainedAutoencoder",
    "alarm_rate_bound",
    "as_detector",
    "auc",
    "average_precision",
    "by_kind",
    "check_rows",
    "evaluate",
    "federated_threshold",
    "format_summary",
    "isolation_forest",
    "local_threshold",
    "mean_client",
    "prevalence",
    "reconstruction_error",
    "redraw",
    "score_edges",
    "scores_of",
    "summarise",
    "threshold_report",
    "worst_client",
]
