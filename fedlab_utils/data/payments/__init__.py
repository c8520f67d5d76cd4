"""Payments of simulated banks: the running case of the course. Taught in chapter 01."""

from fedlab_utils.data.payments.config import DEFAULT_MIX, KINDS, PaymentsConfig
from fedlab_utils.data.payments.features import FEATURES
from fedlab_utils.data.payments.table import (
    Transactions,
    payments_table,
    reported_labels,
    simulate,
)

__all__ = [
    "DEFAULT_MIX", "FEATURES", "KINDS", "PaymentsConfig", "Transactions", "payments_table",
    "reported_labels", "simulate",
]  # fmt: skip
