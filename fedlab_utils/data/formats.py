"""The other downloads: credit-card payments, forest cover, heartbeats. Taught in chapter 02."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from fedlab_utils.data.archives import safe_extract
from fedlab_utils.data.download import RemoteFile, cache_folder, fetch
from fedlab_utils.data.parse import read_table
from fedlab_utils.data.table import Table
from fedlab_utils.errors import DataError, DownloadError

CREDIT_CARD = RemoteFile(
    "https://www.openml.org/data/v1/download/1673544",
    "creditcard.arff",
    "fdaf12730dc1fc426f318b71349f24f5c5fd00aa1152940be7e7509ae3d89d2a",
)
ECG5000 = RemoteFile(
    "https://www.timeseriesclassification.com/aeon-toolkit/ECG5000.zip", "ECG5000.zip"
)


def credit_card(*, clients: int = 10, progress: bool = True) -> Table:
    """European card payments of two days in 2013: [284807, 29], 492 frauds (0.17%).

    See `credit_card_table` for the columns and the clients. Raises DownloadError without the
    file. Source: openml.org/d/1597. Taught in chapter 02.
    """
    path = fetch(CREDIT_CARD, cache_folder("credit_card"), progress=progress)
    return credit_card_table(path, clients=clients)


def credit_card_table(path: Path, *, clients: int = 10) -> Table:
    """The Table of the ARFF file: V1..V28 and Amount, anomaly = Class 1.

    The data name no bank and no customer, so `clients` equal slices of time stand in for
    clients ("slice 1" first): they differ by hour, not by owner. `Time` itself is left out, it
    would only tell the slice. Raises DataError for another file or too many clients.
    """
    text = path.read_text(encoding="utf-8", errors="replace")
    head, mark, body = _split_arff(text)
    if not mark or not body.strip():
        raise DataError(f"{path} is not an ARFF file with data (no @data, or nothing after it).")
    columns = [line.split()[1].strip("'\"") for line in head if line.lower().startswith("@attr")]
    wanted = [*(f"V{i}" for i in range(1, 29)), "Amount"]
    missing = [name for name in [*wanted, "Class"] if name not in columns]
    if missing:
        raise DataError(f"{path}: columns {missing} are missing; this is another file.")
    data = read_table(
        io.StringIO(body), columns, text=["Class"], where=str(path), first_line=len(head) + 2
    )
    label = data["Class"].str.strip("' \"").to_numpy(dtype=str)
    wrong = ~np.isin(label, ("0", "1"))
    if wrong.any():
        line = len(head) + 2 + int(wrong.argmax())
        raise DataError(f"{path}, line {line}, column 'Class': {label[wrong][0]!r} is not 0 or 1.")
    if not 1 <= clients <= len(data):
        raise DataError(f"credit_card: clients={clients} must lie between 1 and {len(data)} rows.")
    y = label == "1"
    part = np.arange(len(data)) * clients // len(data)
    return Table(
        name="credit_card",
        x=data[wanted].to_numpy(np.float32),
        y=y,
        features=tuple(wanted),
        key=np.array([f"slice {i + 1}" for i in range(clients)])[part],
        kind=np.where(y, "fraud", "normal"),
    )


def _split_arff(text: str) -> tuple[list[str], str, str]:
    """(lines before @data, the @data line or "", everything after it)."""
    head: list[str] = []
    rest = text
    while rest:
        line, _, rest = rest.partition("\n")
        if line.strip().lower() == "@data":
            return head, line, rest
        head.append(line.strip())
        if len(head) > 1000:  # not an ARFF file: do not walk through megabytes
            break
    return head, "", ""


def covertype(*, progress: bool = True) -> Table:
    """Forest Covertype as an anomaly benchmark: [286048, 10], 2,747 anomalies (0.96%).

    Fetched by scikit-learn, which knows its checksum, into the same cache. See
    `covertype_table`. Raises DownloadError without network. Source: doi.org/10.24432/C50K5N.
    Taught in chapter 02.
    """
    from sklearn.datasets import fetch_covtype

    folder = cache_folder("covertype")
    if progress:
        print(f"Covertype: scikit-learn fetches 11 MB into {folder} unless it is there already.")
    try:
        bunch = fetch_covtype(data_home=str(folder))
    except OSError as error:
        raise DownloadError(
            f"scikit-learn could not fetch Covertype ({error}). Check the network and load again; "
            f"it keeps the data in {folder}, where a copy of the folder `covertype` from another "
            f"machine works too."
        ) from error
    return covertype_table(bunch.data, bunch.target)


def covertype_table(data: np.ndarray, target: np.ndarray) -> Table:
    """The Table of [n, 54] attributes and cover types 1..7, after the ODDS benchmark.

    Normal is type 2 (lodgepole pine), anomaly type 4 (cottonwood/willow), other rows are left
    out; features are the 10 numeric attributes, key is the wilderness area. Raises DataError
    for other shapes.
    """
    if data.ndim != 2 or data.shape[1] != 54 or len(data) != len(target):
        raise DataError(f"covertype: expected [n, 54] and [n], got {data.shape}, {target.shape}.")
    area = data[:, 10:14]
    if not (area.sum(axis=1) == 1).all():
        row = int((area.sum(axis=1) != 1).argmax())
        raise DataError(
            f"covertype, row {row}: columns 10 to 13 name not exactly one wilderness area."
        )
    keep = np.isin(target, (2, 4))
    names = np.array(["Rawah", "Neota", "Comanche Peak", "Cache la Poudre"])
    y = target[keep] == 4
    return Table(
        name="covertype",
        x=data[keep, :10].astype(np.float32),
        y=y,
        features=(
            "elevation", "aspect", "slope", "horizontal_distance_to_hydrology",
            "vertical_distance_to_hydrology", "horizontal_distance_to_roadways", "hillshade_9am",
            "hillshade_noon", "hillshade_3pm", "horizontal_distance_to_fire_points",
        ),
        key=names[area[keep].argmax(axis=1)],
        kind=np.where(y, "cottonwood/willow", "normal"),
    )  # fmt: skip


_BEATS = np.array(["", "normal", "R-on-T", "PVC", "supraventricular", "unclassified"])


def ecg5000(*, progress: bool = True) -> Table:
    """ECG5000: [5000, 140], one heartbeat a row, anomaly = any beat that is not normal (41.6%).

    Raises DownloadError without the file. Source: the UCR archive. Taught in chapter 11.
    """
    folder = cache_folder("ecg5000")
    archive = fetch(ECG5000, folder, progress=progress)
    unpacked = folder / "ECG5000"
    if not unpacked.is_dir():
        safe_extract(archive, unpacked, max_bytes=1 << 28)
    return ecg5000_table(unpacked)


def ecg5000_table(folder: Path) -> Table:
    """The Table of ECG5000_TRAIN and ECG5000_TEST (.txt or .ts) in `folder`, one after the other.

    Beats come from one patient, so there is no client key. The published split trains on 292
    normal beats only, so it is not kept. Raises DataError for a missing or damaged file.
    """
    x, label = [], []
    columns = ["class", *(f"t{i}" for i in range(140))]
    for part in ("TRAIN", "TEST"):
        found = [p for end in ("txt", "ts") for p in sorted(folder.rglob(f"ECG5000_{part}.{end}"))]
        if not found:
            raise DataError(f"{folder} has no ECG5000_{part}.txt or .ts; delete it and load again.")
        path = found[0]
        body, first = (path.read_text(), 1) if path.suffix == ".txt" else _ts_rows(path)
        data = read_table(
            io.StringIO(body), columns, separator=r"\s+", where=str(path), first_line=first
        )
        known = data["class"].isin(range(1, 6)).to_numpy()
        if not known.all():
            line = first + int((~known).argmax())
            raise DataError(f"{path}, line {line}: the class must be 1 to 5.")
        x.append(data[columns[1:]].to_numpy(np.float32))
        label.append(data["class"].to_numpy(dtype=int))
    classes = np.concatenate(label)
    return Table(
        "ecg5000", np.concatenate(x), classes > 1, tuple(columns[1:]), kind=_BEATS[classes]
    )


def _ts_rows(path: Path) -> tuple[str, int]:
    """Rows of a .ts file (values, then ":class") as "class value value ...", and their line."""
    head, mark, body = _split_arff(path.read_text())
    if not mark:
        raise DataError(f"{path} has no @data line; it is not a .ts file.")
    rows = []
    for line in body.splitlines():
        values, _, label = line.strip().rpartition(":")
        rows.append(f"{label} {values.replace(',', ' ')}")
    return "\n".join(rows), len(head) + 2
