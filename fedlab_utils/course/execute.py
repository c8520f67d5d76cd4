"""Execute one notebook in a fresh kernel and measure its seconds and peak memory."""

import contextlib
import copy
import os
import re
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedlab_utils.memory import family_memory

_CELL_TIMEOUT = 1800  # seconds
_POLL = 0.05  # seconds between two looks at the kernel's memory
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
# The last, hidden cell: which files of the package did this chapter use?
_LIST_MODULES = """
import os as _os, sys as _sys
_files = [getattr(m, "__file__", None) for n, m in list(_sys.modules.items())
          if n.split(".")[0] == "fedlab_utils"]
with open(_os.environ["FEDLAB_MODULES"], "w", encoding="utf-8") as _f:
    _f.write("\\n".join(sorted(f for f in _files if f)))
"""


@dataclass(frozen=True)
class Execution:
    """An executed notebook, its wall-clock seconds, its kernel's peak memory [MB] (children
    included) and the package files it imported."""

    notebook: Any
    seconds: float
    memory_mb: float
    modules: tuple[str, ...]


class ChapterFailed(Exception):
    """A cell failed: says chapter, cell number, the cell's source and the error."""

    def __init__(self, chapter: str, number: int, source: str, error: str) -> None:
        numbered = "\n".join(f"    {line}" for line in source.splitlines())
        super().__init__(f"{chapter}, cell {number} failed:\n{numbered}\n\n{_ANSI.sub('', error)}")
        self.chapter, self.number = chapter, number


def execute(
    notebook: Any,
    chapter: str,
    folder: Path,
    *,
    environment: dict[str, str] | None = None,
    progress: Callable[[], object] | None = None,
) -> Execution:
    """Execute a copy of the notebook with this interpreter's kernel, working in `folder`.

    `progress` is called after each cell. Raises ChapterFailed at the first failing cell.
    """
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    work = copy.deepcopy(notebook)
    work.cells.append(nbformat.v4.new_code_cell(_LIST_MODULES))
    at = 0

    def started(cell: Any, cell_index: int) -> None:
        nonlocal at
        at = cell_index

    def ended(cell: Any, cell_index: int) -> None:
        if progress is not None:
            progress()

    client = NotebookClient(
        work,
        timeout=_CELL_TIMEOUT,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
        extra_arguments=["--IPKernelApp.log_level=ERROR"],
        on_cell_start=started,
        on_cell_complete=ended,
    )
    with tempfile.TemporaryDirectory() as scratch:
        listing = Path(scratch) / "modules"
        env = {**os.environ, "PYTHONHASHSEED": "0", "FEDLAB_MODULES": str(listing)}
        env.pop("MPLBACKEND", None)
        # The kernel must find the very package that builds, installed or not.
        package = str(Path(__file__).resolve().parents[2])
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [package, env.get("PYTHONPATH")]))
        begin = time.perf_counter()
        with _PeakMemory(lambda: _kernel_pid(client)) as memory:
            try:
                client.execute(env={**env, **(environment or {})})
            # RuntimeError: the kernel did not start.
            except (CellExecutionError, CellTimeoutError, DeadKernelError, RuntimeError) as error:
                # nbclient puts the cell's source, between two rules, before the traceback.
                text = str(error).rsplit("\n------------------\n", 1)[-1].strip()
                source = work.cells[at].source
                raise ChapterFailed(chapter, at + 1, source, text) from error
        seconds = time.perf_counter() - begin
        modules = tuple(listing.read_text(encoding="utf-8").split())
    work.cells.pop()
    return Execution(work, seconds, memory.peak_mb, modules)


def _kernel_pid(client: Any) -> int | None:
    provisioner = getattr(client.km, "provisioner", None) if client.km is not None else None
    return getattr(provisioner, "pid", None)


def end_children() -> None:
    """Kill this process's kernels, and all that they have started."""
    import psutil

    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            child.kill()


class _PeakMemory:
    """Watch the memory of a process and its children from a thread."""

    def __init__(self, pid: Callable[[], int | None]) -> None:
        self.peak_mb = 0.0
        self._pid = pid
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "_PeakMemory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(_POLL):
            if (pid := self._pid()) is not None:
                self.peak_mb = max(self.peak_mb, family_memory(pid, above=self.peak_mb))
