"""Detectors, floors, metrics, reports, label-free thresholds: chapters 01, 02, 10 and 11."""

from fedlab_utils.detect.alarms import threshold_report
from fedlab_utils.detect.ensemble import RankFusion, RankReference, federated_reference, fuse
from fedlab_utils.detect.evaluation import evaluate
from fedlab_utils.detect.floors import (
    RowNorm,
    SklearnDetector,
    UntrainedAutoencoder,
    isolation_forest,
    redraw,
)
from fedlab_utils.detect.forest import Forest, average_path
from fedlab_utils.detect.forest_common import CommonTrees, add_counts, grow_common
from fedlab_utils.detect.forest_grow import from_sklearn, grow_forest
from fedlab_utils.detect.forest_leaks import singled_out, value_bounds
from fedlab_utils.detect.forest_private import CountNoise, laplace_deviation
from fedlab_utils.detect.forest_ranges import RangeHistograms, fixed_ranges
from fedlab_utils.detect.forest_union import Committee, Member, committee, grow_local, union
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
from fedlab_utils.detect.oneclass import OneClass, OneClassSGD
from fedlab_utils.detect.ranges import (
    adjust_points,
    anomaly_ranges,
    best_f1,
    range_labels,
    range_pr_auc,
    vus_pr,
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
from fedlab_utils.detect.series import matrix_profile, moving_zscore, point_scores
from fedlab_utils.detect.threshold import AlarmRateBound, alarm_rate_bound, local_threshold

__all__ = [
    "AlarmRateBound",
    "AutoencoderDetector",
    "ClientMetrics",
    "Committee",
    "CommonTrees",
    "CountNoise",
    "Detector",
    "Forest",
    "Member",
    "OneClass",
    "OneClassSGD",
    "RangeHistograms",
    "RankFusion",
    "RankReference",
    "Report",
    "Result",
    "RowNorm",
    "ScoreHistogram",
    "SklearnDetector",
    "UntrainedAutoencoder",
    "add_counts",
    "adjust_points",
    "alarm_rate_bound",
    "anomaly_ranges",
    "as_detector",
    "auc",
    "average_path",
    "average_precision",
    "best_f1",
    "by_kind",
    "check_rows",
    "committee",
    "evaluate",
    "federated_reference",
    "federated_threshold",
    "fixed_ranges",
    "format_summary",
    "from_sklearn",
    "fuse",
    "grow_common",
    "grow_forest",
    "grow_local",
    "isolation_forest",
    "laplace_deviation",
    "local_threshold",
    "matrix_profile",
    "mean_client",
    "moving_zscore",
    "point_scores",
    "prevalence",
    "range_labels",
    "range_pr_auc",
    "reconstruction_error",
    "redraw",
    "score_edges",
    "scores_of",
    "singled_out",
    "summarise",
    "threshold_report",
    "union",
    "value_bounds",
    "vus_pr",
    "worst_client",
]
