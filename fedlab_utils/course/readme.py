"""The blocks of README.md that the build writes: badges, chapters, results."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from fedlab_utils.course.links import Repository
from fedlab_utils.course.results import markdown_table

# The words of the blocks that an edition in another language translates.
COLUMNS = ["Chapter", "Question", "Read", "Run", "Memory", "Open"]
WORDS = [*COLUMNS, "min", "under 1 min", "chapter {number}"]


@dataclass(frozen=True)
class Line:
    """One chapter's line in the README."""

    name: str  # "03_fedavg"
    title: str
    question: str
    minutes_read: int
    seconds: float
    memory_mb: float

    def with_words(self, title: str, question: str) -> "Line":
        """Return the line with another title and question."""
        return replace(self, title=title, question=question)


def run_time(seconds: float) -> str:
    """Say how long a chapter runs, in whole minutes."""
    return "under 1 min" if seconds < 60 else f"{round(seconds / 60)} min"


def memory(megabytes: float) -> str:
    """Say a peak memory in GB with one decimal, at least 0.1."""
    return f"{max(0.1, megabytes / 1000):.1f} GB"


def place(name: str) -> str:
    """Return where a chapter's notebook is, seen from the README."""
    return f"chapters/{name}.ipynb"


def units(text: str, say: Callable[[str], str]) -> str:
    """Translate "under 1 min", or the unit in "25 min"; another text stays."""
    number, _, unit = text.rpartition(" ")
    return f"{number} {say(unit)}" if number.isdigit() else say(text)


def blocks(
    lines: list[Line],
    headlines: list[dict[str, Any]],
    repository: Repository,
    say: Callable[[str], str] = str,
    place: Callable[[str], str] = place,
) -> dict[str, str]:
    """Return the text of each block by its name.

    `headlines` are saved results. `say` translates words, `place` says where a chapter's notebook
    is: an edition in another language has its own.
    """
    rows = [
        [
            f"[{line.title}]({place(line.name)})",
            line.question,
            units(f"{line.minutes_read} min", say),
            units(run_time(line.seconds), say),
            memory(line.memory_mb),
            repository.badges(place(line.name)),
        ]
        for line in lines
    ]
    tables = []
    for number, record in enumerate(headlines):
        chapter = say("chapter {number}").format(number=record["chapter"])
        title = say(record["title"])
        numbers = markdown_table(record["columns"], record["rows"])
        table = f"**{title}** ({chapter})\n\n{numbers}"
        # One table is enough to read a README by; a click opens the others.
        summary = f"<summary>{title} ({chapter})</summary>"
        tables.append(f"<details>\n{summary}\n\n{table}\n\n</details>" if number else table)
    return {
        "badges": repository.badges(place("00_welcome")),
        "chapters": markdown_table([say(column) for column in COLUMNS], rows),
        "results": "\n\n".join(tables),
    }


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
