"""Chapters that need more than the ordinary environment, and what to do where it is not there."""

from __future__ import annotations

from typing import Any

from fedlab_utils.runtimes import tff


class Unavailable(Exception):
    """A chapter cannot run here; the message says why and gives the command to run."""


def require(notebook: Any) -> None:
    """Raise Unavailable if the notebook has `%%tff` cells and there is no environment for them."""
    wanted = any("runtimes.tff" in cell.source for cell in notebook.cells)
    if wanted and not tff.status().ready:
        raise Unavailable(f"needs TensorFlow Federated, {tff.status()}")
