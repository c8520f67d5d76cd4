"""What the comparison says, the luck of the seeds included. Taught in chapter 09."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fedlab_utils.federate.comparison.methods import BOUNDS, FEDAVG, METHODS

if TYPE_CHECKING:
    import pandas as pd

METRIC = "AP mean client"


def by_seed(table: pd.DataFrame, metric: str = METRIC) -> pd.DataFrame:
    """One setting's tidy table as seeds x methods, methods in the order of the table."""
    order = table["method"].drop_duplicates()
    return table.pivot(index="seed", columns="method", values=metric)[list(order)]


def differences(table: pd.DataFrame, base: str = FEDAVG, metric: str = METRIC) -> pd.DataFrame:
    """Each method less `base`, seed by seed: mean, standard error and seeds in which it is ahead.

    Taught in chapter 09.
    """
    wide = by_seed(table, metric)
    less = wide.sub(wide[base], axis=0).drop(columns=base)
    found = less.agg(["mean", "sem"]).T
    found["ahead"] = (less > 0).sum()
    return found


def gap_closed(table: pd.DataFrame, metric: str = METRIC) -> dict[str, Any]:
    """How much of the way from FedAvg to the better of local and central the best method goes.

    The bounds are local training (with the federation's scaler or the own one) and central
    training, whichever has the highest mean over the seeds; FedAvg itself, they and the floors do
    not compete. `closed` is the share of the gap that the method with the highest mean closes;
    nan if there is no gap. The best of a dozen is partly lucky, so `closed elsewhere` chooses the
    method on all seeds but one, takes its value in that one, and goes through all seeds.

    Args:
        table: one setting's rows of `measure`.

    Returns FedAvg, bound, gap and its standard error over seeds, best, closed, closed elsewhere.
    Taught in chapter 09.
    """
    wide = by_seed(table, metric)
    means = wide.mean()
    bound = str(means[list(BOUNDS)].idxmax())
    rivals = [m for m in wide if m in METHODS and m not in BOUNDS and m != FEDAVG]
    gaps = wide[bound] - wide[FEDAVG]
    gap = float(gaps.mean())
    best = str(means[rivals].idxmax())
    blind = []
    for seed in wide.index:
        chosen = wide.drop(index=seed)[rivals].mean().idxmax()
        blind.append(wide[chosen][seed])
    fedavg = float(means[FEDAVG])

    def share(value: float) -> float:
        return (value - fedavg) / gap if gap > 0 else float("nan")

    return {
        FEDAVG: fedavg,
        "better bound": bound,
        "bound": float(means[bound]),
        "gap": gap,
        "gap sem": float(np.std(gaps, ddof=1) / len(gaps) ** 0.5),
        "best method": best,
        "best": float(means[best]),
        "closed": share(float(means[best])),
        "closed elsewhere": share(float(np.mean(blind))),
    }


def gaps(tables: Mapping[str, pd.DataFrame], metric: str = METRIC) -> pd.DataFrame:
    """`gap_closed` of several settings, one a row. Taught in chapter 09."""
    import pandas as pd

    rows = [gap_closed(table, metric) for table in tables.values()]
    return pd.DataFrame(rows, index=pd.Index(tables, name="setting"))


def starred(tables: Mapping[str, pd.DataFrame], metric: str = METRIC) -> pd.DataFrame:
    """`differences` of several settings as text, methods x settings.

    A star marks those with one sign in all seeds and more than three standard errors. With five
    seeds that is about the 5% level for a single difference, and there are many. Taught in
    chapter 09.
    """
    import pandas as pd

    columns = {}
    for name, table in tables.items():
        found = differences(table, metric=metric)
        one_sign = found["ahead"].isin([0, table["seed"].nunique()])
        clear = one_sign & (found["mean"].abs() > 3 * found["sem"])
        columns[name] = found["mean"].map("{:+.3f}".format) + clear.map({True: "*", False: ""})
    return pd.DataFrame(columns)


def summary(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """One setting's mean ± standard deviation over seeds as text, methods x columns."""
    from fedlab_utils.detect.report import format_summary

    groups = table.groupby("method", sort=False)[list(columns)]
    return format_summary(groups.agg(["mean", "std"]))
