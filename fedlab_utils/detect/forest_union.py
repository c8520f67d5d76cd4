"""Two ways to federate forests that clients grew at home. Taught in chapter 10.

Union: the trees travel, and everybody can score alone. A tree is made of thresholds between its
client's values, so it tells about them. Committee: the forests stay, the row travels to all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fedlab_utils.data.federation import Federation
from fedlab_utils.detect.ensemble import RankReference
from fedlab_utils.detect.forest import Forest
from fedlab_utils.detect.forest_grow import grow_forest
from fedlab_utils.detect.scores import Detector, scores_of
from fedlab_utils.errors import DataError

_LOCAL = 0x10CA1F
Vote = Literal["score", "rank", "alarm"]


def grow_local(
    federation: Federation, trees: int = 100, sample: int = 256, seed: int = 0
) -> dict[str, Forest]:
    """Let each client grow a forest on its own training rows; returns {client name: forest}.

    Clients draw from different streams of the seed. Raises as `grow_forest`.
    Taught in chapter 10.
    """
    seeds = np.random.default_rng([seed, _LOCAL]).integers(2**62, size=len(federation))
    return {
        client.name: grow_forest(client.x_train, trees, sample, int(own))
        for client, own in zip(federation, seeds, strict=True)
    }


def union(forests: Iterable[Forest], rows: Sequence[float] | np.ndarray | None = None) -> Forest:
    """Put the trees of several forests into one; a client's say is its number of training rows.

    `rows` [K] are the clients' training rows (None: an equal say), shared out among the client's
    trees. Trees of another depth or sample fit in: each path is compared with what its own
    sample lets expect. Raises DataError for no forests, other features, or rows that are not
    positive. Taught in chapter 10.
    """
    parts = list(forests)
    if not parts:
        raise DataError("union: there are no forests")
    if len({part.n_features for part in parts}) > 1:
        raise DataError("union: the forests were made for different features")
    say = np.ones(len(parts)) if rows is None else np.asarray(rows, dtype=np.float64)
    if say.shape != (len(parts),) or not (say > 0).all():
        raise DataError(f"union: give {len(parts)} positive numbers of rows, one per forest")
    nodes = max(part.feature.shape[1] for part in parts)

    def together(name: str, fill: float) -> np.ndarray:
        arrays = [getattr(part, name) for part in parts]
        # The heap layout numbers nodes level by level, so deeper levels are just appended.
        return np.concatenate(
            [np.pad(a, ((0, 0), (0, nodes - a.shape[1])), constant_values=fill) for a in arrays]
        )

    weight = [w * part.weight for w, part in zip(say, parts, strict=True)]
    return Forest(
        together("feature", -1),
        together("threshold", 0.0),
        together("count", 0.0),
        parts[0].n_features,
        np.concatenate(weight),
    )


@dataclass(frozen=True)
class Member:
    """A client's detector in a `Committee`, with its own calibration scores and its say.

    Attributes:
        detector: stays with the client.
        reference: ranks of the client's calibration scores.
        rows: training rows, its say.
    """

    detector: Detector
    reference: RankReference
    rows: float


@dataclass(frozen=True)
class Committee:
    """Clients that judge a row together without showing each other their detectors.

    Attributes:
        members: the clients.
        vote: what a member answers about a row: "score" its score, "rank" the share of its own
            calibration rows that score lower, "alarm" 1 if at most `alarm_rate` of them score
            higher, else 0. Answers are averaged, weighted by rows.
        alarm_rate: for "alarm".

    Scores of different members are on different scales, ranks are not. The row that is judged
    goes to every member, and they see it. Taught in chapter 10.
    """

    members: tuple[Member, ...]
    vote: Vote = "rank"
    alarm_rate: float = 0.05

    def __post_init__(self) -> None:
        if not self.members:
            raise DataError("Committee: there are no members")
        if self.vote not in ("score", "rank", "alarm"):
            raise DataError(f"Committee: vote={self.vote!r}; choose 'score', 'rank' or 'alarm'")
        if not 0 < self.alarm_rate < 1:
            raise DataError(f"Committee: alarm_rate={self.alarm_rate} must be between 0 and 1")

    def score(self, X: np.ndarray, /) -> np.ndarray:
        """Return the weighted mean of the members' answers, X [n, d] -> [n]."""
        total = sum(member.rows for member in self.members)
        return sum(
            (member.rows / total * self._answer(member, X) for member in self.members),
            start=np.zeros(len(X)),
        )

    def _answer(self, member: Member, X: np.ndarray) -> np.ndarray:
        scores = scores_of(member.detector, X)
        if self.vote == "score":
            return scores
        tail = member.reference.tail(scores)
        return 1 - tail if self.vote == "rank" else (tail <= self.alarm_rate).astype(float)


def committee(forests: dict[str, Forest], federation: Federation, vote: Vote = "rank") -> Committee:
    """A committee of the clients' forests; each ranks by its own calibration rows.

    A client without calibration rows ranks by its training rows. Taught in chapter 10.
    """
    members = []
    for client in federation:
        forest = forests[client.name]
        rows = client.x_calibration if len(client.x_calibration) else client.x_train
        reference = RankReference.of(forest.score(rows), forest.score_edges())
        members.append(Member(forest, reference, len(client.x_train)))
    return Committee(tuple(members), vote)
