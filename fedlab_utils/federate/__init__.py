"""FedAvg: the round loop, local solvers, aggregators, server optimisers. Taught in chapter 03."""

from fedlab_utils.federate.aggregators import (
    Aggregated,
    Aggregator,
    Mean,
    RoundAggregator,
    RoundContext,
)
from fedlab_utils.federate.engine import RowStore, train_loop, train_stacked
from fedlab_utils.federate.fit import Run, fit, fit_local
from fedlab_utils.federate.history import History, Round
from fedlab_utils.federate.order import batch_order
from fedlab_utils.federate.sampling import Poisson, choose_clients
from fedlab_utils.federate.servers import ServerOptimizer, ServerSGD
from fedlab_utils.federate.solvers import SGD, LocalSolver

__all__ = [
    "SGD",
    "Aggregated",
    "Aggregator",
    "History",
    "LocalSolver",
    "Mean",
    "Poisson",
    "Round",
    "RoundAggregator",
    "RoundContext",
    "RowStore",
    "Run",
    "ServerOptimizer",
    "ServerSGD",
    "batch_order",
    "choose_clients",
    "fit",
    "fit_local",
    "train_loop",
    "train_stacked",
]
