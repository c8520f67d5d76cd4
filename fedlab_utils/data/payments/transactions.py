"""The raw payments, one array per column. Taught in chapter 01."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from fedlab_utils.data.payments.config import CATEGORIES, DAY, KINDS

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Transactions:
    """Payments of one or more banks, one array per column, all of length n.

    bank: number of the bank, from 0.  customer: number, unique over all banks.
    time: seconds from the start (negative: the history before day 0; day 0 is a Monday).
    cents: amount in 1/100 currency units.  metres: distance from home.  category: index into
    CATEGORIES.  online: paid from home.  kind: 0 normal, 1 + index into KINDS otherwise.
    Taught in chapter 01.
    """

    bank: np.ndarray
    customer: np.ndarray
    time: np.ndarray
    cents: np.ndarray
    metres: np.ndarray
    category: np.ndarray
    online: np.ndarray
    kind: np.ndarray

    def __len__(self) -> int:
        return len(self.time)

    def take(self, rows: np.ndarray) -> Transactions:
        """The payments at `rows` (indices or mask)."""
        return Transactions(*(getattr(self, f.name)[rows] for f in fields(self)))

    @staticmethod
    def concatenate(parts: list[Transactions]) -> Transactions:
        """All payments of `parts`, in this order."""
        return Transactions(
            *(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Transactions))
        )

    def by_customer(self) -> Transactions:
        """The same payments in the order of customer, then time."""
        # One int64 key sorts faster than lexsort; times span far less than 2**32 seconds.
        return self.take(np.argsort(self.customer * 2**32 + self.time, kind="stable"))

    @property
    def anomaly(self) -> np.ndarray:
        """[n] bool, the truth."""
        return self.kind > 0

    @property
    def kind_names(self) -> np.ndarray:
        """[n] str, "normal" or the anomaly type."""
        return np.array(("normal", *KINDS))[self.kind]

    def to_frame(self) -> pd.DataFrame:
        """A pandas table: amount in currency units, distance in km, day and hour from time."""
        import pandas as pd

        return pd.DataFrame(
            {
                "bank": np.char.add("bank ", (self.bank + 1).astype(str)),
                "customer": self.customer,
                "time": self.time,
                "day": self.time // DAY,
                "hour": self.time % DAY / 3600,
                "amount": self.cents / 100,
                "distance": self.metres / 1000,
                "category": np.array(CATEGORIES)[self.category],
                "online": self.online,
                "anomaly": self.anomaly,
                "kind": self.kind_names,
            }
        )
