"""Who saw what: every message of a run, counted. Taught in chapter 16."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fedlab_utils.pipeline.running import EDGES, Outcome

if TYPE_CHECKING:
    import pandas as pd

SERVER_SEES_EACH, SERVER_SEES_SUM = "each member's own", "only the sum over the members"


def messages(outcome: Outcome) -> pd.DataFrame:
    """A pandas table of what a member sends and gets: numbers in it, how often, who sees it.

    Numbers are those of the member that told most. Taught in chapter 16.
    """
    import pandas as pd

    prepared, settings = outcome.prepared, outcome.settings
    d = prepared.federation.n_features
    parameters = sum(p.numel() for p in outcome.run.model.parameters())
    masked = SERVER_SEES_SUM if settings.masks else SERVER_SEES_EACH
    told = max(summary.told for summary in prepared.summaries.values())
    rows = [
        ("rows, and for each column how many values there are and their sum; how often frequent "
         "categories occur", told, 1, SERVER_SEES_EACH),
        ("sums and sums of squares of all features, to standardise", 1 + 2 * d, 1,
         SERVER_SEES_EACH),
        ("update of the model" + (", with noise" if settings.epsilon else ""), parameters,
         settings.rounds, masked),
        ("histogram of scores, for the threshold", len(EDGES) + 1, 1, masked),
        ("the model and the threshold, from the server to all members", parameters + 1,
         settings.rounds, "the same"),
    ]  # fmt: skip
    columns = ["message", "numbers", "times", "the server sees"]
    return pd.DataFrame(rows, columns=columns).set_index("message")


def limits(outcome: Outcome) -> list[str]:
    """What the results do not say, in sentences. Taught in chapter 16."""
    prepared, settings = outcome.prepared, outcome.settings
    federation = prepared.federation
    said = [
        "Everything was computed on one machine, from one file. In a consortium the rows stay with "
        "their owners; what would have been sent is counted above.",
        "Local training, the row norm and the isolation forest are comparisons. The central model "
        "and the forest need all rows in one place.",
    ]
    if outcome.guarantee is not None:
        said.append(
            f"Differential privacy of single rows, epsilon {outcome.guarantee.epsilon:.3g} at "
            f"delta {settings.delta:g}, covers the training. It does not cover the counts and sums "
            f"that encode and standardise, the threshold, the choice of settings, or this report."
        )
    else:
        said.append(
            "There is no guarantee about what the model and the sums tell of single rows: that "
            "takes differential privacy (Settings(epsilon=...), chapter 06)."
        )
    if not settings.masks:
        said.append(
            "The server sees each member's update, from which rows can be computed if they are few "
            "(chapters 06 to 08). Settings(masks=True) shows it sums only."
        )
    if prepared.labelled:
        said.append(
            "AP and AUC come from known anomalies. Those that nobody has found count as normal "
            "here, in the training and in the test."
        )
    else:
        said.append(
            "There are no labels, so nobody knows whether the alarms are right. Look at the "
            "highest scores, and note what you find: these notes are your first labels."
        )
    if outcome.table.time is None:
        said.append("Without a time column nothing is known about the model's quality later on.")
    small = [name for name, rows in zip(federation.names, federation.sizes, strict=True)
             if rows < 100]  # fmt: skip
    if small:
        said.append(
            f"{len(small)} member(s) have fewer than 100 rows to train on. Their own results vary "
            f"much, and their sums tell more of each row."
        )
    silent = np.isinf(outcome.thresholds["own threshold"]).sum()
    if silent:
        said.append(
            f"{int(silent)} member(s) have too few rows for a threshold of their own at this alarm "
            f"rate; the federated one serves them."
        )
    return said
