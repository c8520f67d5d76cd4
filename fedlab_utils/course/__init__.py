"""What the course itself needs: exercise checks, figures with alt text, results, environment check.

Everything is imported on first use, so that `import fedlab_utils` stays light.
"""

from fedlab_utils.lazy import lazy_names

_HOME = {
    "check": "checks",
    "checks": "checks",
    "doctor": "doctor",
    "expect": "expect",
    "figures": "figures",
    "hint": "checks",
    "plots": "plots",
    "results": "results",
    "save_results": "results",
    "show": "plots",
    "show_error": "checks",
    "use_style": "plots",
}
__all__ = list(_HOME)

__getattr__, __dir__ = lazy_names(__name__, _HOME)
