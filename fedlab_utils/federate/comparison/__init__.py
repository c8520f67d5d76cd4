"""What helps when clients differ: all methods, the same budget, several seeds. See chapter 09.

python -m fedlab_utils.federate.comparison "digits, opposed"      # tune and measure one setting
python -m fedlab_utils.federate.comparison --record               # all of them, for the chapter
"""

from fedlab_utils.federate.comparison.methods import ALL, BOUNDS, FEDAVG, METHODS, Job, Method
from fedlab_utils.federate.comparison.records import Record, record, recorded, versions
from fedlab_utils.federate.comparison.running import (
    SEEDS,
    TUNING_SEEDS,
    Choice,
    calibration_loss,
    measure,
    train,
    tune,
)
from fedlab_utils.federate.comparison.settings import SETTINGS, Budget, Setting
from fedlab_utils.federate.comparison.verdict import (
    by_seed,
    differences,
    gap_closed,
    gaps,
    starred,
    summary,
)

__all__ = [
    "ALL",
    "BOUNDS",
    "FEDAVG",
    "METHODS",
    "SEEDS",
    "SETTINGS",
    "TUNING_SEEDS",
    "Budget",
    "Choice",
    "Job",
    "Method",
    "Record",
    "Setting",
    "by_seed",
    "calibration_loss",
    "differences",
    "gap_closed",
    "gaps",
    "measure",
    "record",
    "recorded",
    "starred",
    "summary",
    "train",
    "tune",
    "versions",
]
