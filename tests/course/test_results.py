"""Result tables: saved by a chapter under the build, shown as Markdown."""

from pathlib import Path

import pandas as pd
import pytest

from fedlab_utils.course import results
from fedlab_utils.course.results import load_results, markdown_table, results_table, save_results

TABLE = pd.DataFrame(
    {"method": ["local", "federated"], "AP": [0.12345, float("nan")], "seeds": [3, 3]}
)


def test_a_saved_table_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FEDLAB_RESULTS", raising=False)
    save_results("03", "Nothing happens", TABLE)
    monkeypatch.setenv("FEDLAB_RESULTS", str(tmp_path / "new"))
    save_results("03", "Banks: AP", TABLE.set_index("method"), headline=True)
    (record,) = load_results(tmp_path / "new")
    assert record["columns"] == ["method", "AP", "seeds"] and record["headline"]
    assert record["rows"] == [["local", 0.123, 3], ["federated", None, 3]]
    assert (tmp_path / "new" / "03-banks-ap.json").exists()
    assert results_table(record).startswith("**Banks: AP** (chapter 03)\n\n| method ")
    with pytest.raises(ValueError, match="two digits"):
        save_results("3", "x", TABLE)


def test_markdown() -> None:
    text = markdown_table(["a", "n"], [["x|y", 1.0], ["z", None]])
    assert text.splitlines() == [
        "| a    |     n |",
        "| ---- | ----: |",
        "| x\\|y | 1.000 |",
        "| z    |     - |",
    ]
    assert markdown_table(["a"], []).count("\n") == 1


def test_values_become_plain() -> None:
    assert results._plain(pd.Timestamp("2026-01-02")) == "2026-01-02 00:00:00"
    assert results._plain(True) is True and results._plain(None) is None
