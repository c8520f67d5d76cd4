"""FedAvg: the round loop, local solvers, aggregators, server optimisers. Taught in chapter 03.

What helps when clients differ is taught in chapter 09.
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
from fedlab_utils.federate.history import History, Round
from fedlab_utils.federate.loop import train_loop
from fedlab_utils.federate.order import batch_order
from fedlab_utils.federate.personal import Ditto, fine_tune
from fedlab_utils.federate.sampling import Poisson, choose_clients
from fedlab_utils.federate.scaffold import Scaffold
from fedlab_utils.federate.servers import ServerOptimizer, ServerSGD
from fedlab_utils.federate.solvers import SGD, LocalSolver, RoundSolver, Trained

__all__ = [
    "SGD",
    "Aggregated",
    "Aggregator",
    "ClusteredRun",
    "Ditto",
    "Drift",
    "FedNova",
    "FedProx",
    "History",
    "LocalSolver",
    "Mean",
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
    "batch_order",
    "choose_clients",
    "client_drift",
    "fine_tune",
    "fit",
    "fit_clustered",
    "fit_local",
    "similar_clients",
    "split_by_updates",
    "train_loop",
    "train_stacked",
]
