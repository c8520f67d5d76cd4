"""What students hand in: a folder, a zip file or a notebook each, read as data and not trusted."""

import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from fedlab_utils.errors import FedlabError

_MAX_NOTEBOOK = 20_000_000  # bytes
_MAX_NOTEBOOKS = 30
_MAX_CELLS = 2000


@dataclass(frozen=True)
class Notebook:
    """The code cells of one notebook, in order."""

    name: str
    sources: list[str]


@dataclass(frozen=True)
class Submission:
    """One student's notebooks, and what could not be read, in words."""

    student: str
    notebooks: tuple[Notebook, ...]
    problems: tuple[str, ...]


def submissions(folder: Path) -> list[Submission]:
    """Read every student's work in a folder: one subfolder, zip file or notebook for each.

    The name of the subfolder or file is the student's. Links are not followed. Raises FedlabError
    if the folder is missing or empty.
    """
    if not folder.is_dir():
        raise FedlabError(f"{folder} is no folder: give the one that holds the submissions.")
    entries = [entry for entry in sorted(folder.iterdir()) if not entry.name.startswith(".")]
    found = [_read(entry) for entry in entries if _is_submission(entry)]
    if not found:
        raise FedlabError(
            f"{folder} holds no submissions: put a folder, a zip file or a notebook into it for "
            f"each student."
        )
    names = [one.student for one in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise FedlabError(f"{folder}: two submissions have the same name: {', '.join(twice)}.")
    return found


def _is_submission(entry: Path) -> bool:
    return not entry.is_symlink() and (entry.is_dir() or entry.suffix in (".zip", ".ipynb"))


def _read(entry: Path) -> Submission:
    notebooks: list[Notebook] = []
    problems: list[str] = []
    try:
        for name, size, data in _files(entry):
            if len(notebooks) == _MAX_NOTEBOOKS:
                problems.append(f"more than {_MAX_NOTEBOOKS} notebooks: the rest was not read")
                break
            if size > _MAX_NOTEBOOK:
                problems.append(f"{name}: {size // 1_000_000} MB are too much for a notebook")
                continue
            try:
                notebooks.append(Notebook(name, code_cells(data())))
            except ValueError as error:
                problems.append(f"{name}: {error}")
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        problems.append(f"{entry.name} cannot be read: {error}")
    student = entry.stem if entry.is_file() else entry.name
    return Submission(student, tuple(notebooks), tuple(problems))


def _files(entry: Path) -> Iterator[tuple[str, int, Any]]:
    """The notebooks of an entry: name, size in bytes, and a function that reads it."""
    if entry.suffix == ".zip" and entry.is_file():
        with zipfile.ZipFile(entry) as archive:
            for info in archive.infolist():
                if not info.is_dir() and _wanted(PurePosixPath(info.filename).parts):
                    # The size that the archive states may be a lie: no more than that is read.
                    yield info.filename, info.file_size, lambda info=info: _member(archive, info)
        return
    # rglob follows no links to folders.
    paths = [entry] if entry.is_file() else sorted(entry.rglob("*.ipynb"))
    for path in paths:
        inside = path.relative_to(entry.parent).parts
        if path.is_file() and not path.is_symlink() and _wanted(inside):
            yield "/".join(inside), path.stat().st_size, path.read_bytes


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    with archive.open(info) as file:
        return file.read(_MAX_NOTEBOOK)


def _wanted(parts: tuple[str, ...]) -> bool:
    hidden = (part.startswith((".", "__MACOSX")) for part in parts if part not in (".", ".."))
    return parts[-1].endswith(".ipynb") and not any(hidden)


def code_cells(data: bytes) -> list[str]:
    """Return the sources of a notebook's code cells. Raises ValueError if it is no notebook."""
    try:
        cells = json.loads(data)["cells"]
        sources = [_source(cell) for cell in cells if cell.get("cell_type") == "code"]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise ValueError("this is not a notebook of format 4") from None
    if len(sources) > _MAX_CELLS:
        raise ValueError(f"{len(sources)} code cells are too many")
    return sources


def _source(cell: dict[str, Any]) -> str:
    source = cell["source"]
    return source if isinstance(source, str) else "".join(source)


def safe_text(text: str, length: int = 500) -> str:
    """Return a text that no spreadsheet takes for a formula and no terminal for a command."""
    plain = re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", "?", text)[:length]
    return f"'{plain}" if plain[:1] in ("=", "+", "-", "@", "\t") else plain
