"""The table and the figure of chapter 15: every technique beside the others."""

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from fedlab_utils.course.plots import COLOURS, describe, new_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Column of the table, title of its panel, whether the axis is logarithmic.
_PANELS = (
    ("AP pooled", "AP\n● all, ○ worst", False),
    ("rows found", "Rows found\nat server", False),
    ("members", "Members\nfound (AUC)", False),
    ("fraud missed", "Fraud missed\n● liars, ○ honest", False),
    ("bytes", "kB up\nper round", True),
    ("seconds", "Seconds\nper round", True),
)
_SPREAD = ("AP pooled", "AP worst client", "AP unseen")


def readable(table: "pd.DataFrame") -> "pd.DataFrame":
    """The table of all techniques as text: AP as mean ± deviation, shares in per cent.

    Columns of `table`: "AP pooled", "AP worst client" and "AP unseen", each with its deviation in
    "... std"; "rows found" and "fraud missed" (shares; the latter beside "fraud missed, honest"),
    "members" (an AUC), "bytes", "seconds"; others stay. nan becomes a dash. Taught in chapter 15.
    """
    import pandas as pd

    done = {}
    for name in table.columns:
        values = table[name]
        if name.endswith((" std", ", honest")):
            continue
        if name in _SPREAD:
            pairs = zip(values, table[f"{name} std"], strict=True)
            done[name] = ["–" if v != v else f"{v:.3f} ± {s:.3f}" for v, s in pairs]
        elif name == "fraud missed":
            pairs = zip(table[f"{name}, honest"], values, strict=True)
            done[name] = ["–" if v != v else f"{before:.0%} → {v:.0%}" for before, v in pairs]
        elif name == "rows found":
            done[name] = ["–" if v != v else f"{v:.0%}" for v in values]
        elif name in ("members", "seconds"):
            done[name] = ["–" if v != v else f"{v:.2f}" for v in values]
        elif name == "bytes":
            done[name] = ["–" if v != v else f"{v:,.0f}" for v in values]
        else:
            done[name] = list(values)
    return pd.DataFrame(done, index=table.index)


def everything(table: "pd.DataFrame", *, chance: Mapping[str, float], floor: float) -> "Figure":
    """Draw the numbers of `table` (see `readable`), one row per technique, one panel per column.

    A dash stands where there is no number. The first panel has a line for the AP of an untrained
    model (`floor`) and of guessing (`chance["AP"]`), that of members one for guessing. Beside the
    names stands what the server sees. Taught in chapter 15.
    """
    figure, panels = new_figure(9.6, 0.34 * len(table) + 1.5, columns=len(_PANELS))
    places = np.arange(len(table))
    for axes, (column, title, logarithmic) in zip(panels, _PANELS, strict=True):
        values = table[column].astype(float).to_numpy()
        if column == "bytes":
            values = values / 1000
        _panel(axes, places, values, logarithmic)
        axes.set_title(title, fontsize=9)
        axes.set_ylim(len(table) - 0.5, -0.5)
        axes.set_xlabel(" ")
        axes.set_ylabel(" ")
        axes.set_yticks(places, [""] * len(table))
        axes.tick_params(labelsize=8, length=0)
    first = panels[0]
    for axes, column in ((first, "AP worst client"), (panels[3], "fraud missed, honest")):
        values = table[column].astype(float).to_numpy()
        axes.plot(values, places, "o", color="black", markerfacecolor="white")
    first.axvline(floor, color=COLOURS[3], linestyle="--", linewidth=1.2)
    first.axvline(chance["AP"], color="black", linestyle=":", linewidth=1.2)
    first.set_xlim(0, None)
    panels[2].axvline(chance["members"], color="black", linestyle=":", linewidth=1.2)
    panels[2].set_xlim(0.45, 1.02)
    for axes in (panels[1], panels[3]):
        axes.set_xlim(-0.08, 1.08)
    first.set_yticks(places, [_name(name, row) for name, row in table.iterrows()], fontsize=8)
    first.set_xlabel("-- untrained, ·· guessing", fontsize=8)
    return describe(figure, _words(table, floor, chance))


def _panel(axes: "Axes", places: np.ndarray, values: np.ndarray, logarithmic: bool) -> None:
    """Dots with a stem from the left edge; a dash for nan."""
    there = np.isfinite(values)
    if logarithmic:
        axes.set_xscale("log")
        left = 0.5 * values[there].min()
        axes.set_xlim(left, 2 * values[there].max())
    else:
        left = 0.0
    axes.hlines(places[there], left, values[there], color="#999999", linewidth=1.2)
    axes.plot(values[there], places[there], linestyle="none", marker="o", color=COLOURS[0])
    where = axes.get_yaxis_transform()
    for place in places[~there]:
        axes.text(0.5, place, "–", transform=where, ha="center", va="center", color="#555555")
    axes.grid(axis="y", visible=True)


def _name(name: Hashable, row: "pd.Series[Any]") -> str:
    promise = "" if row["epsilon"] == "none" else f", ε {row['epsilon']}"
    return f"{name}{promise}\nserver: {row['server sees']}"


def _words(table: "pd.DataFrame", floor: float, chance: Mapping[str, float]) -> str:
    parts = []
    for name, row in table.iterrows():
        told = [f"AP {row['AP pooled']:.2f} (worst {row['AP worst client']:.2f})"]
        for column, word, form in (
            ("rows found", "rows found", ".0%"),
            ("members", "members AUC", ".2f"),
            ("fraud missed", "fraud missed", ".0%"),
            ("bytes", "bytes", ",.0f"),
        ):
            if row[column] == row[column]:
                told.append(f"{word} {row[column]:{form}}")
        parts.append(f"{name}: {', '.join(told)}, server sees {row['server sees']}")
    return (
        f"Every technique. An untrained model has AP {floor:.2f}, guessing {chance['AP']:.3f}. "
        + "; ".join(parts)
        + "."
    )
