"""Whatever somebody's file looks like: a table, or a FedlabError that says where and what to do."""

import csv
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedlab_utils.errors import DataError, FedlabError
from fedlab_utils.pipeline import ColumnMapping, read_csv, suggest_mapping
from fedlab_utils.pipeline.reading import read_cells
from tests.pipeline.own import MAPPING, lines_of, write

CELL = st.one_of(
    st.sampled_from(
        ["", "0", "1", "2.5", "-3e4", "nan", "inf", "1e400", "x", "a,b", 'q"q', "1_0", "1,5", "?"]
    ),
    st.text(max_size=6),
    st.floats(allow_nan=True, allow_infinity=True).map(repr),
)
QUIET = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture]}


def refused(path: Path, mapping: ColumnMapping = MAPPING, **options: str) -> str:
    with pytest.raises(DataError) as caught:
        read_csv(path, mapping, **options)
    return str(caught.value)


def changed(tmp_path: Path, line: int, column: int, cell: str, **options: int) -> Path:
    """The toy file in which one cell is another."""
    rows = lines_of(**options)
    rows[line - 1][column] = cell
    return write(tmp_path / "own.csv", rows)


def test_agrees_with_pandas(tmp_path: Path) -> None:
    path = write(tmp_path / "own.csv", lines_of())
    table, frame = read_csv(path, MAPPING), pd.read_csv(path)
    assert table.numeric_names == ("amount", "hours")
    np.testing.assert_array_equal(table.numeric, frame[["amount", "hours"]].to_numpy())
    np.testing.assert_array_equal(table.categorical[:, 0], frame["kind"].to_numpy(str))
    np.testing.assert_array_equal(table.label, frame["fraud"].to_numpy(bool))
    np.testing.assert_array_equal(table.client, frame["bank"].to_numpy(str))
    np.testing.assert_array_equal(table.lines, np.arange(2, len(frame) + 2))
    assert table.findings == ()
    counts = frame.groupby("bank")["fraud"].agg(["size", "sum"])
    told = table.describe()
    assert told["rows"].tolist() == counts["size"].tolist()
    assert told["anomalies"].tolist() == counts["sum"].tolist()


@given(
    st.lists(st.lists(st.text(max_size=5), min_size=3, max_size=3), min_size=1, max_size=5),
    st.sampled_from([",", ";", "\t", "|"]),
)
@settings(max_examples=60, **QUIET)
def test_cells_and_lines_are_those_of_the_file(
    tmp_path: Path, body: list[list[str]], separator: str
) -> None:
    """What csv.writer writes comes back without the blanks at the ends, whatever the cells are."""
    path = tmp_path / "cells.csv"
    with path.open("w", newline="", encoding="utf-8", errors="replace") as file:
        csv.writer(file, delimiter=separator).writerows([["a", "b", "c"], *body])
    cells = read_cells(path, separator)

    def plain(text: str) -> str:
        text = text.encode("utf-8", "replace").decode()
        return text.replace("\r\n", "\n").replace("\r", "\n").strip()

    kept = [row for row in body if any(row) or len(row) > 1]
    assert [[cells.columns[n][i] for n in "abc"] for i in range(len(cells))] == [
        [plain(cell) for cell in row] for row in kept
    ]
    assert len(path.read_text(encoding="utf-8").rstrip("\n").split("\n")) >= cells.lines[-1] - 1


