"""What is odd in a table, before anything is trained. Taught in chapter 16."""

from __future__ import annotations

import numpy as np

from fedlab_utils.detect.metrics import auc
from fedlab_utils.pipeline.findings import Finding, at_lines, some
from fedlab_utils.pipeline.table import OwnTable

LEAK_AUC = 0.99  # a single feature that ranks this well has probably seen the label
LEAST_TO_JUDGE = 5  # normal rows, and anomalies, for an AUC that means something
DISTINCT_ROWS = 20  # below that, distinct values are no surprise
MANY_MISSING = 0.2


def inspect(table: OwnTable) -> list[Finding]:
    """All checks of a table: values, identifiers, duplicates, labels, clients, missing cells."""
    found = [
        *_without_values(table),
        *_identifiers(table),
        *_client_constants(table),
        *_duplicates(table),
        *_leaks(table),
        *_classes(table),
        *_missing(table),
    ]
    return found


def columns_of(table: OwnTable) -> dict[str, np.ndarray]:
    """Feature name -> values [n]: float64 with nan, or str with ""."""
    parts = {name: table.numeric[:, i] for i, name in enumerate(table.numeric_names)}
    return parts | {name: table.categorical[:, i] for i, name in enumerate(table.categorical_names)}


def present(values: np.ndarray) -> np.ndarray:
    """[n] bool: which values are there."""
    return ~np.isnan(values) if values.dtype.kind == "f" else values != ""


def _without_values(table: OwnTable) -> list[Finding]:
    """Features without any value are errors, constant ones are useless."""
    found = []
    for name, values in columns_of(table).items():
        there = values[present(values)]
        if not len(there):
            text = (
                f"column {name!r} has no value in any row. Put it into ignore=, or look for what "
                f"stands for missing values."
            )
            found.append(Finding("error", name, text))
        elif len(there) == len(values) and (there == there[0]).all():
            text = (
                f"column {name!r} is {there[0]} in all rows: it says nothing. Put it into ignore=."
            )
            found.append(Finding("warning", name, text))
    return found


def _identifiers(table: OwnTable) -> list[Finding]:
    """Columns in which every value occurs once: names, numbers of rows or of cases."""
    found = []
    for name, values in columns_of(table).items():
        there = values[present(values)]
        number = values.dtype.kind == "f"
        if number and not np.equal(np.mod(there, 1), 0).all():
            continue  # measurements with decimals are often all different
        if len(there) >= DISTINCT_ROWS and len(np.unique(there)) == len(there):
            text = (
                f"column {name!r} has another value in every row: it looks like an identifier. It "
                f"says who a row is about, and nothing about how odd it is: put it into ignore=."
            )
            found.append(Finding("warning", name, text))
    return found


def _client_constants(table: OwnTable) -> list[Finding]:
    """Columns that name the client, and numbers that are the same in all rows of a client."""
    found = []
    groups = {name: table.client == name for name in table.clients}
    for name, values in columns_of(table).items():
        each = {client: np.unique(values[rows]) for client, rows in groups.items()}
        single = {client: own[0] for client, own in each.items() if len(own) == 1}
        if len(set(single.values())) > 1 and len(single) == len(groups):
            text = (
                f"column {name!r} is the same in all rows of a client, and differs between "
                f"clients: it names the client and tells nothing else. Put it into ignore=."
            )
            found.append(Finding("warning", name, text))
        elif values.dtype.kind == "f" and len(single) < len(groups):
            long = [c for c, v in single.items() if groups[c].sum() >= DISTINCT_ROWS and v == v]
            for client in long:
                text = (
                    f"column {name!r} is {single[client]:g} in all rows of {client!r}, and varies "
                    f"elsewhere. Does it stand for a value that was not measured? Then say "
                    f"missing_in={{{name!r}: [...]}}."
                )
                found.append(Finding("warning", name, text))
    return found


