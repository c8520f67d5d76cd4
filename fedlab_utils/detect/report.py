"""The results table: one row per detector. Taught in chapters 01 and 02."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from fedlab_utils.detect.metrics import ClientMetrics, mean_client, worst_client
from fedlab_utils.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

METRICS = {"AP": "ap", "AUC": "auc"}


@dataclass(frozen=True)
class Result:
    """One detector's metrics on every client. `local` = each client has a detector of its own.

    Taught in chapter 02.
    """

    detector: str
    local: bool
    pooled: ClientMetrics
    clients: tuple[ClientMetrics, ...]
    unseen: ClientMetrics | None
    kinds: tuple[ClientMetrics, ...]


@dataclass(frozen=True)
class Report:
    """What `evaluate` found. `table()`, `by_client()` and `by_kind()` are pandas DataFrames.

    "pooled" ranks all members' test rows in one list. With local models these scores come from
    different models, whose scales differ: each client's own scores are simply put together,
    which is what a reader of all alarms would see, and says little about each model. Compare
    local models by the mean and the worst client. Taught in chapter 02.
    """

    federation: str
    seed: int
    results: tuple[Result, ...]

    @property
    def prevalence(self) -> float:
        """Share of anomalies among all members' test rows: the chance level of pooled AP."""
        return self.results[0].pooled.prevalence

    @property
    def left_out(self) -> tuple[str, ...]:
        """Clients without both normal and anomalous test rows: they have no AP or AUC."""
        first = self.results[0]
        unseen = [first.unseen] if first.unseen else []
        return tuple(c.client for c in [*first.clients, *unseen] if not c.defined)

    def table(self) -> pd.DataFrame:
        """Return one row per detector: AP and AUC, pooled, mean, worst and unseen client.

        The columns of the unseen client are there when the federation has one.
        """
        import pandas as pd

        rows = []
        for result in self.results:
            row: dict[str, Any] = {"detector": result.detector}
            for title, metric in METRICS.items():
                worst, name = worst_client(result.clients, metric)
                row[f"{title} pooled"] = getattr(result.pooled, metric)
                row[f"{title} mean client"] = mean_client(result.clients, metric)
                row[f"{title} worst client"] = worst
                row[f"{title} worst name"] = name
                if result.unseen is not None:
                    row[f"{title} unseen"] = getattr(result.unseen, metric)
            rows.append({**row, "prevalence": self.prevalence})
        return pd.DataFrame(rows).set_index("detector")

    def by_client(self) -> pd.DataFrame:
        """Return one row per detector and client, the unseen one included."""
        import pandas as pd

        rows = []
        for result in self.results:
            roles = [(c, "member") for c in result.clients]
            roles += [(result.unseen, "unseen")] if result.unseen else []
            rows += [
                {"detector": result.detector, "client": c.client, "role": role, **_numbers(c)}
                for c, role in roles
            ]
        return pd.DataFrame(rows).set_index(["detector", "client"])

    def by_kind(self) -> pd.DataFrame:
        """Return one row per detector and kind of anomaly, each kind against all normal rows.

        Members' test rows pooled; prevalence is that of the kind alone.
        """
        import pandas as pd

        rows = [
            {"detector": result.detector, "kind": k.client, **_numbers(k)}
            for result in self.results
            for k in result.kinds
        ]
        columns = ["detector", "kind", *_numbers(self.results[0].pooled)]
        return pd.DataFrame(rows, columns=columns).set_index(["detector", "kind"])

    def caption(self) -> str:
        """Return what a reader must know beside the table, as plain text."""
        sizes = self.results[0].pooled
        text = (
            f"{self.federation}: {sizes.rows:,} test rows of {len(self.results[0].clients)} "
            f"clients. Chance level: AP {self.prevalence:.3f} (the prevalence), AUC 0.5."
        )
        if self.left_out:
            text += (
                " Without both normal and anomalous rows, so not in the mean or worst client: "
                f"{', '.join(self.left_out)}."
            )
        if local := [result.detector for result in self.results if result.local]:
            text += (
                f" {', '.join(local)}: each client has its own model, so pooled scores are not on "
                "one scale."
            )
        return text

    def _repr_html_(self) -> str:
        frame = self.table().drop(columns="prevalence")
        for title in METRICS:
            names = [f" ({name})" if name else "" for name in frame.pop(f"{title} worst name")]
            column = f"{title} worst client"
            values = [f"{v:.3f}" for v in frame[column]]
            frame[column] = [v + name for v, name in zip(values, names, strict=True)]
        html = frame.rename_axis(index=None).to_html(
            border=0, float_format=lambda value: f"{value:.3f}", na_rep="-"
        )
        head, rest = html.split(">", 1)
        style = 'style="caption-side: bottom; text-align: left"'
        return f"{head}><caption {style}>{escape(self.caption())}</caption>{rest}"


def _numbers(metrics: ClientMetrics) -> dict[str, Any]:
    return {
        "rows": metrics.rows,
        "anomalies": metrics.anomalies,
        "prevalence": metrics.prevalence,
        "AP": metrics.ap,
        "AUC": metrics.auc,
    }


def summarise(reports: Sequence[Report]) -> pd.DataFrame:
    """Return mean and standard deviation (n - 1) across reports of three or more seeds.

    Columns are (metric, "mean" | "std"); print them with `format_summary`. Raises DataError for
    fewer than three reports, a seed that occurs twice (floors would be counted twice; pass
    `evaluate(..., seed=...)`), or reports with other detectors, clients or data sets.
    Taught in chapter 02.
    """
    import pandas as pd

    if len(reports) < 3:
        raise DataError(f"a spread needs three seeds or more, got {len(reports)} reports")
    seeds = [report.seed for report in reports]
    if len(set(seeds)) < len(seeds):
        raise DataError(f"the reports' seeds repeat: {seeds}; pass evaluate(..., seed=...)")
    tables = [report.table().select_dtypes("number") for report in reports]
    for report, table in zip(reports, tables, strict=True):
        same = table.index.equals(tables[0].index) and table.columns.equals(tables[0].columns)
        if not same or report.federation != reports[0].federation:
            raise DataError(
                f"the report of seed {report.seed} ({report.federation}) has other detectors, "
                f"columns or data than that of seed {seeds[0]} ({reports[0].federation})"
            )
    # In numpy, where a metric that is undefined for one seed has no mean over the seeds; pandas 2
    # cannot be told so.
    values = np.stack([table.to_numpy(dtype=float) for table in tables])
    of = {"mean": values.mean(axis=0), "std": values.std(axis=0, ddof=1)}
    index, columns = tables[0].index, tables[0].columns
    parts = {part: pd.DataFrame(array, index=index, columns=columns) for part, array in of.items()}
    both = pd.concat(parts, axis=1).swaplevel(axis=1)
    return both[[(metric, part) for metric in tables[0].columns for part in parts]]


def format_summary(summary: pd.DataFrame, digits: int = 3) -> pd.DataFrame:
    """Return `summarise`'s table as text, "mean ± std" to `digits` decimals.

    Taught in chapter 02.
    """
    import pandas as pd

    metrics = summary.columns.get_level_values(0).unique()
    return pd.DataFrame(
        {
            metric: [
                f"{mean:.{digits}f} ± {std:.{digits}f}"
                for mean, std in summary[metric][["mean", "std"]].to_numpy()
            ]
            for metric in metrics
        },
        index=summary.index,
    )
