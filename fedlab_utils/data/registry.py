"""All data sets by name. Taught in chapter 00."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from fedlab_utils.data import bundled, formats
from fedlab_utils.data.federation import Federation
from fedlab_utils.data.logs import logs_table
from fedlab_utils.data.n_baiot import n_baiot
from fedlab_utils.data.nsl_kdd import nsl_kdd
from fedlab_utils.data.partition import Partition
from fedlab_utils.data.payments import payments_table
from fedlab_utils.data.table import Table, make_federation
from fedlab_utils.data.telemetry import telemetry_table
from fedlab_utils.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class DatasetSpec:
    """What the registry knows about a data set.

    Attributes:
        name: what `load` calls it; also its folder in datasets/ with the datasheet.
        title: its usual name.
        task: what an anomaly is.
        licence: licence of the data.
        source: address of the source.
        rows: number of rows with the default options.
        features: number of features with the default options.
        client_key: what a natural client is, or "" if there is none.
        where: "bundled", "scikit-learn", "generated" or "download".
        loader: returns the Table.
    """

    name: str
    title: str
    task: str
    licence: str
    source: str
    rows: int
    features: int
    client_key: str
    where: Literal["bundled", "scikit-learn", "generated", "download"]
    loader: Callable[..., Table]

    def table(self, **options: Any) -> Table:
        """The data set in one place, raw values. Raises DataError for an unknown option."""
        parameters = inspect.signature(self.loader).parameters.values()
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            known = [p.name for p in parameters]
            for option in options:
                if option not in known:
                    raise DataError(
                        f"{self.name} has no option {option!r}; "
                        + (f"its options are {', '.join(known)}." if known else "it has none.")
                    )
        return self.loader(**options)


_CC = "CC BY 4.0"
_UCI = "https://archive.ics.uci.edu/dataset/"
_UCR = "no explicit licence; see datasheet"
REGISTRY = {
    spec.name: spec
    for spec in (
        DatasetSpec("payments", "Payments of ten banks", "fraud of five types", "Apache-2.0",
                    "fedlab_utils.data.payments", 68_643, 23, "bank", "generated", payments_table),
        DatasetSpec("telemetry", "Telemetry of twelve devices", "faulty window of four types",
                    "Apache-2.0", "fedlab_utils.data.telemetry", 5_928, 3, "device", "generated",
                    telemetry_table),
        DatasetSpec("logs", "Event logs of ten services", "faulty session of four types",
                    "Apache-2.0", "fedlab_utils.data.logs", 3_000, 20, "service", "generated",
                    logs_table),
        DatasetSpec("heart", "UCI Heart Disease", "heart disease", _CC, _UCI + "45", 920, 15,
                    "hospital", "bundled", bundled.heart),
        DatasetSpec("shuttle", "Statlog Shuttle", "rare state of a radiator", _CC, _UCI + "148",
                    49_097, 9, "", "bundled", bundled.shuttle),
        DatasetSpec("internal_bleeding", "UCR InternalBleeding16", "window with odd pulse", _UCR,
                    "https://www.cs.ucr.edu/~eamonn/time_series_data_2018/", 1_830, 64, "series",
                    "bundled", bundled.internal_bleeding),
        DatasetSpec("digits", "Handwritten digits 8 x 8", "a digit never seen", _CC, _UCI + "80",
                    1_797, 64, "", "scikit-learn", bundled.digits),
        DatasetSpec("breast_cancer", "Breast Cancer Wisconsin (Diagnostic)", "malignant", _CC,
                    _UCI + "17", 569, 30, "", "scikit-learn", bundled.breast_cancer),
        DatasetSpec("nsl_kdd", "NSL-KDD", "network attack", "free with citation; see datasheet",
                    "https://www.unb.ca/cic/datasets/nsl.html", 47_736, 122, "service", "download",
                    nsl_kdd),
        DatasetSpec("n_baiot", "N-BaIoT", "botnet traffic", _CC, _UCI + "442", 85_000, 115,
                    "device", "download", n_baiot),
        DatasetSpec("credit_card", "Credit card fraud 2013", "fraud", "DbCL 1.0",
                    "https://www.openml.org/d/1597", 284_807, 29, "slice of time", "download",
                    formats.credit_card),
        DatasetSpec("covertype", "Forest Covertype", "rare cover type", _CC, _UCI + "31", 286_048,
                    10, "wilderness area", "download", formats.covertype),
        DatasetSpec("ecg5000", "ECG5000", "heartbeat that is not normal", _UCR,
                    "https://www.timeseriesclassification.com/description.php?Dataset=ECG5000",
                    5_000, 140, "", "download", formats.ecg5000),
    )
}  # fmt: skip


def spec(name: str) -> DatasetSpec:
    """The entry of one data set. Raises DataError naming the closest match for an unknown name."""
    import difflib

    if name not in REGISTRY:
        close = difflib.get_close_matches(str(name).lower().replace("-", "_"), REGISTRY, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise DataError(f"unknown data set {name!r}; there are {', '.join(REGISTRY)}.{hint}")
    return REGISTRY[name]


def load(
    name: str,
    *,
    partition: Partition | None = None,
    scaler: Literal["federated", "own"] | None = "federated",
    unseen: bool | str = False,
    contamination: float = 0.0,
    test_fraction: float = 0.4,
    calibration_fraction: float = 0.2,
    seed: int = 0,
    **options: Any,
) -> Federation:
    """Load a data set and divide it among clients: `load("payments", clients=10, seed=0)`.

    Args:
        name: one of `datasets()`.
        partition: IID, Dirichlet, Quantity or ByKey; None means the natural clients if the data
            have any, otherwise ten IID clients.
        scaler: "federated" or "own" standardises every feature; None leaves the raw values.
        unseen: True holds the last client out of training, a name that client.
        contamination: share of unnoticed anomalies among training rows.
        test_fraction, calibration_fraction: see `make_federation`; without effect where a data set
            brings its own split.
        seed: fixes the division, and generated data.
        options: options of the data set, such as clients and shift of "payments".

    Raises DataError for unknown names and options, DownloadError for a file that cannot be had.
    Taught in chapter 00.
    """
    entry = spec(name)
    if entry.where == "generated":
        options = {"seed": seed, **options}
        if contamination:
            # The simulated banks must have had enough early fraud for some to go unnoticed.
            options.setdefault("contamination", contamination)
    federation = make_federation(
        entry.table(**options),
        partition,
        test_fraction=test_fraction,
        calibration_fraction=calibration_fraction,
        contamination=contamination,
        unseen=unseen,
        seed=seed,
    )
    return federation if scaler is None else federation.standardised(scaler)


def datasets() -> pd.DataFrame:
    """Overview of all data sets, one a row, indexed by name. Taught in chapter 00."""
    import pandas as pd

    columns = ("title", "task", "rows", "features", "client_key", "where", "licence", "source")
    rows = [{c: getattr(entry, c) for c in columns} for entry in REGISTRY.values()]
    return pd.DataFrame(rows, index=pd.Index(REGISTRY, name="name"))
