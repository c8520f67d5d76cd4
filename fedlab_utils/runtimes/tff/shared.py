"""The one kernel that a notebook's `%%tff` cells and `fit_tff` share. Taught in chapter 05."""

from __future__ import annotations

from fedlab_utils.runtimes.tff.kernel import TffKernel

_shared: list[TffKernel] = []


def shared_kernel() -> TffKernel:
    """The kernel of this process's `%%tff` cells, started if it is not running.

    Raises as TffKernel.
    """
    if not (_shared and _shared[0].alive):
        stop_shared_kernel()
        _shared.append(TffKernel())
    return _shared[0]


def stop_shared_kernel() -> bool:
    """Stop the shared kernel; tell whether one was running."""
    running = bool(_shared and _shared[0].alive)
    while _shared:
        _shared.pop().stop()
    return running
