"""TensorFlow Federated, in an environment of its own. Taught in chapter 05.

TensorFlow Federated 0.87 needs Python 3.11 and versions of numpy and TensorFlow that nothing else
in the course can live with. So it gets an environment of its own, made by one command:

    python -m fedlab_utils.runtimes.tff install

In a notebook `%load_ext fedlab_utils.runtimes.tff` then gives `%%tff` cells, which run there, and
`fit_tff` trains a federation there. Only the standard library is imported at the top.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedlab_utils.lazy import lazy_names
from fedlab_utils.runtimes.tff.home import INSTALL, Status, environment, status

if TYPE_CHECKING:
    from fedlab_utils.runtimes.tff.adapter import fit_tff, tff_rounds
    from fedlab_utils.runtimes.tff.kernel import TffError, TffKernel
    from fedlab_utils.runtimes.tff.magic import load_ipython_extension, unload_ipython_extension
    from fedlab_utils.runtimes.tff.private import private_means
    from fedlab_utils.runtimes.tff.shared import shared_kernel, stop_shared_kernel

_HOME = {
    "TffError": "kernel",
    "TffKernel": "kernel",
    "fit_tff": "adapter",
    "load_ipython_extension": "magic",
    "private_means": "private",
    "shared_kernel": "shared",
    "stop_shared_kernel": "shared",
    "tff_rounds": "adapter",
    "unload_ipython_extension": "magic",
}
__all__ = [
    "INSTALL",
    "Status",
    "TffError",
    "TffKernel",
    "environment",
    "fit_tff",
    "load_ipython_extension",
    "private_means",
    "shared_kernel",
    "status",
    "stop_shared_kernel",
    "tff_rounds",
    "unload_ipython_extension",
]

__getattr__, __dir__ = lazy_names(__name__, _HOME)
