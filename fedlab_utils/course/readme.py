"""The blocks of README.md that the build writes: badges, chapters, results."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedlab_utils.course.links import Repository
from fedlab_utils.course.results import load_results, markdown_table, results_table


@dataclass(frozen=True)
class Line:
    """One chapter's line in the README."""

    name: str  # "03_fedavg"
    title: str
    question: str
    minutes_read: int
    seconds: float
    memory_mb: float


def run_time(seconds: float) -> str:
    """Say how long a chapter runs, in whole minutes."""
    return "under 1 min" if seconds < 60 else f"{round(seconds / 60)} min"


def memory(megabytes: float) -> str:
    """Say a peak memory in GB with one decimal, at least 0.1."""
    return f"{max(0.1, megabytes / 1000):.1f} GB"


def blocks(lines: list[Line], results: Path, repository: Repository) -> dict[str, str]:
    """Return the text of each block by its name."""
    rows = [
        [
            f"[{line.title}](chapters/{line.name}.ipynb)",
            line.question,
            f"{line.minutes_read} min",
            run_time(line.seconds),
            memory(line.memory_mb),
            f"{repository.badges(f'chapters/{line.name}.ipynb')}",
        ]
        for line in lines
    ]
    columns = ["Chapter", "Question", "Read", "Run", "Memory", "Open"]
    headlines = [record for record in load_results(results) if record["headline"]]
    return {
        "badges": repository.badges("chapters/00_welcome.ipynb"),
        "chapters": markdown_table(columns, rows),
        "results": "\n\n".join(
            results_table(record) if number == 0 else _folded(record)
            for number, record in enumerate(headlines)
        ),
    }


def _folded(record: dict[str, Any]) -> str:
    """A table that a click opens: one is enough to read a README by."""
    title = f"{record['title']} (chapter {record['chapter']})"
    return f"<details>\n<summary>{title}</summary>\n\n{results_table(record)}\n\n</details>"


def rewrite(text: str, new: dict[str, str]) -> str:
    """Replace what stands between `<!-- name:begin -->` and `<!-- name:end -->`.

    Raises ValueError if a block's markers are missing.
    """
    for name, block in new.items():
        begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
        head, opened, rest = text.partition(begin)
        _, closed, tail = rest.partition(end)
        if not (opened and closed):
            raise ValueError(f"README.md needs the lines {begin} and {end}")
        text = f"{head}{begin}\n{block}\n{end}{tail}"
    return text
