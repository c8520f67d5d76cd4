"""Federated, privacy-preserving anomaly detection, step by step: the package behind the course.

    import fedlab_utils as fl

The names a reader types are here; everything else is in the sub-packages. Names are looked up on
first use, so that importing the package stays quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedlab_utils.lazy import lazy_names

if TYPE_CHECKING:
    from fedlab_utils.course import check, hint, save_results, show
    from fedlab_utils.data.federation import Client, Federation
    from fedlab_utils.data.partition import IID, ByKey, Dirichlet, Quantity
    from fedlab_utils.data.registry import datasets, load
    from fedlab_utils.data.table import Table, make_federation
    from fedlab_utils.detect import evaluate, federated_threshold, local_threshold, summarise
    from fedlab_utils.detect.scores import reconstruction_error
    from fedlab_utils.federate import SGD, Mean, Poisson, ServerSGD, fit, fit_local
    from fedlab_utils.models import DenseAutoencoder, dense_autoencoder, flatten, unflatten

__version__ = "0.1.0"

_HOME = {
    "check": "course",
    "hint": "course",
    "save_results": "course",
    "show": "course",
    "Client": "data.federation",
    "Federation": "data.federation",
    "IID": "data.partition",
    "ByKey": "data.partition",
    "Dirichlet": "data.partition",
    "Quantity": "data.partition",
    "datasets": "data.registry",
    "load": "data.registry",
    "Table": "data.table",
    "make_federation": "data.table",
    "evaluate": "detect",
    "federated_threshold": "detect",
    "local_threshold": "detect",
    "summarise": "detect",
    "reconstruction_error": "detect.scores",
    "SGD": "federate",
    "Mean": "federate",
    "Poisson": "federate",
    "ServerSGD": "federate",
    "fit": "federate",
    "fit_local": "federate",
    "DenseAutoencoder": "models",
    "dense_autoencoder": "models",
    "flatten": "models",
    "unflatten": "models",
}

__all__ = [
    "IID",
    "SGD",
    "ByKey",
    "Client",
    "DenseAutoencoder",
    "Dirichlet",
    "Federation",
    "Mean",
    "Poisson",
    "Quantity",
    "ServerSGD",
    "Table",
    "check",
    "datasets",
    "dense_autoencoder",
    "evaluate",
    "federated_threshold",
    "fit",
    "fit_local",
    "flatten",
    "hint",
    "load",
    "local_threshold",
    "make_federation",
    "reconstruction_error",
    "save_results",
    "show",
    "summarise",
    "unflatten",
]

__getattr__, _ = lazy_names(__name__, _HOME)


def __dir__() -> list[str]:
    # The sub-packages too: readers look for them with the tab key.
    return sorted({*globals(), *_HOME})
