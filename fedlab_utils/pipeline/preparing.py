"""From a checked table to a federation, by messages that are written down. Taught in chapter 16."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fedlab_utils.data.federation import Federation
from fedlab_utils.data.table import Table, make_federation
from fedlab_utils.errors import DataError
from fedlab_utils.pipeline.encoding import ClientSummary, Encoding
from fedlab_utils.pipeline.findings import Finding, near_matches, refuse_errors
from fedlab_utils.pipeline.splitting import split_rows
from fedlab_utils.pipeline.table import OwnTable


@dataclass(frozen=True, eq=False)
class Prepared:
    """Somebody's data as a federation.

    Attributes:
        federation: standardised; the labels are all False where there are none.
        labelled: whether there are labels.
        encoding: how rows became numbers.
        summaries: member -> what it told for that.
        test_lines: client -> [m] line of the file of each of its test rows.
        findings: how the rows were divided, and what is thin.
    """

    federation: Federation
    labelled: bool
    encoding: Encoding
    summaries: Mapping[str, ClientSummary]
    test_lines: Mapping[str, np.ndarray]
    findings: tuple[Finding, ...]


def prepare(
    table: OwnTable,
    *,
    unseen: str | None = None,
    test_fraction: float = 0.4,
    calibration_fraction: float = 0.2,
    min_rows: int = 20,
    min_count: int = 10,
    seed: int = 0,
) -> Prepared:
    """Split, encode and standardise a table; everything is learned from training rows of members.

    Args:
        unseen: a client that takes no part in anything but the test.
        test_fraction, calibration_fraction, min_rows: see `split_rows`.
        min_count: rows of a client that must have a category before the client names it.
        seed: fixes a random split.

    Raises DataError for fewer than two members, and as `split_rows` and `Encoding.agree` do.
    Taught in chapter 16.
    """
    names = table.clients
    if unseen is not None and unseen not in names:
        raise DataError(
            f"{table.source}: unseen={unseen!r} is no client.{near_matches(unseen, names)}"
        )
    members = [name for name in names if name != unseen]
    if len(members) < 2:
        raise DataError(
            f"{table.source}: the column {table.mapping.client!r} has {len(members)} client(s) to "
            f"train with; a federation needs two or more."
        )
    split = split_rows(
        table,
        test_fraction=test_fraction,
        calibration_fraction=calibration_fraction,
        min_rows=min_rows,
        unseen=unseen,
        seed=seed,
    )
    refuse_errors(table.source, split.findings)
    known = np.zeros(len(table), dtype=bool) if table.label is None else table.label
    train = (split.part == "train") & ~known
    summaries = {
        name: ClientSummary.of(table.rows(train & (table.client == name)), min_count)
        for name in members
    }
    encoding = Encoding.agree(table, list(summaries.values()))
    whole = Table(
        name=table.source,
        x=encoding.apply(table),
        y=known,
        features=encoding.features,
        key=table.client,
        split=split.part,
    )
    federation = make_federation(whole, unseen=unseen or False, seed=seed).standardised()
    tested = split.part == "test"
    lines = {name: table.lines[tested & (table.client == name)] for name in names}
    findings = table.findings + split.findings
    return Prepared(federation, table.label is not None, encoding, summaries, lines, findings)
