"""The whole course on your own CSV file with a client column. Taught in chapter 16.

from fedlab_utils.pipeline import ColumnMapping, Settings, read_csv, report_html, run_pipeline

own = read_csv("my.csv", ColumnMapping(client="hospital", label="disease"))
outcome = run_pipeline(own, Settings(rounds=20))
report_html(outcome, "report.html")
"""

from fedlab_utils.lazy import lazy_names

_HOME = {
    "ClientSummary": "encoding",
    "ColumnMapping": "mapping",
    "Encoding": "encoding",
    "Finding": "findings",
    "Outcome": "running",
    "OwnTable": "table",
    "Prepared": "preparing",
    "Settings": "settings",
    "Split": "splitting",
    "figures": "figures",
    "limits": "exposure",
    "messages": "exposure",
    "prepare": "preparing",
    "read_csv": "table",
    "report_html": "report",
    "run_pipeline": "running",
    "split_rows": "splitting",
    "suggest_mapping": "suggest",
}
__all__ = list(_HOME)

__getattr__, __dir__ = lazy_names(__name__, _HOME)
