"""One HTML file that says what was done, found and shown to whom. Taught in chapter 16.

Names of columns, clients and files come from somebody's data, so everything is escaped, and a
policy in the page's head forbids scripts and anything that is loaded from elsewhere.
"""

from __future__ import annotations

import base64
import os
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedlab_utils.errors import FedlabError
from fedlab_utils.pipeline import figures
from fedlab_utils.pipeline.exposure import limits, messages
from fedlab_utils.pipeline.running import Outcome

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_STYLE = """
body { font: 16px/1.5 sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; color: #111; }
table { border-collapse: collapse; margin: 1em 0; display: block; overflow-x: auto; }
th, td { border: 1px solid #999; padding: 0.25em 0.6em; text-align: left; font-size: 0.9em; }
caption { text-align: left; font-weight: bold; padding: 0.3em 0; }
img { max-width: 100%; } figure { margin: 1em 0; } figcaption { font-size: 0.9em; }
.warning { border-left: 0.4em solid #a33f00; padding-left: 0.6em; }
.note { border-left: 0.4em solid #888; padding-left: 0.6em; }
pre { white-space: pre-wrap; }
"""
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; form-action 'none'"


def report_html(
    outcome: Outcome, path: str | os.PathLike[str] | None = None, *, title: str = "Anomalies"
) -> str:
    """Return the report as one HTML page, and write it to `path` if that is given.

    It holds tables for clients, and no row of anybody, nor its line. It needs no other file and no
    network. Raises FedlabError if the file cannot be written. Taught in chapter 16.
    """
    parts = [
        f"<h1>{escape(title)}</h1>",
        _intro(outcome),
        "<h2>The data</h2>",
        _table(outcome.table.describe(), "Clients"),
        _findings(outcome),
        "<h2>What was found</h2>",
        *_results(outcome),
        "<h2>Thresholds</h2>",
        *_thresholds(outcome),
        "<h2>Who saw what</h2>",
        _table(messages(outcome), "What a member sends and gets"),
        f"<p>Parameters of the model, rounds and the number of clients are known to all. The "
        f"unseen client, if there is one, gets the model and sends nothing.</p>"
        f"{_guarantee(outcome)}",
        "<h2>Limits</h2>",
        "<ul>" + "".join(f"<li>{escape(text)}</li>" for text in limits(outcome)) + "</ul>",
        "<h2>Settings</h2>",
        _table(_settings(outcome), "Settings and columns"),
    ]
    page = (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body>\n</html>\n"
    )
    if path is not None:
        try:
            Path(path).write_text(page, encoding="utf-8", errors="backslashreplace")
        except (OSError, ValueError) as error:
            raise FedlabError(f"the report cannot be written to {str(path)!r}: {error}") from error
    return page


def _intro(outcome: Outcome) -> str:
    federation = outcome.prepared.federation
    test = sum(len(client.x_test) for client in federation.everyone)
    unseen = f", and the unseen client {federation.unseen.name!r}" if federation.unseen else ""
    text = (
        f"File {outcome.table.source!r}: {len(outcome.table):,} rows of {len(federation)} members"
        f"{unseen}; {federation.n_features} features. An autoencoder was trained on "
        f"{int(federation.sizes.sum()):,} rows in {outcome.settings.rounds} rounds and tested on "
        f"{test:,} others. A score says how badly a row fits what is usual: higher is odder."
    )
    return f"<p>{escape(text)}</p>"


def _findings(outcome: Outcome) -> str:
    found = sorted(outcome.prepared.findings, key=lambda f: f.level != "warning")
    lines = [f'<p class="{f.level}">{escape(str(f))}</p>' for f in found]
    return "<h3>Checks</h3>" + ("\n".join(lines) or "<p>Nothing odd was found.</p>")


def _results(outcome: Outcome) -> list[str]:
    summary = outcome.summary()
    if summary is None:
        return [
            "<p>There are no labels, so no detector can be tested. What follows are scores, "
            "thresholds and alarms.</p>",
            _figure(figures.training_loss(outcome)),
        ]
    caption = f"All detectors, mean ± deviation over {len(outcome.reports)} seeds"
    drawn = figures.ap_by_client(outcome)
    by_client = outcome.by_client()
    assert by_client is not None and drawn is not None
    return [
        f"<p>{escape(outcome.reports[0].caption())}</p>",
        _table(summary, caption),
        _figure(drawn),
        _table(by_client.round(3), "AP at each client, mean over the seeds"),
        _figure(figures.training_loss(outcome)),
    ]


def _thresholds(outcome: Outcome) -> list[str]:
    frame = outcome.thresholds
    normal = "normal test rows" if outcome.prepared.labelled else "test rows"
    if not outcome.prepared.labelled:
        frame = frame.drop(columns=["own recall", "federated recall"])
    text = (
        f"An alarm is a score above the threshold. Thresholds were set on rows without labels, for "
        f"{outcome.settings.alarm_rate:.1%} alarms among normal rows; the alarm rate is that of "
        f"the {normal}. The federated threshold is {outcome.threshold:.4g}."
    )
    return [
        f"<p>{escape(text)}</p>",
        _figure(figures.scores_and_threshold(outcome)),
        _table(frame.round(4), "Own and federated thresholds"),
    ]


def _guarantee(outcome: Outcome) -> str:
    if outcome.guarantee is None:
        return ""
    return f"<h3>The guarantee of the training</h3><pre>{escape(outcome.guarantee.text())}</pre>"


def _settings(outcome: Outcome) -> pd.DataFrame:
    import pandas as pd

    told: dict[str, Any] = {f.name: getattr(outcome.settings, f.name) for f in _fields(outcome)}
    told |= {f"column: {key}": value for key, value in asdict(outcome.table.mapping).items()}
    told["features"] = ", ".join(outcome.prepared.federation.features)
    told["hidden, code"] = [m.out_features for m in _linear(outcome)][:2]
    return pd.DataFrame({"value": [str(value) for value in told.values()]}, index=list(told))


def _fields(outcome: Outcome) -> Any:
    from dataclasses import fields

    return [f for f in fields(outcome.settings) if f.name not in ("hidden", "code")]


def _linear(outcome: Outcome) -> list[Any]:
    return [m for m in outcome.run.model.modules() if hasattr(m, "out_features")]


def _table(frame: pd.DataFrame, caption: str) -> str:
    """A table with every cell escaped (pandas does it) under an escaped caption."""
    import pandas as pd

    with pd.option_context("display.max_colwidth", None):  # or long texts would be cut
        html = frame.to_html(border=0, na_rep="-", escape=True, float_format=lambda v: f"{v:.4g}")
    head, rest = html.split(">", 1)
    return f"{head}><caption>{escape(caption)}</caption>{rest}"


def _figure(figure: Figure) -> str:
    alt = str(figure.get_label())
    data = base64.b64encode(figures.picture(figure)).decode("ascii")
    image = f'<img src="data:image/png;base64,{data}" alt="{escape(alt, quote=True)}">'
    return f"<figure>{image}<figcaption>{escape(alt)}</figcaption></figure>"