@given(st.binary(max_size=300))
@settings(max_examples=100, **QUIET)
def test_any_bytes_give_a_table_or_a_clear_error(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "bytes.csv"
    for head in (b"", b"bank,amount,hours,kind,fraud\n"):
        path.write_bytes(head + data)
        with pytest.raises(FedlabError):
            # a few random bytes never have two classes and numbers in all columns
            read_csv(path, MAPPING)


@given(
    st.lists(st.lists(CELL, min_size=5, max_size=5), min_size=1, max_size=30),
    st.sampled_from([None, "fraud"]),
    st.sampled_from([None, "when"]),
)
@settings(max_examples=80, **QUIET)
def test_odd_cells_give_a_table_or_a_clear_error(
    tmp_path: Path, body: list[list[str]], label: str | None, time: str | None
) -> None:
    path = tmp_path / "odd.csv"
    with path.open("w", newline="", encoding="utf-8", errors="replace") as file:
        csv.writer(file).writerows([["bank", "amount", "kind", "fraud", "when"], *body])
    ignore = [name for name in ("fraud", "when") if name not in (label, time)]
    mapping = ColumnMapping("bank", label, time=time, categorical="kind", ignore=ignore)
    for decimal in (".", ","):
        try:
            table = read_csv(path, mapping, decimal=decimal)
        except FedlabError as error:
            assert "odd.csv" in str(error)
        else:
            assert not np.isinf(table.numeric).any() and (table.client != "").all()
            assert (table.label is None) == (label is None)
    suggest_mapping(path, "bank", label=label)


def test_missing_columns_come_with_near_matches(tmp_path: Path) -> None:
    path = write(tmp_path / "own.csv", lines_of())
    text = refused(path, ColumnMapping(client="Banks", label="frod"))
    assert "no column 'Banks' (client=)" in text and "Did you mean 'bank'?" in text
    assert "'frod' (label=)" in text and "'fraud'" in text
    assert "zzz" in refused(path, ColumnMapping(client="bank", ignore=("zzz",)))
    with pytest.raises(DataError, match="Did you mean 'bank'"):
        suggest_mapping(path, "bnk")


def test_cells_that_are_no_numbers_come_with_their_lines(tmp_path: Path) -> None:
    text = refused(changed(tmp_path, 7, 1, "twelve"))
    assert "'amount'" in text and "line 7" in text and "'twelve'" in text
    rows = lines_of()
    for row in rows[1:]:
        row[1:3] = [cell.replace(".", ",") for cell in row[1:3]]
    path = write(tmp_path / "comma.csv", rows, ";")
    assert 'decimal=","' in refused(path)
    table = read_csv(path, MAPPING, decimal=",")
    plain = read_csv(write(tmp_path / "own.csv", lines_of()), MAPPING)
    np.testing.assert_array_equal(table.numeric[:, 0], plain.numeric[:, 0])
    assert "categorical=" in refused(path, ColumnMapping("bank", "fraud"), decimal=",")
    assert 'decimal="."' in refused(write(tmp_path / "own.csv", lines_of()), decimal=",")


@pytest.mark.parametrize("cell", ["inf", "-inf", "1e400", "1e31"])
def test_numbers_beyond_reason_are_named(tmp_path: Path, cell: str) -> None:
    text = refused(changed(tmp_path, 9, 2, cell))
    assert "'hours'" in text and "line 9" in text and cell in text


@pytest.mark.parametrize("cell", ["1_000", "1.000,5", "0x1f", "1 2"])
def test_numbers_of_other_kinds_are_not_guessed(tmp_path: Path, cell: str) -> None:
    assert "line 3" in refused(changed(tmp_path, 3, 1, cell))
    text = refused(changed(tmp_path, 3, 1, f'"{cell}"'), decimal=",")
    assert "'amount'" in text


def test_all_errors_come_at_once(tmp_path: Path) -> None:
    rows = lines_of()
    rows[4][1], rows[5][0], rows[6][4] = "x", "", "maybe"
    text = refused(write(tmp_path / "own.csv", rows))
    assert "3 things" in text
    for part in ("line 5", "no client at line 6", "'maybe'"):
        assert part in text


def test_labels(tmp_path: Path) -> None:
    assert "no label at line 4" in refused(changed(tmp_path, 4, 4, "?"))
    rows = lines_of()
    for row in rows[1:]:
        row[4] = {"0": "fine", "1": "Stolen"}[row[4]]
    path = write(tmp_path / "own.csv", rows)
    assert "anomaly=" in refused(path)
    wanted = ColumnMapping("bank", "fraud", anomaly=["stolen"], categorical=("kind",))
    assert "Did you mean 'Stolen'" in refused(path, wanted)
    right = ColumnMapping("bank", "fraud", anomaly="Stolen", categorical=("kind",))
    assert read_csv(path, right).label.sum() == sum(row[4] == "Stolen" for row in rows)
    for value in "01":
        rows = [[*row[:4], value if i else "fraud"] for i, row in enumerate(lines_of())]
        assert "one class only" in refused(write(tmp_path / "one.csv", rows))


@pytest.mark.parametrize(
    "cells",
    [
        ["2026-01-02", "2026-01-02T13:00:00Z", "2025-12-31 23:59:59"],
        ["17", "18.5", "-3"],
        ["1e3", "2e3", "0"],
    ],
)
def test_times_keep_their_order(tmp_path: Path, cells: list[str]) -> None:
    rows = [["bank", "a", "when"]] + [["x", str(i), cell] for i, cell in enumerate(cells)]
    table = read_csv(write(tmp_path / "t.csv", rows), ColumnMapping("bank", time="when"))
    assert np.argsort(table.time).tolist() == [2, 0, 1]


def test_times_in_a_format_of_their_own(tmp_path: Path) -> None:
    rows = [["bank", "a", "when"], ["x", "1", "31.12.2025"], ["x", "2", "1.1.2026"]]
    path = write(tmp_path / "t.csv", rows)
    assert "time_format=" in refused(path, ColumnMapping("bank", time="when"))
    right = ColumnMapping("bank", time="when", time_format="%d.%m.%Y")
    assert np.diff(read_csv(path, right).time) == [24 * 3600]
    wrong = ColumnMapping("bank", time="when", time_format="%Q")
    assert "time_format='%Q'" in refused(path, wrong)
    rows[2][2] = ""
    assert "line 3" in refused(write(path, rows), right)


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"", "empty"),
        (b"bank,amount\n", "no row"),
        (b"bank,amount,amount\nx,1,2\n", "more than once"),
        (b"bank,amount\nx,1\ny\n", "line 3"),
        (b'bank,amount\n"x,1\n', "quote"),
        (b"bank,amount\n\xe4,1\n", "line 2 is not UTF-8"),
        (b"PK\x03\x04", "packed"),
        (b"\x1f\x8b\x08", "packed"),
    ],
)
def test_files_that_are_no_table(tmp_path: Path, content: bytes, part: str) -> None:
    path = tmp_path / "own.csv"
    path.write_bytes(content)
    assert part in refused(path, ColumnMapping("bank"))


