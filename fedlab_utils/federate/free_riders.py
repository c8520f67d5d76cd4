"""Find clients that take the model and give nothing. Taught in chapter 13."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from fedlab_utils.errors import FedlabError
from fedlab_utils.federate.aggregators import Aggregated, RoundContext
from fedlab_utils.federate.bounded import lengths
from fedlab_utils.federate.similarity import cosines

if TYPE_CHECKING:
    import pandas as pd

SIGNS = ("log norm", "cosine with last", "cosine with others", "last over others")
# Which side is suspicious: small, a copy of what everybody knows, unrelated, news of yesterday.
_SUSPICIOUS = np.array([-1.0, 1.0, -1.0, 1.0])


def contribution_signs(updates: torch.Tensor, last: torch.Tensor) -> np.ndarray:
    """Four signs of work in each row of updates [K, P], float64 [K, 4] in the order of SIGNS.

    The log10 of the norm (no less than -30); the cosine with `last` [P], the combined update of the
    round before, which everybody can compute from two models; the cosine with the mean of the
    other rows; the difference of the two, since who works agrees with this round's work rather
    than with the last one's. Raises FedlabError for fewer than three rows. Taught in chapter 13.
    """
    if len(updates) < 3:
        raise FedlabError(f"{len(updates)} client(s): to compare with others takes at least three.")
    rows = updates.double()
    others = (rows.sum(dim=0) - rows) / (len(rows) - 1)
    norms = lengths(rows).clamp_min(1e-30).log10()
    to_last = cosines(rows, last[None])[:, 0]
    to_others = torch.stack(
        [cosines(r[None], o[None])[0, 0] for r, o in zip(rows, others, strict=True)]
    )
    return torch.stack([norms, to_last, to_others, to_last - to_others], dim=1).numpy()


def robust_z(values: np.ndarray) -> np.ndarray:
    """How many deviations each of values [K, S] is from its column's median; [K, S].

    The deviation is 1.4826 times the median absolute one, so that a minority of outliers does not
    widen the scale by which it is judged. It is taken as no less than 0.05: where signs (cosines,
    powers of ten) agree more closely than that, a small difference means nothing.
    Source: Iglewicz and Hoaglin 1993, "How to Detect and Handle Outliers". Taught in chapter 13.
    """
    middle = np.median(values, axis=0)
    spread = 1.4826 * np.median(np.abs(values - middle), axis=0)
    return (values - middle) / np.maximum(spread, 0.05)


@dataclass
class ContributionLog:
    """Collects the signs of work of every client over the rounds: a `watch` for `Watched`.

        log = ContributionLog()
        fl.fit(model, federation, aggregator=Watched(Mean(), log), ...)
        log.suspects()

    The first round has no last update and is not counted; nor are rounds of fewer than three.
    The server must see single updates for it: behind a secure sum nobody can count who works.
    Taught in chapter 13.
    """

    last: torch.Tensor | None = None
    seen: dict[str, list[np.ndarray]] = field(default_factory=dict)
    parameters: int = 0

    def __call__(
        self, updates: torch.Tensor, weights: torch.Tensor, context: RoundContext, done: Aggregated
    ) -> None:
        """Note the signs of one round."""
        if self.last is not None and len(updates) >= 3:
            signs = contribution_signs(updates, self.last)
            for name, row in zip(context.clients, signs, strict=True):
                self.seen.setdefault(name, []).append(row)
        self.last, self.parameters = done.update, updates.shape[1]

    def table(self) -> pd.DataFrame:
        """Each client's signs, the mean over its rounds. Raises FedlabError before two rounds."""
        import pandas as pd

        if not self.seen:
            raise FedlabError("ContributionLog: it takes two rounds of at least three clients.")
        means = {name: np.mean(rows, axis=0) for name, rows in self.seen.items()}
        return pd.DataFrame.from_dict(means, orient="index", columns=list(SIGNS))

    def suspects(self, cut: float = 3.5) -> dict[str, str]:
        """{client: its most suspicious sign} of those beyond `cut` robust deviations.

        Suspicious are a small norm, a high cosine with the last update (by itself, or beside that
        with the others), and a low one with the others. Free riders must be a minority, and an
        honest client that is unlike the others can be accused. Whoever sends pure noise is found by
        an absolute rule too: the cosine of noise with anything is about 0, with deviation
        1 / sqrt(P); within three of them is suspicious.
        """
        table = self.table()
        signs = table.to_numpy()
        z = robust_z(signs) * _SUSPICIOUS
        unrelated = signs[:, 2] < 3 / self.parameters**0.5
        z[unrelated, 2] = np.maximum(z[unrelated, 2], 2 * cut)
        return {
            str(name): SIGNS[int(row.argmax())]
            for name, row in zip(table.index, z, strict=True)
            if row.max() > cut
        }
