"""Tables of results: chapters save them, the build puts them into the README."""

import json
import math
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

_DIGITS = 3


def save_results(
    chapter: str, title: str, table: "pd.DataFrame", *, headline: bool = False
) -> None:
    """Save a table of results (numbers rounded to 3 decimals) under the chapter's number.

    Written into the folder that the environment variable FEDLAB_RESULTS names, which the build
    sets; elsewhere nothing happens. A `headline` table also goes into the README.
    Raises ValueError if `chapter` is not two digits. Taught in chapter 00.
    """
    if not re.fullmatch(r"\d\d", chapter):
        raise ValueError(f"chapter is {chapter!r}; write its two digits, such as '03'")
    folder = os.environ.get("FEDLAB_RESULTS")
    if not folder:
        return
    default_index = list(table.index) == list(range(len(table)))
    flat = table if default_index else table.reset_index()
    record = {
        "chapter": chapter,
        "title": title,
        "headline": headline,
        "columns": [str(column) for column in flat.columns],
        "rows": [[_plain(value) for value in row] for row in flat.itertuples(index=False)],
    }
    slug = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
    text = json.dumps(record, indent=1, ensure_ascii=False)
    Path(folder).mkdir(parents=True, exist_ok=True)
    (Path(folder) / f"{chapter}-{slug}.json").write_text(text + "\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return round(value, _DIGITS) if math.isfinite(value) else None
    return None if value is None else str(value)


def load_results(folder: Path) -> list[dict[str, Any]]:
    """Read all saved tables of a folder, in the order of chapters and titles."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]


def results_table(record: dict[str, Any]) -> str:
    """Return one saved table as Markdown, its title above it."""
    head = f"**{record['title']}** (chapter {record['chapter']})"
    return f"{head}\n\n{markdown_table(record['columns'], record['rows'])}"


def markdown_table(columns: list[str], rows: list[list[Any]]) -> str:
    """Return a Markdown table; columns of numbers are set to the right."""
    cells = [[_cell(value) for value in row] for row in rows]
    numeric = [
        bool(rows) and all(isinstance(row[i], int | float | None) for row in rows)
        for i in range(len(columns))
    ]
    widths = [
        max(3, len(name), *(len(row[i]) for row in cells)) if cells else max(3, len(name))
        for i, name in enumerate(columns)
    ]

    def line(values: list[str]) -> str:
        padded = (
            value.rjust(width) if right else value.ljust(width)
            for value, width, right in zip(values, widths, numeric, strict=True)
        )
        return "| " + " | ".join(padded) + " |"

    rule = [
        "-" * (w - 1) + ":" if right else "-" * w for w, right in zip(widths, numeric, strict=True)
    ]
    return "\n".join([line(columns), line(rule), *(line(row) for row in cells)])


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    text = f"{value:.{_DIGITS}f}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|")
