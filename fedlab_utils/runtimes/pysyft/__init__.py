"""The same federation on PySyft 0.10: each bank a data owner, the coordinator a data scientist.

    from fedlab_utils.runtimes.pysyft import SyftFederation, fit_pysyft

    with SyftFederation(federation) as banks:
        run = fit_pysyft(model, banks, rounds=5, local=fl.SGD(lr=0.05))

PySyft's real protocol code runs, with a drive in memory in place of Google Drive. Importing this
does not import syft; opening a federation does. Taught in chapter 04.
"""

from fedlab_utils.runtimes.pysyft.agreed import (
    EVALUATE,
    HISTOGRAM,
    TRAIN,
    Job,
    approve_agreed,
    task_of,
)
from fedlab_utils.runtimes.pysyft.federation import Absent, NobodyAnswered, SyftFederation
from fedlab_utils.runtimes.pysyft.fit import SyftRun, fit_pysyft
from fedlab_utils.runtimes.pysyft.measure import (
    SyftReport,
    SyftThreshold,
    evaluate_pysyft,
    threshold_pysyft,
)
from fedlab_utils.runtimes.pysyft.quiet import quiet
from fedlab_utils.runtimes.pysyft.search import files_in, find_rows
from fedlab_utils.runtimes.pysyft.view import coordinator_view

__all__ = [
    "EVALUATE",
    "HISTOGRAM",
    "TRAIN",
    "Absent",
    "Job",
    "NobodyAnswered",
    "SyftFederation",
    "SyftReport",
    "SyftRun",
    "SyftThreshold",
    "approve_agreed",
    "coordinator_view",
    "evaluate_pysyft",
    "files_in",
    "find_rows",
    "fit_pysyft",
    "quiet",
    "task_of",
    "threshold_pysyft",
]
