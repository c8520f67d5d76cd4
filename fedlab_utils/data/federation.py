"""Clients and the federation they form. Taught in chapter 02."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from fedlab_utils.data.standardise import Scaler, federated_scaler
from fedlab_utils.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


def finite_float32(
    x: np.ndarray, where: str, features: tuple[str, ...] | None = None
) -> np.ndarray:
    """Return `x` as a contiguous float32 array, or say which cell is not a finite number.

    Raises DataError that names `where`, the row and the feature.
    """
    try:
        values = np.ascontiguousarray(x, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{where}: the values are not numbers ({error}). Encode text columns first."
        ) from error
    bad = ~np.isfinite(values)
    if bad.any():
        cell = np.argwhere(bad)[0]
        column = cell[-1] if values.ndim > 1 else 0
        name = features[column] if features and column < len(features) else f"column {column}"
        raise DataError(
            f"{where}: {int(bad.sum())} value(s) are NaN or infinite, the first in row {cell[0]}, "
            f"feature {name!r}. Impute or drop these rows before you build the federation."
        )
    return values


@dataclass(frozen=True)
class Client:
    """One member of a federation. Labels exist for the test rows only.

    Attributes:
        name: what results and errors call this client.
        x_train: [n, d] float32, unlabelled training rows.
        x_calibration: [c, d] float32, unlabelled rows held back to set a threshold.
        x_test: [m, d] float32.
        y_test: [m] bool, True = anomaly.
        kind_test: [m] str, "normal" or the kind of anomaly.

    Raises DataError if the arrays do not fit together, hold NaN or infinite values, or if
    there is no training row. Taught in chapter 02.
    """

    name: str
    x_train: np.ndarray
    x_calibration: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    kind_test: np.ndarray

    def __post_init__(self) -> None:
        if len(self.x_train) == 0:
            raise DataError(
                f"client {self.name!r} has no training rows. Leave it out of the federation, or "
                f"split the data among fewer clients."
            )
        for part in ("x_train", "x_calibration", "x_test"):
            values = finite_float32(getattr(self, part), f"client {self.name!r}, {part}")
            if values.ndim < 2 or values.shape[1:] != np.shape(self.x_train)[1:]:
                raise DataError(
                    f"client {self.name!r}: {part} has shape {values.shape}, x_train has "
                    f"{np.shape(self.x_train)}; the last axes must be the same features."
                )
            object.__setattr__(self, part, values)
        labels = np.asarray(self.y_test)
        if not np.isin(labels, (0, 1)).all():
            raise DataError(
                f"client {self.name!r}: y_test may hold only 0/False (normal) and 1/True (anomaly)."
            )
        object.__setattr__(self, "y_test", labels.astype(bool))
        object.__setattr__(self, "kind_test", np.asarray(self.kind_test, dtype=str))
        if not len(self.x_test) == len(self.y_test) == len(self.kind_test):
            raise DataError(
                f"client {self.name!r}: {len(self.x_test)} test rows, {len(self.y_test)} labels "
                f"and {len(self.kind_test)} kinds; the three must be equally long."
            )

    def scaled(self, scaler: Scaler) -> Client:
        """This client with every row standardised by `scaler`."""
        return replace(
            self,
            x_train=scaler.apply(self.x_train),
            x_calibration=scaler.apply(self.x_calibration),
            x_test=scaler.apply(self.x_test),
        )


def _merge(clients: Iterable[Client], name: str) -> Client:
    parts = list(clients)
    return Client(
        name,
        *(
            np.concatenate([getattr(c, field) for c in parts])
            for field in ("x_train", "x_calibration", "x_test", "y_test", "kind_test")
        ),
    )


@dataclass(frozen=True)
class Federation:
    """Named clients with the same features.

    Attributes:
        name: the data set.
        clients: those that take part in training.
        features: d feature names.
        unseen: a client that never takes part in training; it tests what the model is worth to
            a new member.

    `len(federation)`, iteration and `federation["bank 3"]` work over `clients`.
    Raises DataError for no clients, double names or features that do not match.
    Taught in chapter 02.
    """

    name: str
    clients: tuple[Client, ...]
    features: tuple[str, ...]
    unseen: Client | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "clients", tuple(self.clients))
        object.__setattr__(self, "features", tuple(self.features))
        if not self.clients:
            raise DataError(f"federation {self.name!r} has no clients; it needs at least one.")
        everyone = [c.name for c in self.everyone]
        double = (
            {name for name in everyone if everyone.count(name) > 1}
            if len(set(everyone)) < len(everyone)
            else set()
        )
        if double:
            raise DataError(
                f"federation {self.name!r}: two clients are named {sorted(double)[0]!r}."
            )
        shape = self.clients[0].x_train.shape[1:]
        for client in self.everyone:
            if client.x_train.shape[1:] != shape or shape[-1] != len(self.features):
                raise DataError(
                    f"client {client.name!r} has rows of shape {client.x_train.shape[1:]}, but the "
                    f"federation {self.name!r} has {len(self.features)} features and its first "
                    f"client rows of shape {shape}. Give every client the same columns in the "
                    f"same order."
                )

    @property
    def everyone(self) -> tuple[Client, ...]:
        """The training clients and, last, the unseen one if there is one."""
        return self.clients if self.unseen is None else (*self.clients, self.unseen)

    @property
    def n_features(self) -> int:
        """Number of features d (of channels, for windows)."""
        return len(self.features)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the training clients, in order."""
        return tuple(c.name for c in self.clients)

    @property
    def sizes(self) -> np.ndarray:
        """[K] int64, training rows of each client."""
        return np.array([len(c.x_train) for c in self.clients], dtype=np.int64)

    def __len__(self) -> int:
        return len(self.clients)

    def __iter__(self) -> Iterator[Client]:
        return iter(self.clients)

    def __getitem__(self, name: str) -> Client:
        for client in self.everyone:
            if client.name == name:
                return client
        raise DataError(self._unknown(name))

    def _unknown(self, name: object) -> str:
        return f"federation {self.name!r} has no client {name!r}; it has {', '.join(self.names)}."

    def only(self, names: Iterable[str]) -> Federation:
        """The federation of the named clients alone, in the order given. Raises DataError."""
        wanted = [names] if isinstance(names, str) else list(names)
        by_name = {c.name: c for c in self.clients}
        for name in wanted:
            if name not in by_name:
                raise DataError(self._unknown(name))
        return replace(self, clients=tuple(by_name[name] for name in wanted))

    def pooled(self) -> Client:
        """All clients' rows in one place: what a central party would see."""
        return _merge(self.clients, "pooled")

    def pooled_federation(self) -> Federation:
        """One client that holds everybody's rows; `fit` on it is central training."""
        return replace(self, clients=(self.pooled(),))

    def standardised(self, how: Literal["federated", "own"] = "federated") -> Federation:
        """Give every feature mean 0 and variance 1 on the training rows.

        "federated": one scaler for all, computed from each client's count, sums and sums of
        squares, nothing else leaves a client. "own": each client scales by its own moments (and
        the unseen client by its own, as it would in practice). Taught in chapters 02 and 09.
        """
        if how == "federated":
            scaler = federated_scaler(c.x_train for c in self.clients)
            unseen = None if self.unseen is None else self.unseen.scaled(scaler)
            return replace(
                self, clients=tuple(c.scaled(scaler) for c in self.clients), unseen=unseen
            )
        if how == "own":

            def own(client: Client) -> Client:
                return client.scaled(federated_scaler([client.x_train]))

            unseen = None if self.unseen is None else own(self.unseen)
            return replace(self, clients=tuple(own(c) for c in self.clients), unseen=unseen)
        raise DataError(f"unknown scaler {how!r}; choose 'federated' or 'own'.")

    def flattened(self) -> Federation:
        """Windows or images as plain rows [n, d], for detectors that know no order.

        Features are named by place and channel, such as "3 load" (step 3) or "0,7 ink" (pixel).
        Taught in chapter 11.
        """
        inner = self.clients[0].x_train.shape[1:-1]
        places = [",".join(map(str, place)) + " " for place in np.ndindex(inner)] if inner else [""]

        def flat(client: Client) -> Client:
            parts = ("x_train", "x_calibration", "x_test")
            rows = {part: getattr(client, part) for part in parts}
            width = len(places) * self.n_features
            return replace(client, **{k: v.reshape(len(v), width) for k, v in rows.items()})

        return replace(
            self,
            clients=tuple(flat(c) for c in self.clients),
            features=tuple(place + name for place in places for name in self.features),
            unseen=None if self.unseen is None else flat(self.unseen),
        )

    def __repr__(self) -> str:
        inner = self.clients[0].x_train.shape[1:-1]
        each = "".join(f"{n} x " for n in inner)
        rows = f"{self.sizes.min()}-{self.sizes.max()}" if len(self) > 1 else f"{self.sizes[0]}"
        extra = "" if self.unseen is None else f", unseen {self.unseen.name!r}"
        return (
            f"<Federation {self.name!r}: {len(self)} client(s), {rows} training rows each, "
            f"{each}{self.n_features} features{extra}>"
        )

    def describe(self) -> pd.DataFrame:
        """A pandas table: rows of each client, test anomalies and their share."""
        import pandas as pd

        rows = {
            c.name + (" (unseen)" if c is self.unseen else ""): {
                "training rows": len(c.x_train),
                "calibration rows": len(c.x_calibration),
                "test rows": len(c.x_test),
                "test anomalies": int(c.y_test.sum()),
                "prevalence": c.y_test.mean() if len(c.y_test) else np.nan,
            }
            for c in self.everyone
        }
        return pd.DataFrame.from_dict(rows, orient="index")
