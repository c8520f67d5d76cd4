"""What the course itself needs: exercise checks, figures with alt text, results, environment check.

Everything is imported on first use, so that `import fedlab_utils` stays light.
"""

import importlib
from typing import Any

_HOME = {
    "check": "checks",
    "hint": "checks",
    "save_results": "results",
    "show": "plots",
    "show_error": "checks",
    "use_style": "plots",
}
_MODULES = ("checks", "doctor", "expect", "figures", "plots", "results")
__all__ = [*_HOME, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
