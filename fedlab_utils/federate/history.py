"""What happened in each round. Taught in chapter 03."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Round:
    """One round.

    Attributes:
        round: 1, 2, ...
        clients: names of those that took part.
        loss: mean training loss over the round's local steps, weighted by rows.
        client_losses: the same of each client, in the order of `clients`; one far above the
            others has data on another scale, or is about to diverge.
        bytes_up: bytes all clients together sent to the server.
        bytes_down: bytes the server sent to all clients together.
        seconds: time of the round on this machine.
        epsilon: privacy spent up to and with this round; None if the run claims none.
    """

    round: int
    clients: tuple[str, ...]
    loss: float
    client_losses: tuple[float, ...]
    bytes_up: int
    bytes_down: int
    seconds: float
    epsilon: float | None = None


@dataclass
class History:
    """The rounds so far; `history.loss`, `history.bytes_up`, ... are lists over the rounds."""

    rounds: list[Round] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.rounds)

    def __iter__(self) -> Iterator[Round]:
        return iter(self.rounds)

    def __getitem__(self, i: int) -> Round:
        return self.rounds[i]

    @property
    def loss(self) -> list[float]:
        """Training loss of each round."""
        return [r.loss for r in self.rounds]

    @property
    def seconds(self) -> list[float]:
        """Seconds of each round."""
        return [r.seconds for r in self.rounds]

    @property
    def bytes_up(self) -> list[int]:
        """Bytes sent to the server in each round."""
        return [r.bytes_up for r in self.rounds]

    @property
    def bytes_down(self) -> list[int]:
        """Bytes sent by the server in each round."""
        return [r.bytes_down for r in self.rounds]

    @property
    def epsilon(self) -> list[float | None]:
        """Privacy spent up to and with each round."""
        return [r.epsilon for r in self.rounds]

    def to_records(self) -> list[dict]:
        """One plain dict per round, as a checkpoint stores them."""
        return [asdict(r) for r in self.rounds]

    @classmethod
    def from_records(cls, records: list[dict]) -> History:
        """The inverse of `to_records`."""
        return cls(
            [
                Round(
                    **{
                        **r,
                        "clients": tuple(r["clients"]),
                        "client_losses": tuple(r["client_losses"]),
                    }
                )
                for r in records
            ]
        )

    def to_frame(self) -> pd.DataFrame:
        """A pandas table, one row per round, with the number of clients instead of their names."""
        import pandas as pd

        rows = [{**asdict(r), "clients": len(r.clients)} for r in self.rounds]
        frame = pd.DataFrame(rows, columns=[f.name for f in fields(Round)])
        if frame["epsilon"].isna().all():  # a run without a privacy claim needs no column for it
            frame = frame.drop(columns="epsilon")
        return frame.drop(columns="client_losses").set_index("round")
