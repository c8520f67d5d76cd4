"""Clean the outputs of an executed notebook, so that two runs give the same file."""

import re
import sys
from pathlib import Path
from typing import Any

MAX_IMAGE = 100_000  # bytes of one image
MAX_CHAPTER = 1_000_000  # bytes of one notebook

_PROGRESS = re.compile(r"\d+%\|.*\||\d+it \[\d\d:\d\d")
_CELL_FILE = re.compile(r"\S*ipykernel_\d+[/\\]\d+\.py")
_ADDRESS = re.compile(r"\bat 0x[0-9a-f]{6,}")
_WIDGETS = "application/vnd.jupyter.widget-view+json"


def clean(notebook: Any, root: Path) -> None:
    """Remove what changes from run to run: time stamps, progress bars, widgets, paths, addresses.

    `root` is the checkout; paths below it are written relative to it.
    """
    notebook.metadata.pop("widgets", None)
    notebook.metadata["language_info"] = {"name": "python"}  # the kernel adds its exact version
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            kept = (_clean_output(output, root) for output in cell.outputs)
            cell.outputs = _join_streams([output for output in kept if output is not None])


def _clean_output(output: Any, root: Path) -> Any | None:
    if output.output_type == "stream":
        output.text = _clean_text(_last_states(output.text), root)
        return output if output.text.strip() else None
    if output.output_type in ("display_data", "execute_result"):
        if _WIDGETS in output.data:
            return None
        for kind, value in output.data.items():
            if kind.startswith("text/") and isinstance(value, str):
                output.data[kind] = _clean_text(value, root)
    return output


def _last_states(text: str) -> str:
    """Keep what a terminal would show after carriage returns, without any progress bar."""
    lines = (line.rstrip("\r").rsplit("\r", 1)[-1] for line in text.split("\n"))
    return "\n".join(line for line in lines if not _PROGRESS.search(line))


def _clean_text(text: str, root: Path) -> str:
    text = _CELL_FILE.sub("<cell>", text)
    text = _ADDRESS.sub("at 0x…", text)
    text = text.replace(f'"{sys.executable}"', "python").replace(sys.executable, "python")
    text = text.replace(f"{root}/", "").replace(str(root), ".")
    home = str(Path.home())
    return text.replace(home + "/", "~/") if home != "/" else text


def _join_streams(outputs: list[Any]) -> list[Any]:
    """Join neighbouring pieces of one stream: where the kernel cuts it is a matter of timing."""
    joined: list[Any] = []
    for output in outputs:
        last = joined[-1] if joined else None
        if (
            last is not None
            and output.output_type == last.output_type == "stream"
            and output.name == last.name
        ):
            last.text += output.text
        else:
            joined.append(output)
    return joined


def too_big(notebook: Any, text: str) -> list[str]:
    """Return a complaint for each image over 100 kB and for a notebook over 1 MB."""
    complaints = []
    for number, cell in enumerate(notebook.cells, start=1):
        for output in cell.get("outputs", []):
            size = len(output.get("data", {}).get("image/png", "")) * 3 // 4
            if size > MAX_IMAGE:
                complaints.append(
                    f"cell {number}: an image of {size // 1000} kB (at most {MAX_IMAGE // 1000}); "
                    "show it with fedlab_utils.course.show"
                )
    if len(text.encode()) > MAX_CHAPTER:
        complaints.append(f"the notebook has {len(text.encode()) // 1000} kB (at most 1000)")
    return complaints
