"""The course's plot style, and `show`, which gives every figure an alternative text."""

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette (https://jfly.uni-koeln.de/color/): told apart by colour-blind readers.
# Ordered from dark to light and back, so that neighbours also differ in grey.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#000000")
LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
HATCHES = ("", "//", "..", "xx", "\\\\", "--", "++")
_DPI = 100
_MAX_BYTES = 100_000


def style() -> dict[Any, Any]:
    """Return the matplotlib settings: colours and line styles that change together."""
    from cycler import cycler

    return {
        "axes.prop_cycle": cycler(color=COLOURS) + cycler(linestyle=LINES),
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "grid.color": "#dddddd",
        "figure.figsize": (7.0, 3.6),
        "figure.dpi": _DPI,
        "figure.constrained_layout.use": True,
        "font.size": 11,
        "legend.frameon": False,
        "lines.linewidth": 1.8,
        "image.cmap": "cividis",
    }


def use_style() -> None:
    """Set the course's style for all later figures of the session. Taught in chapter 00."""
    import matplotlib

    matplotlib.rcParams.update(style())


def new_figure(
    width: float = 7.0, height: float = 3.6, *, rows: int = 1, columns: int = 1
) -> "tuple[Figure, Any]":
    """Return (figure, axes) in the course's style; `width` and `height` in inches.

    The figure does not belong to pyplot, so a notebook shows it once: by `show`.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(style()):
        figure = Figure(figsize=(width, height))
        axes = figure.subplots(rows, columns)
    return figure, axes


def describe(figure: "Figure", alt: str) -> "Figure":
    """Attach the alternative text that `show` will use, and return the figure."""
    figure.set_label(alt)
    return figure


def png(figure: "Figure") -> bytes:
    """Return a figure as a small PNG: at most 256 colours, fewer if it would exceed 100 kB.

    Raises ValueError if even 16 colours do not make it small enough.
    """
    from PIL import Image

    raw = io.BytesIO()
    figure.savefig(raw, format="png", dpi=_DPI)
    image = Image.open(raw).convert("RGB")
    for colours in (256, 64, 16):
        small = io.BytesIO()
        image.quantize(colors=colours).save(small, format="png", optimize=True)
        if small.tell() <= _MAX_BYTES:
            return small.getvalue()
    raise ValueError(
        f"the figure has {small.tell() // 1000} kB, at most {_MAX_BYTES // 1000}: "
        "make it smaller, or draw fewer points"
    )


def show(figure: "Figure", alt: str = "", name: str | None = None) -> None:
    """Show a figure as PNG, together with its alternative text.

    `alt` says in words what the picture shows; the functions of `fedlab_utils.course.figures`
    write one themselves. With `name` the build also keeps the picture as
    chapters/figures/NAME.png. Raises ValueError without an alt text or unlabelled axes.
    Taught in chapter 00.
    """
    from IPython.display import display

    alt = alt or str(figure.get_label())
    if not alt:
        raise ValueError("the figure has no alternative text: show(figure, alt='...')")
    for axes in figure.axes:
        _require_labels(axes)
    data = png(figure)
    _release(figure)
    folder = os.environ.get("FEDLAB_FIGURES")
    if name is not None and folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / f"{name}.png").write_bytes(data)
    display(
        {"image/png": data, "text/plain": f"Figure: {alt}"},
        metadata={"image/png": {"alt": alt}},
        raw=True,
    )
    # Not every viewer reads the metadata, so the words stand below the picture too.
    from html import escape

    words = f"<details><summary>Figure in words</summary>{escape(alt)}</details>"
    display({"text/html": words, "text/plain": ""}, raw=True)


def _require_labels(axes: "Axes") -> None:
    if axes.axison and not (axes.get_xlabel() and axes.get_ylabel()):
        # A colour bar or shared axis has one label only; a panel with neither is an oversight.
        if axes.get_xlabel() or axes.get_ylabel() or axes.get_label() == "<colorbar>":
            return
        raise ValueError("an axis has no label: set_xlabel('...'), set_ylabel('...')")


def _release(figure: "Figure") -> None:
    """Close a figure that pyplot made, or the notebook would show it again without alt text."""
    import sys

    if (pyplot := sys.modules.get("matplotlib.pyplot")) is not None:
        pyplot.close(figure)
