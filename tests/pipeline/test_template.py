"""The notebook of chapter 16 runs on another file if its one cell is changed, and only that."""

from pathlib import Path

import jupytext
import matplotlib
import pytest

from tests.pipeline.own import lines_of, write

SOURCE = Path(__file__).resolve().parents[2] / "chapters" / "src" / "16_your_own_data.py"
MINE = """
path, mapping, unseen = {path!r}, {mapping}, None
client, label, time = "bank", {label!r}, {time!r}
local = fl.SGD(lr=0.05, momentum=0.9, batch_size=16)
settings = pipeline.Settings(rounds=2, local=local, alarm_rate=0.1, masks=True)
title, report_path = "Mine", Path({report!r})
"""


@pytest.mark.parametrize("label", ["fraud", None])
def test_one_cell_makes_it_the_readers_own(label: str | None, tmp_path: Path) -> None:
    matplotlib.use("agg")
    path = write(tmp_path / "mine.csv", lines_of(label=label is not None, time=label is None))
    report = str(tmp_path / "mine.html")
    time = "when" if label is None else None
    mine = MINE.format(path=str(path), mapping=None, label=label, time=time, report=report)
    space: dict = {"__name__": "template"}
    for cell in jupytext.reads(SOURCE.read_text(encoding="utf-8"), fmt="py:percent").cells:
        if "## 16.11" in cell.source:  # from here on other files are shown
            break
        if cell.cell_type == "code" and "colab" not in cell.metadata.get("tags", []):
            source = mine if cell.metadata.get("id") == "own-data" else cell.source
            exec(compile(source, "cell", "exec"), space)
    page = Path(report).read_text(encoding="utf-8")
    assert "mine.csv" in page and "bank 2" in page and "Cleveland" not in page
    assert ("mean ± deviation" in page) == (label is not None)
