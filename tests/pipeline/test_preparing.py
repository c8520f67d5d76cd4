"""Checks, splits and encodings: what is noticed, who trains on what, and what is told for it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedlab_utils.errors import DataError
from fedlab_utils.pipeline import (
    ClientSummary,
    ColumnMapping,
    Encoding,
    OwnTable,
    prepare,
    read_csv,
    split_rows,
)
from fedlab_utils.pipeline.encoding import ABSENT, OTHER
from tests.pipeline.own import MAPPING, lines_of, write


def table_of(tmp_path: Path, rows: list[list[str]], mapping: ColumnMapping = MAPPING) -> OwnTable:
    return read_csv(write(tmp_path / "own.csv", rows), mapping)


def warnings_of(tmp_path: Path, column: list[str], mapping: ColumnMapping) -> str:
    """The findings for the toy file with one more column, "extra"."""
    rows = [[*row, cell] for row, cell in zip(lines_of(), ["extra", *column], strict=True)]
    return "\n".join(map(str, table_of(tmp_path, rows, mapping).findings))


FRAUD = [row[4] == "1" for row in lines_of()[1:]]
N = len(FRAUD)
NUMBER = replace(MAPPING, numeric=None)
TEXT = replace(MAPPING, categorical=("kind", "extra"))


@pytest.mark.parametrize(
    ("column", "mapping", "part"),
    [
        (["7"] * N, NUMBER, "is 7.0 in all rows"),
        ([str(i) for i in range(N)], NUMBER, "looks like an identifier"),
        ([f"id {i}" for i in range(N)], TEXT, "looks like an identifier"),
        (
            ["0" if i % 3 == 2 else str(i % 7) for i in range(N)],
            NUMBER,
            "0 in all rows of 'bank 2'",
        ),
        ([f"city {i % 3}" for i in range(N)], TEXT, "names the client"),
        ([str(i % 3) for i in range(N)], NUMBER, "names the client"),
        ([str(3 * y + i % 2) for i, y in enumerate(FRAUD)], NUMBER, "alone has an AUC of 1.000"),
        ([str(-3 * y + i % 2) for i, y in enumerate(FRAUD)], NUMBER, "alone has an AUC of 1.000"),
        (["" if y else str(i % 5) for i, y in enumerate(FRAUD)], NUMBER, "alone has an AUC"),
        ([f"{'x' if y else 'u'}{i % 2}" for i, y in enumerate(FRAUD)], TEXT, "alone has an AUC"),
        (["" if i % 2 else str(i % 5) for i in range(N)], NUMBER, "missing in 50% of the rows"),
        (["" if i % 3 == 1 else str(i % 5) for i in range(N)], NUMBER, "all rows of bank 1"),
    ],
)
def test_what_is_odd_is_noticed(
    tmp_path: Path, column: list[str], mapping: ColumnMapping, part: str
) -> None:
    found = warnings_of(tmp_path, column, mapping)
    assert part in found and "'extra'" in found and "warning" in found


@pytest.mark.parametrize(
    ("column", "mapping"),
    [
        ([str(i % 7) for i in range(N)], NUMBER),
        ([f"{i / 7:.6f}" for i in range(N)], NUMBER),  # measurements may all differ
        (["uvw"[i * i % 3] + str(i % 2) for i in range(N)], TEXT),
    ],
)
def test_what_is_ordinary_is_not(tmp_path: Path, column: list[str], mapping: ColumnMapping) -> None:
    assert warnings_of(tmp_path, column, mapping) == ""


def test_findings_are_listed_warnings_first(tmp_path: Path) -> None:
    few = replace(MAPPING, numeric=("amount",), leave_out=("bank 2",))
    listed = table_of(tmp_path, [*lines_of(), lines_of()[2]], few).findings_table()
    assert listed["level"].tolist() == ["warning", "note", "note"]
    assert listed["about"].tolist() == ["the file"] * 3
    assert "1 of 121 rows" in listed["what"][0]


def test_a_feature_without_values_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'extra' has no value"):
        warnings_of(tmp_path, [""] * N, NUMBER)


def test_duplicates_and_classes_are_noticed(tmp_path: Path) -> None:
    rows = lines_of()
    rows[9] = list(rows[3])
    assert "1 of 180 rows are equal" in str(table_of(tmp_path, rows).findings[0])
    assert "line 10" in str(table_of(tmp_path, rows).findings[0])
    for row in rows[1:]:
        row[4] = "0" if row[0] == "bank 0" else row[4]
    assert "no known anomaly at bank 0" in "".join(map(str, table_of(tmp_path, rows).findings))
    for row in rows[1:]:
        row[4] = "1" if row[0] == "bank 0" else row[4]
    with pytest.raises(DataError, match="all rows are anomalies at bank 0"):
        table_of(tmp_path, rows)
    turned = [[*row[:4], {"0": "1", "1": "0"}.get(row[4], row[4])] for row in lines_of()]
    assert "90% of the rows are anomalies" in "".join(map(str, table_of(tmp_path, turned).findings))


@given(st.floats(0.1, 0.6), st.floats(0.1, 0.6), st.integers(0, 3), st.booleans(), st.booleans())
@settings(max_examples=25, deadline=None)
def test_splits_keep_clients_time_and_anomalies_apart(
    test: float, calibration: float, seed: int, timed: bool, labelled: bool
) -> None:
    rng = np.random.default_rng(seed)
    n = 300
    table = OwnTable(
        "t",
        MAPPING,
        client=np.array([f"bank {i % 3}" for i in range(n)]),
        numeric=rng.normal(size=(n, 2)),
        numeric_names=("a", "b"),
        categorical=np.empty((n, 0), dtype=str),
        categorical_names=(),
        label=np.arange(n) % 10 == 0 if labelled else None,
        time=rng.integers(0, 40, n).astype(float) if timed else None,
        lines=np.arange(n) + 2,
    )
    split = split_rows(
        table, test_fraction=test, calibration_fraction=calibration, min_rows=1, seed=seed
    )
    again = split_rows(
        table, test_fraction=test, calibration_fraction=calibration, min_rows=1, seed=seed
    )
    np.testing.assert_array_equal(split.part, again.part)
    parts = {name: split.part == name for name in ("train", "calibration", "test")}
    assert sum(p.sum() for p in parts.values()) == n
    if timed:
        assert table.time[parts["train"]].max() < table.time[parts["calibration"]].min()
        assert table.time[parts["calibration"]].max() < table.time[parts["test"]].min()
    else:
        known = np.zeros(n, bool) if table.label is None else table.label
        assert not known[~parts["test"]].any()
        for name in table.clients:
            normal = (table.client == name) & ~known
            assert abs((normal & parts["test"]).sum() - test * normal.sum()) <= 1


def test_thin_clients_are_named(tmp_path: Path) -> None:
    rows = lines_of()
    short = [row for i, row in enumerate(rows) if row[0] != "bank 2" or i < 30]
    table = table_of(tmp_path, short)
    with pytest.raises(DataError, match=r"1 client\(s\) have fewer than 20 .*'bank 2' \(4\)"):
        prepare(table)
    assert prepare(table, unseen="bank 2").federation.unseen.name == "bank 2"
    assert prepare(table, min_rows=4).federation.names == ("bank 0", "bank 1", "bank 2")
    timed = replace(MAPPING, time="when")
    late = lines_of(time=True)
    for row in late[1:]:
        row[5] = "2026-03-01" if row[0] == "bank 2" else row[5]
    with pytest.raises(DataError, match=r"'bank 2' \(0\).*smaller test_fraction"):
        prepare(table_of(tmp_path, late, timed))
    early = lines_of(time=True)
    for i, row in enumerate(early[1:]):
        row[4], row[5] = ("1", "2026-01-01") if i % 10 == 0 else ("0", row[5])
    with pytest.raises(DataError, match="before the test"):
        prepare(table_of(tmp_path, early, timed))


def test_settings_of_a_split_that_make_no_sense(tmp_path: Path) -> None:
    table = table_of(tmp_path, lines_of())
    for wrong in ({"test_fraction": 0.0}, {"calibration_fraction": 1.0}):
        with pytest.raises(DataError, match="fraction"):
            prepare(table, **wrong)
    with pytest.raises(DataError, match="Did you mean 'bank 1'"):
        prepare(table, unseen="bnk 1")
    alone = replace(MAPPING, leave_out=("bank 1", "bank 2"))
    with pytest.raises(DataError, match=r"has 1 client\(s\)"):
        prepare(table_of(tmp_path, lines_of(), alone))


def test_encoding_is_what_all_rows_in_one_place_would_give(tmp_path: Path) -> None:
    """Sums of sums: the federation standardises as a data scientist with all training rows."""
    table = table_of(tmp_path, lines_of())
    prepared = prepare(table, min_count=1)
    split = split_rows(table)
    train = (split.part == "train") & ~table.label
    x = np.concatenate(
        [table.numeric, table.categorical == ["b"], table.categorical == ["a"]], axis=1
    )
    mean, std = x[train].mean(axis=0), x[train].std(axis=0)
    names = prepared.federation.features
    assert set(names) == {"amount", "hours", "kind=a", "kind=b", f"kind={OTHER}"}
    order = [names.index(name) for name in ("amount", "hours", "kind=b", "kind=a")]
    for client in prepared.federation:
        mine = train & (table.client == client.name)
        np.testing.assert_allclose(
            client.x_train[:, order], (x[mine] - mean) / std, rtol=1e-4, atol=1e-5
        )
        tested = (split.part == "test") & (table.client == client.name)
        np.testing.assert_array_equal(client.y_test, table.label[tested])
        np.testing.assert_array_equal(prepared.test_lines[client.name], table.lines[tested])


def test_only_counts_and_sums_of_training_rows_are_told(tmp_path: Path) -> None:
    table = table_of(tmp_path, lines_of())
    split = split_rows(table)
    train = (split.part == "train") & ~table.label
    before = prepare(table)
    for name, summary in before.summaries.items():
        mine = table.rows(train & (table.client == name))
        assert summary.rows == len(mine)
        np.testing.assert_allclose(summary.sums, mine.numeric.sum(axis=0))
        assert summary.told == 1 + 2 * 2 + len(summary.frequent["kind"])
    # Test rows, and the unseen client, change nothing of the encoding.
    other = replace(table, numeric=np.where(train[:, None], table.numeric, 99.0))
    assert prepare(other).encoding == before.encoding
    apart = prepare(table, unseen="bank 1")
    assert set(apart.summaries) == {"bank 0", "bank 2"}
    away = replace(table, numeric=np.where((table.client == "bank 1")[:, None], 7, table.numeric))
    assert prepare(away, unseen="bank 1").encoding == apart.encoding


def test_rare_categories_are_not_told(tmp_path: Path) -> None:
    rows = lines_of()
    rows[2][3], rows[3][3] = "Mrs Miller", ""
    table = table_of(tmp_path, rows)
    told = [ClientSummary.of(table.rows(table.client == name)) for name in table.clients]
    assert all(set(summary.frequent["kind"]) <= {"a", "b"} for summary in told)
    encoding = Encoding.agree(table, told)
    x = encoding.apply(table)
    other = encoding.features.index(f"kind={OTHER}")
    assert np.flatnonzero(x[:, other]).tolist() == [1, 2]
    np.testing.assert_array_equal(x[:, 2:].sum(axis=1), 1)
    assert Encoding.agree(table, told, most=1).categories["kind"] == ("a",)
    all_told = Encoding.agree(table, [ClientSummary.of(table, min_count=1)])
    assert set(all_told.categories["kind"]) == {"a", "b", "Mrs Miller", ABSENT}


def test_public_categories_are_not_asked_for(tmp_path: Path) -> None:
    public = replace(MAPPING, categories={"kind": ("b", "c")})
    table = table_of(tmp_path, lines_of(), public)
    told = ClientSummary.of(table)
    assert told.frequent == {}
    assert Encoding.agree(table, [told]).categories == {"kind": ("b", "c")}


def test_missing_numbers_become_the_mean_and_constants_stay_quiet(tmp_path: Path) -> None:
    rows = lines_of()
    for i, row in enumerate(rows[1:]):
        row[1] = "" if i % 4 == 0 else "0.1"
        row[2] = str(1.7e9 + i % 60)
    federation = prepare(table_of(tmp_path, rows)).federation
    x = np.concatenate([client.x_train for client in federation])
    assert (x[:, 0] == 0).all()  # not the rounding error of 0.1, blown up
    assert abs(x[:, 1].std() - 1) < 1e-3  # and a large offset does not swallow the rest


def test_too_little_to_encode(tmp_path: Path) -> None:
    rows = lines_of()
    with pytest.raises(DataError, match="only one feature"):
        prepare(
            table_of(tmp_path, rows, replace(MAPPING, ignore=("hours", "kind"), categorical=()))
        )
    table = table_of(tmp_path, rows)
    train = split_rows(table).part == "train"
    gone = table.numeric.copy()
    gone[train, 0] = np.nan
    with pytest.raises(DataError, match="'amount' has no value in any row that trains"):
        prepare(replace(table, numeric=gone))
