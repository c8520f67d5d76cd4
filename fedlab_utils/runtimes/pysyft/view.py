"""What the coordinator can see, file by file. Taught in chapter 04."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedlab_utils.runtimes.pysyft.federation import SyftFederation
from fedlab_utils.runtimes.pysyft.search import files_in

if TYPE_CHECKING:
    import pandas as pd

KINDS = {
    "/public/syft_datasets/": "mock data set",
    "/inbox/": "job, as sent",
    "/outputs/": "answer",
    "/review/": "state of the job",
    "-event-messages/": "message",
}


def kind_of(path: str) -> str:
    """What a file in the coordinator's folder is: a value of KINDS, else "bookkeeping"."""
    return next((kind for part, kind in KINDS.items() if part in path), "bookkeeping")


def coordinator_view(banks: SyftFederation) -> pd.DataFrame:
    """One row for each file in the coordinator's folder: bank, kind, short name, bytes.

    Messages are the envelopes in which the other files arrived; they belong to no single bank.
    Taught in chapter 04.
    """
    import pandas as pd

    owners = {bank.email: bank.name for bank in banks}
    rows = []
    for path, size in files_in(banks.coordinator).items():
        parts = path.split("/")
        kind = kind_of(path)
        # of a job's file the part below the protocol's version; a message's own name is random
        name = path.split("/v1/")[-1] if "/v1/" in path else parts[-1]
        name = "(an envelope)" if kind == "message" else name
        rows.append({"bank": owners.get(parts[1], ""), "kind": kind, "file": name, "bytes": size})
    return pd.DataFrame(rows, columns=["bank", "kind", "file", "bytes"])
