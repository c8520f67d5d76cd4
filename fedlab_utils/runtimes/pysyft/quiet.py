"""Silence for a library that reports each step on standard output. Taught in chapter 04."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout


@contextmanager
def quiet() -> Iterator[None]:
    """Swallow what PySyft prints and logs below a warning inside a `with` block.

    PySyft reports every step, with paths of temporary folders; in a page that is read later this
    hides what matters. Other threads' output is swallowed too while the block runs.
    """
    logger = logging.getLogger("syft")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
