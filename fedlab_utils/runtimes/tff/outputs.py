"""Show another kernel's outputs as those of the current cell. Taught in chapter 05."""

from __future__ import annotations

import sys
from typing import Any


def in_cell(kind: str, content: dict[str, Any]) -> None:
    """Show one output message (of Jupyter's message protocol), live, where the reader is."""
    if kind == "stream":
        stream = sys.stderr if content["name"] == "stderr" else sys.stdout
        stream.write(content["text"])
        stream.flush()
    elif kind in ("display_data", "execute_result", "update_display_data"):
        from IPython.display import publish_display_data

        publish_display_data(
            data=content["data"],
            metadata=content.get("metadata", {}),
            transient=content.get("transient", {}),
            update=kind == "update_display_data",
        )
    elif kind == "clear_output":
        from IPython.display import clear_output

        clear_output(wait=content.get("wait", False))
