"""A data set before it is divided, and its division into a federation. Taught in chapter 02."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fedlab_utils.data.federation import Client, Federation, finite_float32
from fedlab_utils.errors import DataError

if TYPE_CHECKING:
    from fedlab_utils.data.partition import Partition

PARTS = ("train", "calibration", "test")


@dataclass(frozen=True)
class Table:
    """One data set in one place.

    Attributes:
        name: the data set.
        x: [n, d] float32 (or [n, T, c] for windows, [n, h, w, c] for images); finite.
        y: [n] bool, True = anomaly.
        features: d names.
        key: [n] str, the natural client of each row, if the data set has one.
        kind: [n] str, "normal" or the kind of anomaly; made from `y` if not given.
        group: [n] str, what a row shows, for dividing rows among clients only (`FewGroups`).
        split: [n] str of "train", "calibration", "test" if the split is given (by time, or
            published); otherwise `make_federation` draws one.

    Raises DataError if the parts do not fit together. Taught in chapter 02.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    features: tuple[str, ...]
    key: np.ndarray | None = None
    kind: np.ndarray | None = None
    split: np.ndarray | None = None
    group: np.ndarray | None = None

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "features", tuple(self.features))
        put(self, "x", finite_float32(self.x, f"table {self.name!r}", self.features))
        put(self, "y", np.asarray(self.y).astype(bool))
        if self.x.ndim < 2 or self.x.shape[-1] != len(self.features):
            raise DataError(
                f"table {self.name!r}: x has shape {self.x.shape}, but {len(self.features)} "
                f"features are named; the last axis must be the features."
            )
        if self.kind is None:
            put(self, "kind", np.where(self.y, "anomaly", "normal"))
        for part in ("y", "key", "kind", "split", "group"):
            values = getattr(self, part)
            if values is not None and len(values) != len(self.x):
                raise DataError(
                    f"table {self.name!r}: {len(self.x)} rows in x, but {len(values)} in {part}."
                )
        if self.split is not None and not np.isin(self.split, PARTS).all():
            raise DataError(f"table {self.name!r}: split may hold only {', '.join(PARTS)}.")


def _check_share(name: str, value: float, below: float = 1.0) -> None:
    if not 0 <= value < below:
        raise DataError(f"{name}={value}: must be at least 0 and less than {below}.")


def _draw_split(
    rows: np.ndarray, table: Table, test: float, calibration: float, rng: np.random.Generator
) -> np.ndarray:
    """Part of each of `rows`: normal rows at random, anomalies all "test"."""
    part = np.full(len(rows), "test", dtype="<U11")
    normal = rng.permutation(np.flatnonzero(~table.y[rows]))
    # A client with a single normal row can still train.
    n_test = min(int(len(normal) * test), max(len(normal) - 1, 0))
    rest = normal[n_test:]
    n_calibration = min(int(len(rest) * calibration), max(len(rest) - 1, 0))
    part[rest[:n_calibration]] = "calibration"
    part[rest[n_calibration:]] = "train"
    return part


def _client(
    name: str, rows: np.ndarray, part: np.ndarray, table: Table, contamination: float,
    rng: np.random.Generator,
) -> Client:  # fmt: skip
    """Training rows are normal but for the contamination; the anomalies left out are not used."""
    assert table.kind is not None
    y = table.y[rows]
    train = rows[(part == "train") & ~y]
    # Unlabelled anomalies slip into training and calibration alike: nobody has looked.
    source = rows[(part != "test") & y] if table.split is not None else rows[y]
    source = rng.permutation(source)
    calibration = rows[(part == "calibration") & ~y]
    wanted = [
        round(len(normal) * contamination / (1 - contamination)) for normal in (train, calibration)
    ]
    if sum(wanted) > len(source):
        raise DataError(
            f"client {name!r}: contamination={contamination} asks for {sum(wanted)} anomalies "
            f"among training and calibration rows, but only {len(source)} can be had. Use a "
            f"smaller contamination."
        )
    in_train, in_calibration = source[: wanted[0]], source[wanted[0] : sum(wanted)]
    test = np.setdiff1d(rows[part == "test"], source[: sum(wanted)])
    x = table.x
    return Client(
        name=name,
        x_train=x[np.sort(np.concatenate([train, in_train]))],
        x_calibration=x[np.sort(np.concatenate([calibration, in_calibration]))],
        x_test=x[test],
        y_test=table.y[test],
        kind_test=table.kind[test],
    )


def make_federation(
    table: Table,
    partition: Partition | None = None,
    *,
    test_fraction: float = 0.4,
    calibration_fraction: float = 0.2,
    contamination: float = 0.0,
    unseen: bool | str = False,
    seed: int = 0,
) -> Federation:
    """Divide a table among clients, then each client's rows into train, calibration and test.

    Rows go to clients first. Then, per client, `test_fraction` of its normal rows are for
    testing, `calibration_fraction` of the rest for thresholds, and what remains for training;
    anomalies are for testing, except that `contamination` of the training and of the calibration
    rows are anomalies nobody has noticed. Where the table brings its own split (by time, or a
    published one), that split is kept and contaminating anomalies come from its early parts.

    Args:
        table: the data set.
        partition: IID, Dirichlet, Quantity or ByKey; None means ByKey if the table has a key,
            otherwise IID(10).
        unseen: True holds the last client out of training, a name holds that one out.

    Raises DataError for shares out of range, unknown names and clients left without rows.
    Taught in chapter 02.
    """
    from fedlab_utils.data.partition import IID, ByKey

    _check_share("test_fraction", test_fraction)
    _check_share("calibration_fraction", calibration_fraction)
    _check_share("contamination", contamination, below=0.5)
    rng = np.random.default_rng([seed, 0x7AB1E])
    if partition is None:
        partition = ByKey() if table.key is not None else IID()
    clients = []
    for name, rows in partition(table, rng).items():
        if table.split is not None:
            part = table.split[rows]
        else:
            part = _draw_split(rows, table, test_fraction, calibration_fraction, rng)
        clients.append(_client(name, rows, part, table, contamination, rng))
    held_out = None
    if unseen:
        names = [c.name for c in clients]
        wanted = names[-1] if unseen is True else unseen
        if wanted not in names:
            raise DataError(f"unseen={wanted!r} is not a client; there are {', '.join(names)}.")
        if len(clients) < 2:
            raise DataError("unseen: a federation of one client cannot hold a client out.")
        held_out = clients.pop(names.index(wanted))
    return Federation(table.name, tuple(clients), table.features, held_out)
