"""The table and the figure of chapter 15 say the same, and a dash where nothing was measured."""

import numpy as np
import pandas as pd

from fedlab_utils.course.figures_capstone import everything, readable
from fedlab_utils.course.plots import png

NAN = float("nan")
ROWS = {
    "plain": (0.3, 0.2, 0.25, 1.0, 0.7, 0.98, 0.04, 11_900.0, 0.05, "none", "each update"),
    "noisy": (0.1, 0.05, 0.1, 0.0, 0.5, NAN, NAN, 11_900.0, 0.2, "8, payment", "noise"),
    "alone": (0.28, 0.1, 0.2, NAN, NAN, NAN, NAN, NAN, NAN, "none", "nothing"),
}
COLUMNS = ["AP pooled", "AP worst client", "AP unseen", "rows found", "members", "fraud missed"]
COLUMNS += ["fraud missed, honest", "bytes", "seconds", "epsilon", "server sees"]


def table() -> pd.DataFrame:
    frame = pd.DataFrame(ROWS, index=COLUMNS).T.infer_objects()
    for name in COLUMNS[:3]:
        frame[f"{name} std"] = 0.01
    return frame


def test_readable_gives_spreads_shares_and_dashes() -> None:
    text = readable(table())
    assert text.loc["plain"].to_dict() == {
        "AP pooled": "0.300 ± 0.010",
        "AP worst client": "0.200 ± 0.010",
        "AP unseen": "0.250 ± 0.010",
        "rows found": "100%",
        "members": "0.70",
        "fraud missed": "4% → 98%",
        "bytes": "11,900",
        "seconds": "0.05",
        "epsilon": "none",
        "server sees": "each update",
    }
    assert (text.loc["alone", ["rows found", "members", "fraud missed", "bytes"]] == "–").all()


def test_everything_is_drawn_and_said() -> None:
    figure = everything(table(), chance={"AP": 0.015, "members": 0.5}, floor=0.03)
    words = figure.get_label()
    for part in ("plain: AP 0.30 (worst 0.20)", "rows found 100%", "members AUC 0.70",
                 "fraud missed 98%", "bytes 11,900", "untrained model has AP 0.03", "0.015",
                 "alone: AP 0.28 (worst 0.10), server sees nothing"):  # fmt: skip
        assert part in words, part
    panels = figure.axes
    assert len(panels) == 6
    dots = [line for line in panels[4].lines if line.get_marker() == "o"]
    np.testing.assert_allclose(dots[0].get_xdata(), [11.9, 11.9])
    dashes = [[text.get_text() for text in axes.texts] for axes in panels]
    assert [len(found) for found in dashes] == [0, 1, 1, 2, 1, 1]
    names = [label.get_text() for label in panels[0].get_yticklabels()]
    assert names[1] == "noisy, ε 8, payment\nserver: noise"
    assert len(png(figure)) < 100_000
