"""The figures of the attacks. As in `figures`, each returns a figure with its alternative text."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fedlab_utils.course.plots import COLOURS, LINES, describe, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fedlab_utils.attacks import AttackScores


def recovered_rows(
    true_rows: np.ndarray,
    recovered: Mapping[str, np.ndarray],
    features: Sequence[str] | None = None,
) -> "Figure":
    """Draw a client's rows [n, d] as a heat map, and below it what each attack recovered [m, d].

    Recovered rows are put in the order of the true rows that they match. Colours are those of
    the true rows' values; what lies beyond them gets the colours at the ends.
    `recovered` maps what was attacked ("plain update", "with masks") to the attack's rows.
    Taught in chapters 06-08.
    """
    from fedlab_utils.attacks import reconstruction_success

    true = np.asarray(true_rows, dtype=float)
    panels = {"the client's rows": true}
    words = []
    for name, rows in recovered.items():
        result = reconstruction_success(true, rows)
        ordered = np.full(true.shape, np.nan)
        held = result.pairs >= 0
        ordered[held] = np.asarray(rows, dtype=float)[result.pairs[held]]
        panels[name] = ordered
        words.append(f"{name}: {result.recovered:.0%} recovered, median error {result.error:.2g}")
    high = 0.3 * len(true) + 0.7
    figure, axes = new_figure(height=high * len(panels) + 0.4, rows=len(panels))
    limit = float(np.abs(true).max())
    for i, (name, values) in enumerate(panels.items()):
        here = axes[i] if len(panels) > 1 else axes
        image = here.imshow(
            values, aspect="auto", cmap="cividis", vmin=-limit, vmax=limit, interpolation="nearest"
        )
        here.set_title(name, fontsize=10, loc="left")
        here.set_yticks(range(len(true)), range(1, len(true) + 1), fontsize=8)
        here.set_ylabel("Row")
        here.set_xticks([])
        here.grid(False)
    here.set_xlabel("Feature")
    if features is not None:
        here.set_xticks(range(len(features)), features, rotation=90, fontsize=7)
    figure.colorbar(image, ax=axes, label="Standardised value", extend="both")
    alt = (
        f"Heat maps of {len(true)} rows with {true.shape[1]} features and of what attacks "
        f"recovered of them. {'; '.join(words)}."
    )
    return describe(figure, alt)


def membership_roc(
    attacks: "Mapping[str, AttackScores]",
    *,
    epsilon: float | None = None,
    delta: float = 0.0,
    lowest: float = 1e-3,
) -> "Figure":
    """Draw ROC curves of membership inference with logarithmic axes, mean of the target models.

    A linear axis hides what matters: whether somebody can be named with few false alarms.
    With `epsilon` the bound that (epsilon, delta)-differential privacy puts on every attack is
    drawn too. Rates below `lowest` are not drawn.
    Source: Carlini et al. 2022, arXiv:2112.03570. Taught in chapters 06-08.
    """
    from fedlab_utils.attacks import tpr_bound

    figure, axes = new_figure(width=5.6, height=4.2)
    words = []
    for i, (name, scores) in enumerate(attacks.items()):
        fpr, tpr = scores.roc()
        # A curve starts at no false alarm at all, which a logarithmic axis does not have.
        axes.plot(
            *(np.maximum(fpr, lowest), np.maximum(tpr, lowest)),
            drawstyle="steps-post",
            label=f"{name} (AUC {scores.auc.mean():.2f})",
            color=COLOURS[i % len(COLOURS)],
            linestyle=LINES[i % len(LINES)],
        )
        words.append(
            f"{name} AUC {scores.auc.mean():.3f}, true positive rate {scores.tpr(0.01).mean():.3f} "
            f"at 1% false positives"
        )
    grid = np.geomspace(lowest, 1, 200)
    axes.plot(grid, grid, color="black", linestyle=":", label="guessing")
    if epsilon is not None:
        bound = tpr_bound(grid, epsilon, delta)
        axes.plot(grid, bound, color="black", label=f"bound at ε = {epsilon:.3g}")
        words.append(f"no attack exceeds {float(tpr_bound(0.01, epsilon, delta)):.3f} there")
    axes.set(
        xscale="log",
        yscale="log",
        xlim=(lowest, 1),
        ylim=(lowest, 1.1),
        xlabel="False positive rate",
        ylabel="True positive rate",
    )
    axes.legend(loc="lower right", fontsize=9)
    return describe(figure, f"ROC curves of membership inference: {'; '.join(words)}.")
