"""Tables of the data sets that come with the course or with scikit-learn.

Every loader returns raw values; `load` standardises. Their datasheets are in datasets/.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np

from fedlab_utils.data.files import dataset_path
from fedlab_utils.data.table import Table
from fedlab_utils.errors import DataError

# What stands in for a value nobody measured: an unremarkable textbook reading, the same for all
# hospitals. A median would tell one hospital about another, and would have to be computed first.
HEART_UNREMARKABLE = {"trestbps": 120.0, "chol": 200.0, "thalch": 150.0, "oldpeak": 0.0, "ca": 0.0}
_HEART_CP = ("typical angina", "atypical angina", "non-anginal", "asymptomatic")
_HEART_ECG = ("normal", "st-t abnormality", "lv hypertrophy")
_HEART_SLOPE = ("upsloping", "flat", "downsloping")
_HEART_THAL = ("normal", "fixed defect", "reversable defect")


def heart(*, columns: Literal["common", "all"] = "common") -> Table:
    """UCI Heart Disease: 920 patients of four hospitals, anomaly = heart disease (55%).

    "common" gives the 10 measurements all hospitals took, as [920, 15] float32 with one-hot
    categories; "all" adds slope, ca and thal, which outside Cleveland are mostly missing,
    [920, 22]. Missing numbers become HEART_UNREMARKABLE, a missing yes/no becomes no, a missing
    resting ECG "normal", a missing slope or thal all zeros; a cholesterol or blood pressure of 0
    counts as missing. key = hospital, kind = "disease 1".."disease 4" as coded in the source.

    Raises DataError for another `columns`. Source: doi.org/10.24432/C52P4X.
    Taught in chapter 02.
    """
    import pandas as pd

    if columns not in ("common", "all"):
        raise DataError(f'heart: columns must be "common" or "all", got {columns!r}.')
    data = pd.read_csv(dataset_path("heart", "heart_disease_uci.csv"))
    # The first Hungarian patient carries the label Cleveland in this copy; UCI's own files have
    # 303 and 294 rows, and this row opens UCI's processed.hungarian.data.
    data.loc[data["id"] == 304, "dataset"] = "Hungary"
    for column in ("chol", "trestbps"):
        data[column] = data[column].mask(data[column] == 0)
    data = data.fillna(HEART_UNREMARKABLE)
    data["restecg"] = data["restecg"].fillna("normal")

    parts: dict[str, np.ndarray] = {"age": data["age"].to_numpy()}
    parts["male"] = (data["sex"] == "Male").to_numpy()
    for column in ("trestbps", "chol", "thalch", "oldpeak"):
        parts[column] = data[column].to_numpy()
    for column in ("fbs", "exang"):
        parts[column] = data[column].isin([True, "TRUE"]).to_numpy()
    encoded = {"cp": _HEART_CP, "restecg": _HEART_ECG}
    if columns == "all":
        parts["ca"] = data["ca"].to_numpy()
        encoded |= {"slope": _HEART_SLOPE, "thal": _HEART_THAL}
    for column, values in encoded.items():
        parts |= {f"{column}={value}": (data[column] == value).to_numpy() for value in values}

    degree = data["num"].to_numpy()
    return Table(
        name="heart",
        x=np.stack([values.astype(np.float32) for values in parts.values()], axis=1),
        y=degree > 0,
        features=tuple(parts),
        key=data["dataset"].to_numpy(dtype=str),
        kind=np.array(["normal", *(f"disease {i}" for i in range(1, 5))])[degree],
    )


def shuttle() -> Table:
    """Statlog Shuttle as an anomaly benchmark: [49097, 9] sensor readings, 7.15% anomalies.

    Normal is the class "Rad Flow"; the rare classes are the anomalies; the class "High" was left
    out by the benchmark's makers. No client key. Source: doi.org/10.24432/C5WS31.
    Taught in chapter 01.
    """
    import pandas as pd

    data = pd.read_csv(dataset_path("shuttle", "shuttle.csv.gz"))
    x = data.drop(columns="anomaly")
    return Table("shuttle", x.to_numpy(np.float32), data["anomaly"].to_numpy(), tuple(x.columns))


def sliding_windows(series: np.ndarray, window: int, stride: int = 1) -> np.ndarray:
    """Windows [n, window] of a series [T]; n = (T - window) // stride + 1. Taught in chapter 11.

    Raises DataError if `window` or `stride` do not fit the series.
    """
    if not 1 <= window <= len(series) or stride < 1:
        raise DataError(
            f"window={window}, stride={stride}: need 1 <= window <= {len(series)} points and a "
            f"stride of at least 1."
        )
    return np.lib.stride_tricks.sliding_window_view(series, window)[::stride]


def internal_bleeding_series() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """UCR InternalBleeding16 as points: training [1200], test [6301], test labels [6301] bool.

    All training points are normal; 12 test points in a row are the anomaly. Source: Wu and Keogh,
    doi.org/10.1109/TKDE.2021.3112126. Taught in chapter 11.
    """
    import pandas as pd

    name = "135_UCR_Anomaly_InternalBleeding16_{}.csv".format
    train = pd.read_csv(dataset_path("internal_bleeding", name("TRAIN")))
    whole = pd.read_csv(dataset_path("internal_bleeding", name("TEST")))
    # The published test file starts with the whole training file: skip that part.
    test = whole[len(train) :]
    before, after = (part["value"].to_numpy(np.float64) for part in (train, test))
    return before, after, test["is_anomaly"].to_numpy(bool)


def internal_bleeding(*, window: int = 64, stride: int = 4) -> Table:
    """UCR InternalBleeding16 cut into windows: x [n, window], anomaly = an anomalous point inside.

    The first 1,200 points have no anomaly: windows of their first 80% are "train", windows of
    the rest "calibration"; "test" are the windows of points 1,200 to 7,500, which hold the one
    anomaly (12 points). No window crosses a border, so no point is in two parts. One series is
    one client (key). With the defaults n = 1,830: 225, 45 and 1,560 windows, 19 of them
    anomalies (1.2% of the test windows).

    Raises DataError for a window that does not fit. Source: Wu and Keogh,
    doi.org/10.1109/TKDE.2021.3112126. Taught in chapter 11.
    """
    train, test, odd = internal_bleeding_series()
    border = int(0.8 * len(train))
    none = np.zeros(len(train), dtype=bool)
    pieces = {
        "train": (train[:border], none[:border]),
        "calibration": (train[border:], none[border:]),
        "test": (test, odd),
    }
    x, y, split = [], [], []
    for part, (values, anomaly) in pieces.items():
        x.append(sliding_windows(values.astype(np.float32), window, stride))
        y.append(sliding_windows(anomaly, window, stride).any(axis=1))
        split += [part] * len(x[-1])
    return Table(
        name="internal_bleeding",
        x=np.concatenate(x),
        y=np.concatenate(y),
        features=tuple(f"t{i}" for i in range(window)),
        key=np.full(len(split), "InternalBleeding16"),
        split=np.array(split),
    )


def digits(
    *,
    anomaly: int | Iterable[int] = 8,
    normal: Iterable[int] | None = None,
    images: bool = False,
) -> Table:
    """scikit-learn's 8 x 8 digits: some digits are the anomaly, others normal; x [n, 64] in 0..16.

    Args:
        anomaly: the digit or digits that count as anomalies.
        normal: the digits that count as normal; None means all others. Digits in neither are
            left out.
        images: keep the pixels in their places: x [n, 8, 8, 1] with the one feature "ink".

    kind = "digit 8" and so on; group = the digit. No client key. Raises DataError for digits
    outside 0..9 or in both groups. Source: doi.org/10.24432/C50P49. Taught in chapters 02 and 11.
    """
    from sklearn.datasets import load_digits

    bad = {anomaly} if isinstance(anomaly, int) else set(anomaly)
    good = set(range(10)) - bad if normal is None else set(normal)
    if not bad or not good or bad & good or not bad | good <= set(range(10)):
        raise DataError(
            f"digits: anomaly={sorted(bad)} and normal={sorted(good)} must be two separate, "
            f"non-empty groups of digits 0 to 9."
        )
    bunch = load_digits()
    keep = np.isin(bunch.target, sorted(bad | good))
    target = bunch.target[keep]
    y = np.isin(target, sorted(bad))
    x = bunch.data[keep].astype(np.float32)
    pixels = tuple(f"pixel {row},{column}" for row in range(8) for column in range(8))
    return Table(
        name="digits",
        x=x.reshape(-1, 8, 8, 1) if images else x,
        y=y,
        features=("ink",) if images else pixels,
        group=target.astype(str),
        kind=np.where(y, np.char.add("digit ", target.astype(str)), "normal"),
    )


def breast_cancer() -> Table:
    """Breast Cancer Wisconsin (Diagnostic): [569, 30], anomaly = malignant (37.3%).

    No client key. Source: doi.org/10.24432/C5DW2B, shipped with scikit-learn.
    Taught in chapter 01.
    """
    from sklearn.datasets import load_breast_cancer

    bunch = load_breast_cancer()
    return Table(
        name="breast_cancer",
        x=bunch.data.astype(np.float32),
        y=bunch.target == 0,
        features=tuple(str(name) for name in bunch.feature_names),
        kind=np.where(bunch.target == 0, "malignant", "normal"),
    )
