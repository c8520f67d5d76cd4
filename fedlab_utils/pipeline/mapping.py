"""Which column of a file is what. Taught in chapter 16."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from fedlab_utils.errors import DataError
from fedlab_utils.pipeline.findings import near_matches, some

MISSING = ("", "?", "na", "n/a", "nan", "null", "none", "-")
# Labels that are understood without being told; compared without regard to case.
NORMAL_WORDS = ("0", "0.0", "false", "f", "no", "n", "normal", "ok", "negative")
ANOMALY_WORDS = ("1", "1.0", "true", "t", "yes", "y", "anomaly", "abnormal", "fraud", "positive")


@dataclass(frozen=True)
class ColumnMapping:
    """What each column of a CSV file is. Every column that is used must be in exactly one place.

        ColumnMapping(client="hospital", label="disease", categorical=("sex", "pain"),
                      ignore=("patient",))

    Attributes:
        client: the column that says whose row it is: a bank, a hospital, a machine.
        label: the column with the known anomalies, if there is one. It is used for testing, and to
            keep known anomalies out of training; never as a feature.
        anomaly: values of the label column that mean an anomaly; all others then mean normal.
            None understands 0/1, true/false, yes/no, normal/anomaly.
        time: the column with the time of a row, if there is one: the past then trains and the
            future tests. Numbers, or ISO 8601 dates such as 2026-11-26 14:30.
        time_format: for other dates, as in Python's strptime, such as "%d.%m.%Y".
        numeric: columns of numbers. None means all columns that are in no other place.
        categorical: columns of categories, also those that are coded as numbers.
        categories: column -> its possible values, where they are public. The clients need not tell
            each other which values they have then (see `Encoding`).
        ignore: columns that are not used: identifiers, free text, anything that is known only
            when the label is known.
        leave_out: clients whose rows are not used.
        missing: cells that mean "no value", without regard to case.
        missing_in: column -> further cells that mean "no value" in this feature, such as a blood
            pressure of 0.

    Raises DataError for a column in two places. Taught in chapter 16.
    """

    client: str
    label: str | None = None
    anomaly: Sequence[str] | None = None
    time: str | None = None
    time_format: str | None = None
    numeric: Sequence[str] | None = None
    categorical: Sequence[str] = ()
    categories: Mapping[str, Sequence[str]] = field(default_factory=dict)
    ignore: Sequence[str] = ()
    leave_out: Sequence[str] = ()
    missing: Sequence[str] = MISSING
    missing_in: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("anomaly", "numeric", "categorical", "ignore", "leave_out", "missing"):
            value = getattr(self, name)
            if isinstance(value, str):
                value = (value,)
            if value is not None:
                object.__setattr__(self, name, tuple(str(item) for item in value))
        if self.anomaly is not None and self.label is None:
            raise DataError("ColumnMapping: anomaly= says what a label means, but label= is None.")
        places = self._places()
        for i, (name, place) in enumerate(places):
            if other := [p for n, p in places[:i] if n == name]:
                raise DataError(
                    f"ColumnMapping: the column {name!r} is in {other[0]} and in {place}; a column "
                    f"can be one thing only."
                )
        if unknown := [name for name in self.categories if name not in self.categorical]:
            raise DataError(
                f"ColumnMapping: categories= lists values of {unknown[0]!r}, which is not in "
                f"categorical=."
            )
        for name, values in self.categories.items():
            if isinstance(values, str) or not values or len(set(values)) < len(values):
                raise DataError(
                    f"ColumnMapping: categories of {name!r} must be a list of different values."
                )

    def _places(self) -> list[tuple[str, str]]:
        single = [(n, p) for p in ("client", "label", "time") if (n := getattr(self, p))]
        several = ("numeric", "categorical", "ignore")
        return single + [(name, place) for place in several for name in getattr(self, place) or ()]

    def missing_of(self, name: str) -> tuple[str, ...]:
        """What means "no value" in this column."""
        return (*self.missing, *map(str, self.missing_in.get(name, ())))

    def numeric_of(self, header: Sequence[str]) -> tuple[str, ...]:
        """The columns of numbers in a file with this header; see `numeric`."""
        if self.numeric is not None:
            return tuple(self.numeric)
        taken = {name for name, _ in self._places()}
        return tuple(name for name in header if name not in taken)

    def check(self, header: Sequence[str]) -> None:
        """Raise DataError unless the header has all columns that are named, and a feature.

        A name that is not there comes with those that are similar.
        """
        known = set(header)
        places = self._places() + [(name, "missing_in") for name in self.missing_in]
        absent = [(name, place) for name, place in places if name not in known]
        texts = [
            f"there is no column {name!r} ({place}=).{near_matches(name, header)}"
            for name, place in absent
        ]
        if texts:
            raise DataError(" ".join(texts) + f" The file has {some(list(header))}.")
        if not self.numeric_of(header) and not self.categorical:
            raise DataError(
                "no column is left that could be a feature: all are the client, the label, the "
                "time, or ignored."
            )

    def unused(self, header: Iterable[str]) -> tuple[str, ...]:
        """Columns that are in no place, so are not used: only if `numeric` lists its columns."""
        used = {name for name, _ in self._places()} | set(self.numeric_of(tuple(header)))
        return tuple(name for name in header if name not in used)
