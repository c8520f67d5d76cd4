"""FedAvg: the round loop, local solvers, aggregators, server optimisers. Taught in chapter 03.

What helps when clients differ is taught in chapter 09, what helps against attackers in chapter 13.
"""

from fedlab_utils.federate.adaptive import ServerAdagrad, ServerAdam, ServerMomentum, ServerYogi
from fedlab_utils.federate.aggregators import (
    Aggregated,
    Aggregator,
    Mean,
    RoundAggregator,
    RoundContext,
)
from fedlab_utils.federate.batches import RowStore
from fedlab_utils.federate.bounded import CentredClip, NormBound
from fedlab_utils.federate.bucketing import Bucketing
from fedlab_utils.federate.clustered import (
    ClusteredRun,
    fit_clustered,
    similar_clients,
    split_by_updates,
)
from fedlab_utils.federate.drift import Drift, client_drift
from fedlab_utils.federate.engine import train_stacked
from fedlab_utils.federate.fednova import FedNova
from fedlab_utils.federate.fedprox import FedProx
from fedlab_utils.federate.fit import Run, fit, fit_local
from fedlab_utils.federate.free_riders import ContributionLog, contribution_signs, robust_z
from fedlab_utils.federate.geometric import GeometricMedian
from fedlab_utils.federate.history import History, Round
from fedlab_utils.federate.krum import Krum, MultiKrum, krum_scores
from fedlab_utils.federate.loop import train_loop
from fedlab_utils.federate.order import batch_order
from fedlab_utils.federate.personal import Ditto, fine_tune
from fedlab_utils.federate.robust import CoordinateMedian, TrimmedMean, weighted_median
from fedlab_utils.federate.sampling import Poisson, choose_clients
from fedlab_utils.federate.scaffold import Scaffold
from fedlab_utils.federate.servers import ServerOptimizer, ServerSGD
from fedlab_utils.federate.similarity import CosineFilter, FoolsGold, cosines, foolsgold_weights
from fedlab_utils.federate.solvers import SGD, LocalSolver, RoundSolver, Trained
from fedlab_utils.federate.watched import Watched

__all__ = [
    "SGD",
    "Aggregated",
    "Aggregator",
    "Bucketing",
    "CentredClip",
    "ClusteredRun",
    "ContributionLog",
    "CoordinateMedian",
    "CosineFilter",
    "Ditto",
    "Drift",
    "FedNova",
    "FedProx",
    "FoolsGold",
    "GeometricMedian",
    "History",
    "Krum",
    "LocalSolver",
    "Mean",
    "MultiKrum",
    "NormBound",
    "Poisson",
    "Round",
    "RoundAggregator",
    "RoundContext",
    "RoundSolver",
    "RowStore",
    "Run",
    "Scaffold",
    "ServerAdagrad",
    "ServerAdam",
    "ServerMomentum",
    "ServerOptimizer",
    "ServerSGD",
    "ServerYogi",
    "Trained",
    "TrimmedMean",
    "Watched",
    "batch_order",
    "choose_clients",
    "client_drift",
    "contribution_signs",
    "cosines",
    "fine_tune",
    "fit",
    "fit_clustered",
    "fit_local",
    "foolsgold_weights",
    "krum_scores",
    "robust_z",
    "similar_clients",
    "split_by_updates",
    "train_loop",
    "train_stacked",
    "weighted_median",
]
