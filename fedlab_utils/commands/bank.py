"""Commands of a bank that scores; none but `calibrate` imports torch. Taught in chapter 14."""

from __future__ import annotations

import csv
import sys
from argparse import Namespace
from pathlib import Path
from typing import IO

import numpy as np

from fedlab_utils.errors import DataError, FedlabError
from fedlab_utils.serving import (
    AlertBudget,
    Calibration,
    Registry,
    Released,
    Scorer,
    StreamScorer,
    read_public_key,
)


def _load(given: Namespace) -> tuple[Scorer, Released, Calibration | None]:
    """The signed model, and the bank's own calibration of this very version."""
    trusted = [read_public_key(Path(path)) for path in given.trust]
    bundle, released = Registry(given.registry).load(
        given.model, trusted, version=given.version, at_least=given.at_least
    )
    own = Calibration.read(Path(given.calibration)) if given.calibration else None
    if own is not None and (own.model, own.version) != (released.name, released.version):
        raise FedlabError(
            f"{given.calibration} is of {own.model} {own.version}, the model is {released.name} "
            f"{released.version}; calibrate again."
        )
    return Scorer(bundle), released, own


def read_rows(file: IO[str], features: tuple[str, ...]) -> np.ndarray:
    """The model's features [n, d] from a CSV with a header; other columns are left out.

    Raises DataError that names the line and the column.
    """
    reader = csv.DictReader(file)
    missing = [name for name in features if name not in (reader.fieldnames or ())]
    if missing:
        raise DataError(f"the file has no column {missing[0]!r} ({len(missing)} missing in all).")
    rows = []
    for line in reader:
        try:
            rows.append([float(line[name]) for name in features])
        except (TypeError, ValueError):
            wrong = next(name for name in features if not _is_number(line[name]))
            raise DataError(
                f"line {reader.line_num}, column {wrong!r}: {line[wrong]!r} is no number."
            ) from None
    return np.array(rows, dtype=np.float64).reshape(-1, len(features))


def _is_number(text: str | None) -> bool:
    try:
        float(text or "")
    except ValueError:
        return False
    return True


def _rows(path: str, features: tuple[str, ...]) -> np.ndarray:
    if path == "-":
        return read_rows(sys.stdin, features)
    with open(path, encoding="utf-8", newline="") as file:
        return read_rows(file, features)


def calibrate(given: Namespace) -> None:
    """Set the bank's own threshold and reference from unlabelled rows."""
    from fedlab_utils.serving import calibrate as on_rows

    scorer, released, _ = _load(given)
    rows = _rows(given.rows, scorer.card.features)
    own = on_rows(scorer, released.version, rows, given.alarm_rate)
    own.write(Path(given.out))
    print(f"{len(rows)} rows: own threshold {own.threshold:.4g}, federated one "
          f"{scorer.card.threshold:.4g}")  # fmt: skip


def score(given: Namespace) -> None:
    """Write a line `score,alarm` for each row."""
    scorer, _, own = _load(given)
    scores = scorer.score(_rows(given.rows, scorer.card.features))
    threshold = scorer.card.threshold if own is None else own.threshold
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(("score", "alarm"))
    writer.writerows((f"{s:.6g}", int(s > threshold)) for s in scores.tolist())


def serve(given: Namespace) -> None:
    """Serve until the process is told to end."""
    import logging

    import uvicorn

    from fedlab_utils.serving.api import Limits, make_app

    scorer, released, own = _load(given)
    token = Path(given.token_file).read_text(encoding="utf-8").strip()
    budget = None if given.alerts_per_day is None else AlertBudget.per_day(given.alerts_per_day)
    stream = StreamScorer(scorer, own, budget, window=given.window)
    limits = Limits()
    app = make_app(stream, released, token, limits)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    print(f"{released.name} {released.version}, signed by {released.signer}", flush=True)
    uvicorn.run(
        app,
        host=given.host,
        port=given.port,
        access_log=False,
        limit_concurrency=limits.at_once,
        timeout_keep_alive=5,
        server_header=False,
        ssl_certfile=given.ssl_certfile,
        ssl_keyfile=given.ssl_keyfile,
    )
