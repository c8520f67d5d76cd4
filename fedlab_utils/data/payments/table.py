"""From the dials to transactions and to the table the course loads. Taught in chapter 01."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np

from fedlab_utils.data.payments.anomalies import add_anomalies
from fedlab_utils.data.payments.config import DAY, PaymentsConfig
from fedlab_utils.data.payments.features import FEATURES, features
from fedlab_utils.data.payments.simulate import STREAM, bank_profile, normal_payments
from fedlab_utils.data.payments.transactions import Transactions
from fedlab_utils.data.table import Table
from fedlab_utils.errors import DataError


def simulate(config: PaymentsConfig) -> Transactions:
    """All payments of all banks with their anomalies, ordered by bank, customer, time.

    The first 60 days have negative times: history for the rolling windows. Bank k is the same
    whatever the number of banks. Raises DataError (from PaymentsConfig). Taught in chapter 01.
    """
    parts: list[Transactions] = []
    customers = 0
    for index in range(config.clients):
        bank = bank_profile(config, index)
        own = add_anomalies(normal_payments(config, index, bank), config, index)
        parts.append(replace(own, customer=own.customer + customers))
        customers += bank.customers
    return Transactions.concatenate(parts)


def reported_labels(transactions: Transactions, config: PaymentsConfig) -> np.ndarray:
    """[n] bool: what the banks believe at the end of the last day.

    A fraud is reported after an exponential delay with mean `label_delay` days, so the most
    recent ones are still unknown; a share `label_noise` of frauds is never reported, and on
    average as many normal payments are reported by mistake. Labels that come late are studied
    by Dal Pozzolo et al. (2018), doi.org/10.1109/TNNLS.2017.2736643. Taught in chapter 01.
    """
    truth = transactions.anomaly
    known = np.zeros(len(truth), dtype=bool)
    for index in range(config.clients):
        rows = np.flatnonzero(transactions.bank == index)
        rng = np.random.default_rng([config.seed, STREAM, index, 3])
        noise, delay = rng.random(len(rows)), rng.exponential(1.0, len(rows))
        age = config.days * DAY - transactions.time[rows]
        arrived = delay * config.label_delay * DAY <= age
        fraud = truth[rows]
        mistakes = config.label_noise * fraud.sum() / max((~fraud).sum(), 1)
        known[rows] = arrived & np.where(fraud, noise >= config.label_noise, noise < mistakes)
    return known


def payments_table(*, labels: Literal["true", "reported"] = "true", **dials: Any) -> Table:
    """The payments of all banks as a Table: key = bank, split by time, kind = anomaly type.

    Args:
        labels: "true", or "reported" for what the banks know at the end (late and noisy); a
            normal payment reported by mistake then has the kind "false alarm".
        dials: the fields of PaymentsConfig, such as clients, shift, seed.

    Returns [n, 23] float32 features of the payments from day 0 on, in the order of bank and
    time; "train" are the first `train_share` of the days, then "calibration", then "test".
    Raises DataError for an unknown dial or one out of range. Taught in chapter 01.
    """
    unknown = sorted(set(dials) - set(PaymentsConfig.__dataclass_fields__))
    if unknown:
        raise DataError(
            f"payments: unknown options {unknown}; there are "
            f"{['labels', *PaymentsConfig.__dataclass_fields__]}."
        )
    if labels not in ("true", "reported"):
        raise DataError(f'payments: labels must be "true" or "reported", got {labels!r}.')
    config = PaymentsConfig(**dials)
    everything = simulate(config)
    x = features(everything)
    known = everything.anomaly if labels == "true" else reported_labels(everything, config)

    rows = np.flatnonzero(everything.time >= 0)
    order = np.lexsort((everything.time[rows], everything.bank[rows]))
    rows = rows[order]
    shown = everything.take(rows)
    y = known[rows]
    train_end, calibration_end, _ = config.boundaries
    part = (shown.time >= train_end).astype(int) + (shown.time >= calibration_end)
    names = np.array([f"bank {i + 1}" for i in range(config.clients)])
    kind = np.where(y, np.where(shown.anomaly, shown.kind_names, "false alarm"), "normal")
    return Table(
        name="payments",
        x=x[rows],
        y=y,
        features=FEATURES,
        key=names[shown.bank],
        kind=kind,
        split=np.array(["train", "calibration", "test"])[part],
    )
