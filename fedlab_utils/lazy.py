"""Names that a package finds on first use, so that importing it stays quick (PEP 562)."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any


def lazy_names(
    package: str, home: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Make a package's `__getattr__`, and a `__dir__` that lists its `__all__`.

    Args:
        package: the package, `__name__` there.
        home: for each name the module below the package that has it; a module's own name stands
            for the module itself. What was found is kept in the package.
    """
    module = sys.modules[package]

    def look_up(name: str) -> Any:
        if name not in home:
            # The first half is Python's own wording, which tools look for.
            raise AttributeError(
                f"module {package!r} has no attribute {name!r}: it has no name {name!r}, but "
                f"{', '.join(home)}"
            )
        found = importlib.import_module(f"{package}.{home[name]}")
        value = found if home[name] == name else getattr(found, name)
        setattr(module, name, value)
        return value

    return look_up, lambda: sorted(module.__all__)
