"""Event logs of simulated services: sessions of log templates for many clients.

A log line such as "opened /data/a7" is a *template* ("opened *") and its parameters; a session is
the sequence of templates that belongs to one job. Taught in chapter 11.
"""

from __future__ import annotations

import numpy as np

from fedlab_utils.data.table import Table
from fedlab_utils.errors import DataError

TEMPLATES = (
    "(end)", "session opened", "session closed", "request received", "cache hit", "cache miss",
    "query sent", "query answered", "response sent", "upload opened", "download opened",
    "chunk moved", "checksum computed", "upload committed", "download committed", "lock taken",
    "lock released", "retry", "timeout", "disk error",
)  # fmt: skip
KINDS = ("rare", "order", "missing", "mismatch")
STEPS = 20  # a session has room for so many events; the rest is "(end)"
_ID = {name: i for i, name in enumerate(TEMPLATES)}
_STREAM = 0x106


def _request(rng: np.random.Generator, retries: float) -> list[str]:
    """A request: from the cache, or by a query that may time out."""
    if rng.random() < 0.4:
        return ["request received", "cache hit", "response sent"]
    query = ["query sent"]
    if rng.random() < retries:
        query += ["timeout", "retry", "query sent"]
    return ["request received", "cache miss", *query, "query answered", "response sent"]


def _transfer(rng: np.random.Generator, kind: str) -> list[str]:
    """An upload or a download: what was opened is what is committed, several chunks later."""
    chunks = ["chunk moved"] * int(rng.integers(2, 6))
    inside = ["lock taken", *chunks, "lock released", "checksum computed"]
    return [f"{kind} opened", *inside, f"{kind} committed"]


def _session(rng: np.random.Generator, share: np.ndarray, retries: float) -> list[str]:
    """One normal session: requests and transfers between opening and closing."""
    events = ["session opened"]
    while True:
        job = rng.choice(3, p=share)
        new = (
            _request(rng, retries) if job == 0 else _transfer(rng, ("upload", "download")[job - 1])
        )
        if len(events) + len(new) > STEPS - 1:
            return [*events, "session closed"]
        events += new


def _spoil(events: list[str], kind: str, rng: np.random.Generator) -> list[str] | None:
    """The session with one fault of this kind, or None if it has no place for it."""
    inner = np.arange(1, len(events) - 1)
    if kind == "rare":
        at = int(rng.choice(inner))
        return [*events[:at], "disk error", *events[at + 1 :]]
    if kind == "order":
        places = [i for i in inner[:-1] if events[i] != events[i + 1]]
        at = int(rng.choice(places))
        return [*events[:at], events[at + 1], events[at], *events[at + 2 :]]
    if kind == "missing":
        places = [i for i in inner if events[i] != "chunk moved"]
        at = int(rng.choice(places))
        return [*events[:at], *events[at + 1 :]]
    places = [i for i in inner if events[i].endswith("committed")]
    if not places:
        return None
    at = int(rng.choice(places))
    other = "download" if events[at].startswith("upload") else "upload"
    return [*events[:at], f"{other} committed", *events[at + 1 :]]


def _faulty(part: np.ndarray, late: float, early: float, rng: np.random.Generator) -> np.ndarray:
    """Which sessions of parts [n] get a fault: a share `late` of part 2, `early` of those before.

    The early parts get one or two more than their share, so that `make_federation` finds enough
    for the contamination it is asked for.
    """
    chosen = np.zeros(len(part), dtype=bool)
    for rows, rate, more in ((part == 2, late, 0), (part < 2, early, 2)):
        count = int(np.rint(rows.sum() * rate)) + (more if rate > 0 else 0)
        chosen[rng.permutation(np.flatnonzero(rows))[:count]] = True
    return chosen


def logs_table(
    *,
    clients: int = 10,
    sessions: int = 300,
    shift: float = 0.6,
    anomaly_rate: float = 0.05,
    contamination: float | None = None,
    seed: int = 0,
) -> Table:
    """Sessions of all services as one-hot events: x [n, 20, 20] (steps, templates).

    key = service; kind = "normal" or one of KINDS: an event that never occurs normally ("rare"),
    two neighbours exchanged ("order"), a step left out ("missing"), and an upload committed as a
    download or the reverse ("mismatch"), where every pair of neighbours is normal.

    Args:
        clients: number of services.
        sessions: sessions of each; the first half trains, the next 15% calibrate.
        shift: 0 = services are exchangeable; 1 = each does mostly one kind of job.
        anomaly_rate: share of faulty sessions in the test.
        contamination: the same in training and calibration (None: as anomaly_rate);
            `make_federation` decides how many of them training sees.
        seed: every random number follows from it.

    Raises DataError for a value out of range. Taught in chapter 11.
    """
    early = anomaly_rate if contamination is None else contamination
    for name, value, low, high in (
        ("clients", clients, 1, 100_000),
        ("sessions", sessions, 20, 1_000_000),
        ("shift", shift, 0, 1),
        ("anomaly_rate", anomaly_rate, 0, 0.5),
        ("contamination", early, 0, 0.5),
    ):
        if not low <= value <= high:
            raise DataError(f"logs: {name} must lie between {low} and {high}, got {value!r}.")
    names = [f"service {k + 1}" for k in range(clients)]
    parts = np.array(["train", "calibration", "test"])
    part = np.searchsorted([0.5, 0.65], (np.arange(sessions) + 0.5) / sessions)
    events = np.zeros((clients, sessions, STEPS), dtype=np.int64)
    kind = np.full((clients, sessions), "normal", dtype="<U8")
    for k in range(clients):
        rng = np.random.default_rng([seed, _STREAM, k])
        own = rng.dirichlet(np.full(3, 0.3))
        share = (1 - shift) / 3 + shift * own
        retries = 0.1 + 0.2 * shift * rng.random()
        faulty = _faulty(part, anomaly_rate, early, rng)
        for s in range(sessions):
            session = _session(rng, share, retries)
            if faulty[s]:
                kind[k, s] = rng.choice(KINDS)
                spoilt = _spoil(session, str(kind[k, s]), rng)
                if spoilt is None:
                    kind[k, s] = "missing"
                    spoilt = _spoil(session, "missing", rng)
                session = spoilt or session
            events[k, s, : len(session)] = [_ID[name] for name in session]
    flat = events.reshape(-1, STEPS)
    return Table(
        name="logs",
        x=np.eye(len(TEMPLATES), dtype=np.float32)[flat],
        y=kind.ravel() != "normal",
        features=TEMPLATES,
        key=np.repeat(names, sessions),
        kind=kind.ravel(),
        split=np.tile(parts[part], clients),
    )


def template_names(row: np.ndarray) -> list[str]:
    """The events of one session [20, 20] in words, without the "(end)" that fills it up."""
    return [TEMPLATES[i] for i in np.argmax(row, axis=1) if i]