def _duplicates(table: OwnTable) -> list[Finding]:
    """Rows that are equal to an earlier row of the same client, in everything that is used."""
    import pandas as pd

    parts = [pd.DataFrame(table.numeric), pd.DataFrame(table.categorical)]
    for values in (table.client, table.label, table.time):
        if values is not None:
            parts.append(pd.DataFrame(values))
    again = pd.concat(parts, axis=1).duplicated().to_numpy()
    if not again.any():
        return []
    text = (
        f"{int(again.sum())} of {len(table)} rows are equal to an earlier row "
        f"({at_lines(table.lines[again])}). One may be in training and its twin in the test, which "
        f"flatters every detector. If they are copies, delete them."
    )
    return [Finding("warning", "", text)]


def _leaks(table: OwnTable) -> list[Finding]:
    """Features that rank the anomalies almost perfectly all by themselves."""
    y = table.label
    if y is None or min(y.sum(), (~y).sum()) < LEAST_TO_JUDGE:
        return []
    found = []
    for name, values in columns_of(table).items():
        best = max(_single_auc(values, y))
        if best > LEAK_AUC:
            text = (
                f"column {name!r} alone has an AUC of {best:.3f}: does it know the label? A value "
                f"that is filled in after an anomaly was found is not there when you need it: put "
                f"it into ignore=. (If it really is that easy, you need no model.)"
            )
            found.append(Finding("warning", name, text))
    return found


def _single_auc(values: np.ndarray, y: np.ndarray) -> list[float]:
    """AUCs of one feature: high values, low values, missing values as signs of an anomaly."""
    there = present(values)
    found = [auc(y, ~there), auc(y, there)] if not there.all() else []
    if values.dtype.kind == "f":
        x, labels = values[there], y[there]
        if labels.any() and not labels.all() and min(labels.sum(), (~labels).sum()) >= 5:
            up = auc(labels, x)
            found += [up, 1 - up]
        return found or [0.5]
    # A category's sign is its share of anomalies. One that occurs once would know its own label.
    kinds, code, count = np.unique(values, return_inverse=True, return_counts=True)
    rate = np.bincount(code, weights=y, minlength=len(kinds)) / count
    rate[count == 1] = y.mean()
    return [*found, auc(y, rate[code])]


def _classes(table: OwnTable) -> list[Finding]:
    """Clients with one class only have no AP or AUC of their own."""
    if table.label is None:
        return []
    groups = {name: table.label[table.client == name] for name in table.clients}
    clean = [name for name, y in groups.items() if not y.any()]
    full = [name for name, y in groups.items() if y.all()]
    found = []
    if clean:
        text = (
            f"no known anomaly at {some(clean)}: there the detector cannot be tested, so AP and "
            f"AUC are not defined and the client is not in the mean or the worst."
        )
        found.append(Finding("warning", clean[0], text))
    if full:
        text = (
            f"all rows are anomalies at {some(full)}: nothing is left to train on. Is the label "
            f"turned around? Otherwise name the client in leave_out=."
        )
        found.append(Finding("error", full[0], text))
    share = float(table.label.mean())
    if share > 0.5:
        text = (
            f"{share:.0%} of the rows are anomalies. A detector of rare things takes the frequent "
            f"ones for normal: is the label turned around?"
        )
        found.append(Finding("warning", table.mapping.label or "", text))
    return found


def _missing(table: OwnTable) -> list[Finding]:
    """Features of which much is missing, and clients that do not have a feature at all."""
    found = []
    for name, values in columns_of(table).items():
        there = present(values)
        share = 1 - there.mean()
        without = [c for c in table.clients if not there[table.client == c].any()]
        if not there.any() or (share <= MANY_MISSING and not without):
            continue
        text = f"column {name!r} is missing in {share:.0%} of the rows"
        if without:
            text += f", and in all rows of {some(without)}"
        text += (
            ". A missing number becomes the mean of all clients, which is never odd; a missing "
            "category becomes one of its own if it is frequent."
        )
        found.append(Finding("warning", name, text))
    return found
