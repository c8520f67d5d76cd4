"""How much memory a process and its children take."""

from __future__ import annotations

from typing import Any


def family_memory(pid: int, above: float = 0.0) -> float:
    """Megabytes resident in a process and all its children; 0 if one ended while we looked.

    Pages that several of them share count once where the system tells (Linux). That takes some
    milliseconds a process, so the simple sum, which is never smaller, is returned if it is not
    `above` the megabytes that matter to the caller.
    """
    import psutil

    try:
        parent = psutil.Process(pid)
        family = [parent, *parent.children(recursive=True)]
        resident = sum(process.memory_info().rss for process in family) / 1e6
        if len(family) > 1 and resident > above:
            resident = sum(_proportional(process.memory_full_info()) for process in family) / 1e6
        return resident
    except psutil.Error:
        return 0.0


def _proportional(memory: Any) -> int:
    """The bytes of a process with its part of what it shares, or all of it."""
    return getattr(memory, "pss", memory.rss)
