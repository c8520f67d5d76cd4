"""The pages that come from the run: the table of chapters, and all results."""

from collections.abc import Mapping
from itertools import groupby
from typing import Any

from fedlab_utils.course import notebook as nb
from fedlab_utils.course import readme
from fedlab_utils.course.build import Course
from fedlab_utils.course.results import load_results, markdown_table


def chapters_table(course: Course, pages: Mapping[str, nb.Notebook]) -> str:
    """Return the table of chapters: question, minutes to read and to run, peak memory.

    `pages` has the executed notebook of each chapter by its name.
    """
    rows = []
    for name, notebook in pages.items():
        seconds, memory_mb = course.state.measured(name) or (None, None)
        rows.append(
            [
                f"[{nb.title(notebook)}](chapters/{name}.ipynb)",
                nb.question(notebook),
                f"{nb.minutes_to_read(notebook)} min",
                "-" if seconds is None else readme.run_time(seconds),
                "-" if memory_mb is None else readme.memory(memory_mb),
            ]
        )
    rows = [[*row[:2], *(value.replace(" ", "\u00a0") for value in row[2:])] for row in rows]
    return markdown_table(["Chapter", "Question", "Read", "Run", "Memory"], rows) + "\n"


def results_page(course: Course, pages: Mapping[str, nb.Notebook]) -> str:
    """Return the page of results: each table that a chapter saved, in the chapters' order."""
    names = {name[:2]: name for name in pages}
    measured = [
        [f"[{nb.title(notebook)}](chapters/{name}.ipynb)", *map(round, figures)]
        for name, notebook in pages.items()
        if (figures := course.state.measured(name)) is not None
    ]
    lines = [
        "# Results\n",
        "Each table below was saved by the cell that computed it, when the chapter was last run; "
        "nothing is typed by hand. AP is the average precision, AUC the area under the ROC curve, "
        "and the prevalence is what a detector without knowledge gets as AP. The number after ± "
        "is the standard deviation over the seeds.\n",
        "Seconds and peak memory are those of the reader's notebook on two cores:\n",
        markdown_table(["Chapter", "Seconds", "Peak memory [MB]"], measured) + "\n",
    ]
    saved = load_results(course.results)
    for number, records in groupby(saved, key=lambda record: record["chapter"]):
        if number not in names:
            continue
        title = nb.title(pages[names[number]])
        lines.append(f"## {title}\n\nFrom [chapter {number}](chapters/{names[number]}.ipynb).\n")
        for record in records:
            lines.append(f"### {record['title']}\n")
            rows = [[_unbroken(value) for value in row] for row in record["rows"]]
            lines.append(markdown_table(record["columns"], rows) + "\n")
    return "\n".join(lines)


def _unbroken(value: Any) -> Any:
    """Keep "0.416 ± 0.037" on one line."""
    return value.replace(" ± ", "\u00a0±\u00a0") if isinstance(value, str) else value
