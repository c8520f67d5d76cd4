"""From a chapter's source to its two notebooks: the reader's, with stubs, and the solution."""

import ast
import hashlib
import json
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fedlab_utils.course.links import Repository

Notebook = Any  # nbformat.NotebookNode; nbformat is imported where it is used

_BEGIN = re.compile(r"^\s*# BEGIN SOLUTION\s*$")
_END = re.compile(r"^\s*# END SOLUTION\s*$")
_STUB = re.compile(r"^(\s*)# STUB: ?(.*)$")
_PLACEHOLDERS = ("badges", "minutes_read", "minutes_run", "memory")
_KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def split_solution(source: str, where: str) -> tuple[str, str]:
    """Return (reader's, solution) text of an exercise cell.

    Lines between `# BEGIN SOLUTION` and `# END SOLUTION` are the solution. The `# STUB:` lines
    among them are what the reader gets instead; without one, that is `...`.
    Raises ValueError for unbalanced markers or a reader's cell that is not valid Python.
    """
    reader: list[str] = []
    solution: list[str] = []
    stub: list[str] | None = None
    indent = ""
    for line in source.splitlines():
        if _BEGIN.match(line):
            if stub is not None:
                raise ValueError(f"{where}: BEGIN SOLUTION inside a solution")
            stub, indent = [], line[: len(line) - len(line.lstrip())]
        elif _END.match(line):
            if stub is None:
                raise ValueError(f"{where}: END SOLUTION without BEGIN SOLUTION")
            reader += stub or [f"{indent}...  # your turn"]
            stub = None
        elif stub is None:
            reader.append(line)
            solution.append(line)
        elif found := _STUB.match(line):
            stub.append(found[1] + found[2])
        else:
            solution.append(line)
    if stub is not None:
        raise ValueError(f"{where}: BEGIN SOLUTION without END SOLUTION")
    if reader == solution:
        raise ValueError(f"{where}: a cell tagged 'exercise' needs BEGIN SOLUTION and END SOLUTION")
    for text in ("\n".join(reader), "\n".join(solution)):
        try:
            ast.parse(text)
        except SyntaxError as error:
            raise ValueError(f"{where}: {error.msg} (line {error.lineno} of the cell)") from error
    return "\n".join(reader), "\n".join(solution)


def derive(path: Path, repository: Repository, *, solution: bool) -> Notebook:
    """Return the notebook of a chapter source (jupytext percent format), not yet executed.

    Tags of cells: `exercise` (see `split_solution`), `solution` (a cell that only the solution
    has), `colab` (replaced by the cell that prepares Colab; its metadata may name `extras`).
    A cell's id is its metadata `id` if given, else a hash of its source, so inserting a cell
    leaves all other ids as they are. Raises ValueError for a source that breaks the syntax.
    """
    import jupytext
    import nbformat

    parsed = jupytext.reads(path.read_text(encoding="utf-8"), fmt="py:percent")
    cells = []
    used: set[str] = set()
    for number, cell in enumerate(parsed.cells, start=1):
        tags = list(cell.metadata.get("tags", []))
        if "solution" in tags and not solution:
            continue
        digest = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:12]
        cell_id = _unique(cell.metadata.get("id", digest), used)
        source = cell.source
        if "colab" in tags:
            cell_id = _unique("colab", used)
            source = repository.colab_cell(cell.metadata.get("extras", ""))
        elif "exercise" in tags:
            source = split_solution(source, f"{path.name}, cell {number}")[solution]
        new = nbformat.v4.new_code_cell if cell.cell_type == "code" else _new_markdown
        cells.append(new(source, id=cell_id, metadata={"tags": tags} if tags else {}))
    metadata = {"kernelspec": _KERNEL, "language_info": {"name": "python"}}
    return nbformat.v4.new_notebook(cells=cells, metadata=metadata)


def code_digest(path: Path) -> str:
    """Return a hash of a source's code cells and their tags: what its outputs depend on."""
    import jupytext

    parsed = jupytext.reads(path.read_text(encoding="utf-8"), fmt="py:percent")
    cells = [[c.source, dict(c.metadata)] for c in parsed.cells if c.cell_type == "code"]
    return hashlib.sha256(json.dumps(cells, sort_keys=True).encode()).hexdigest()


def take_outputs(new: Notebook, executed: Notebook) -> None:
    """Give the cells of `new` the outputs of the executed notebook with the same code.

    Raises ValueError if the code is not the same.
    """
    ours, theirs = (
        [cell for cell in one.cells if cell.cell_type == "code"] for one in (new, executed)
    )
    if [(c.id, c.source) for c in ours] != [(c.id, c.source) for c in theirs]:
        raise ValueError("the code has changed: the chapter must be executed")
    for cell, old in zip(ours, theirs, strict=True):
        cell.outputs, cell.execution_count = old.outputs, old.execution_count
    new.metadata = executed.metadata


def _new_markdown(source: str, **extra: Any) -> Any:
    import nbformat

    return nbformat.v4.new_markdown_cell(source, **extra)


def _unique(wanted: str, used: set[str]) -> str:
    name, repeat = wanted, 1
    while name in used:
        repeat += 1
        name = f"{wanted}-{repeat}"
    used.add(name)
    return name


def minutes_to_read(notebook: Notebook) -> int:
    """Estimate the minutes to read: 180 words or 12 code lines a minute, 5 for an exercise."""
    words = lines = exercises = 0
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            words += len(cell.source.split())
        else:
            lines += len(code_lines(cell.source))
            exercises += "exercise" in cell.metadata.get("tags", [])
    return 5 * math.ceil((words / 180 + lines / 12 + 5 * exercises) / 5)


def code_lines(source: str) -> list[str]:
    """Return the lines of a code cell that are neither blank nor only a comment."""
    stripped = (line.strip() for line in source.splitlines())
    return [line for line in stripped if line and not line.startswith("#")]


def fill(notebook: Notebook, values: dict[str, str]) -> None:
    """Replace `{{name}}` in the Markdown cells, for badges, minutes_read, minutes_run, memory."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for name in _PLACEHOLDERS:
                if name in values:
                    cell.source = cell.source.replace("{{" + name + "}}", values[name])


def title(notebook: Notebook) -> str:
    """Return the first heading of a notebook, without its marks."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and cell.source.startswith("# "):
            return str(cell.source.splitlines()[0][2:].strip())
    raise ValueError("the chapter has no title: its first Markdown cell must begin with '# '")


def question(notebook: Notebook) -> str:
    """Return the chapter's one-sentence question: the italic line under the title, or ''."""
    for cell in notebook.cells:
        found = re.search(r"^\*([^*].*)\*\s*$", cell.source, flags=re.MULTILINE)
        if cell.cell_type == "markdown" and found:
            return found[1]
    return ""


def same_cells(one: Notebook, other: Notebook) -> bool:
    """Tell whether two notebooks have the same cells (id, type, tags, source)."""

    def keys(notebook: Notebook) -> Iterable[tuple[str, str, list[str], str]]:
        for cell in notebook.cells:
            yield cell.id, cell.cell_type, cell.metadata.get("tags", []), cell.source

    return list(keys(one)) == list(keys(other))