def test_files_that_are_not_there(tmp_path: Path) -> None:
    write(tmp_path / "payments.csv", lines_of())
    assert "Did you mean 'payments.csv'" in refused(tmp_path / "paymnets.csv")
    assert "folder" in refused(tmp_path / "nothing" / "x.csv")
    assert "cannot be read" in refused(tmp_path)
    assert "separator=" in refused(tmp_path / "payments.csv", separator="||")
    assert "decimal=" in refused(tmp_path / "payments.csv", decimal="!")


@pytest.mark.parametrize(
    "options",
    [
        {"label": "bank"},
        {"label": "y", "categorical": ("y",)},
        {"numeric": "a", "ignore": ("a",)},
        {"categories": {"kind": ["a"]}},
        {"categorical": ("kind",), "categories": {"kind": ["a", "a"]}},
        {"categorical": ("kind",), "categories": {"kind": "ab"}},
        {"anomaly": ["1"]},
    ],
)
def test_mappings_that_contradict_themselves(options: dict) -> None:
    with pytest.raises(DataError, match="ColumnMapping"):
        ColumnMapping(client="bank", **options)


def test_leaving_clients_and_columns_out(tmp_path: Path) -> None:
    path = write(tmp_path / "own.csv", lines_of())
    table = read_csv(path, ColumnMapping("bank", "fraud", numeric=("amount",), leave_out="bank 1"))
    assert table.clients == ("bank 0", "bank 2") and len(table) == 120
    text = " ".join(map(str, table.findings))
    assert "bank 1" in text and "not used: hours, kind" in text
    assert "Did you mean 'bank 1'" in refused(path, ColumnMapping("bank", leave_out="bnk 1"))
    everybody = ColumnMapping("bank", leave_out=("bank 0", "bank 1", "bank 2"))
    assert "no row" in refused(path, everybody)
    only = ColumnMapping("bank", "fraud", ignore=("amount", "hours", "kind"))
    assert "could be a feature" in refused(path, only)


def test_missing_values_are_as_told(tmp_path: Path) -> None:
    path = changed(tmp_path, 5, 1, "-99")
    told = ColumnMapping("bank", "fraud", categorical="kind", missing_in={"amount": ["-99"]})
    assert math.isnan(read_csv(path, told).numeric[3, 0])
    assert read_csv(path, MAPPING).numeric[3, 0] == -99
    table = read_csv(changed(tmp_path, 5, 3, "NA"), MAPPING)
    assert table.categorical[3, 0] == ""


def test_suggestions_fit_the_cells(tmp_path: Path) -> None:
    rows = [["", "bank", "name", "n", "x", "kind", "empty"]]
    rows += [
        [str(i), f"b{i % 2}", f"name {i}", str(i % 7), f"{i}.5", "uv"[i % 2], ""] for i in range(50)
    ]
    path = write(tmp_path / "s.csv", rows)
    found = suggest_mapping(path, "bank")
    assert found.numeric == ("n", "x") and found.categorical == ("kind",)
    assert found.ignore == ("(column 1)", "name", "empty")
    assert read_csv(path, found).numeric_names == ("n", "x")
