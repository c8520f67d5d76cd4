"""The figures of chapter 08. As in `figures`, each returns a figure with its alternative text."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fedlab_utils.course.plots import COLOURS, LINES, MARKERS, describe, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fedlab_utils.privacy.he import Packing


def packed_sum(packing: "Packing", terms: Mapping[str, int], slots: int = 3) -> "Figure":
    """Draw the lowest `slots` slots of packed integers, bit by bit, one row for each of `terms`.

    Dark squares are ones; a frame marks each slot. Taught in chapter 08.
    """
    width = packing.slot_bits * slots
    bits = np.array([[value >> i & 1 for i in reversed(range(width))] for value in terms.values()])
    figure, axes = new_figure(width=8.0, height=0.45 * len(terms) + 1.3)
    axes.imshow(bits, aspect="auto", cmap="Greys", vmin=-0.15, vmax=1.2, interpolation="nearest")
    for edge in range(width + 1):
        frame = edge % packing.slot_bits == 0
        colour, line = (COLOURS[1], 2.5) if frame else ("white", 1.0)
        axes.axvline(edge - 0.5, color=colour, linewidth=line, clip_on=not frame)
    for row in range(1, len(terms)):
        axes.axhline(row - 0.5, color="white", linewidth=2)
    axes.set_yticks(range(len(terms)), list(terms))
    middles = [packing.slot_bits * (i + 0.5) - 0.5 for i in range(slots)]
    axes.set_xticks(middles, [f"slot {i + 1}" for i in range(slots)])
    axes.grid(False)
    axes.set(xlabel=f"Bits, {packing.slot_bits} in a slot, the highest left", ylabel="Integer")
    lists = "; ".join(
        f"{name}: " + " ".join("".join(map(str, row.reshape(slots, -1)[i])) for i in range(slots))
        for name, row in zip(terms, bits, strict=True)
    )
    return describe(figure, f"The bits of packed integers, slot by slot. {lists}.")


def what_the_server_sees(plain: np.ndarray, encrypted: bytes, *, client: str) -> "Figure":
    """Draw the numbers of a plain update beside the byte values of its ciphertexts.

    Taught in chapter 08.
    """
    figure, (left, right) = new_figure(width=8.0, height=3.0, columns=2)
    numbers = np.asarray(plain, dtype=float)
    left.hist(numbers, bins=60, color=COLOURS[0])
    left.set(xlabel="Number in the update", ylabel="How often", title="without encryption")
    left.set_yscale("log")
    counts = np.bincount(np.frombuffer(encrypted, dtype=np.uint8), minlength=256)
    right.bar(np.arange(256), counts, width=1.0, color=COLOURS[3])
    right.set(xlabel="Byte value", ylabel="How often", title="with encryption")
    even = counts.sum() / 256
    alt = (
        f"What the server gets from {client}. Left: the numbers of the plain update, with standard "
        f"deviation {numbers.std():.2g}, most of them near {np.median(numbers):.1g}. Right: the "
        f"{counts.sum():,} bytes of the ciphertexts; each byte value occurs {counts.min()} to "
        f"{counts.max()} times, {even:.0f} on average."
    )
    return describe(figure, alt)


def bytes_per_parameter(
    sizes: Sequence[int], curves: Mapping[str, Sequence[float]], *, budget: float | None = None
) -> "Figure":
    """Draw bytes up for each parameter against the size of the model; plain is 4 bytes.

    `budget` draws a line at so many times the plain size. Taught in chapter 08.
    """
    figure, axes = new_figure()
    for i, (name, values) in enumerate(curves.items()):
        axes.loglog(
            list(sizes),
            list(values),
            label=name,
            color=COLOURS[i % len(COLOURS)],
            linestyle=LINES[i % len(LINES)],
            marker=MARKERS[i % len(MARKERS)],
        )
    if budget is not None:
        axes.axhline(4 * budget, color="black", linewidth=1, linestyle=(0, (1, 3)))
        axes.text(sizes[0], 4 * budget * 1.08, f"{budget:g} times plain", fontsize=9)
    axes.set(xlabel="Parameters of the model", ylabel="Bytes up for each parameter")
    axes.legend()
    ends = "; ".join(
        f"{name} from {values[0]:.3g} to {values[-1]:.3g}" for name, values in curves.items()
    )
    alt = (
        f"Bytes that a client sends for each parameter, for models of {sizes[0]:,} to "
        f"{sizes[-1]:,} parameters: {ends}."
    )
    return describe(figure, alt)


def size_and_error(points: Mapping[str, tuple[float, float]], *, budget: float) -> "Figure":
    """Draw settings as points: size of an upload (times plain) and error of the mean.

    A line marks the `budget` of the size. Taught in chapter 08.
    """
    figure, axes = new_figure(height=4.0)
    for i, (name, (size, error)) in enumerate(points.items()):
        colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
        axes.semilogy([size], [error], marker, color=colour, markersize=9, label=name)
    axes.axvline(budget, color="black", linewidth=1, linestyle=(0, (1, 3)))
    axes.set(xlabel="Upload, times plain float32", ylabel="Largest error of the mean")
    axes.set_xlim(0, None)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    listed = "; ".join(
        f"{name} {size:.1f} times and {error:.0e}" for name, (size, error) in points.items()
    )
    return describe(
        figure, f"Upload (times plain) and error of the mean, the budget is {budget:g}: {listed}."
    )
