"""Membership inference: was this row in the training data? Taught in chapters 06-08."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fedlab_utils.detect.scores import as_detector, check_rows, scores_of
from fedlab_utils.errors import DataError, FedlabError

if TYPE_CHECKING:
    import pandas as pd

TrainMany = Callable[[Sequence[np.ndarray], int], Sequence[Any]]


@dataclass(frozen=True)
class AttackScores:
    """One attack's scores on the rows of several target models. Taught in chapters 06-08.

    Attributes:
        member: [T, N] bool, whether row i was in the training data of target t.
        score: [T, N] float, higher = more likely a member.
    """

    member: np.ndarray
    score: np.ndarray

    @property
    def auc(self) -> np.ndarray:
        """[T] area under the ROC curve of each target; 0.5 is guessing."""
        from fedlab_utils.detect.metrics import auc

        return np.array([auc(m, s) for m, s in zip(self.member, self.score, strict=True)])

    def tpr(self, fpr: float = 0.01) -> np.ndarray:
        """[T] share of members found at a false positive rate of at most `fpr`, each target."""
        return np.array(
            [true_positive_rate(m, s, fpr) for m, s in zip(self.member, self.score, strict=True)]
        )

    def roc(self) -> tuple[np.ndarray, np.ndarray]:
        """False and true positive rates of all targets together, each with its own thresholds.

        Returns fpr [G] and the mean tpr [G] of the targets on a grid of steps of one row.
        """
        outsiders = int((~self.member).sum(axis=1).min())
        grid = np.arange(outsiders + 1) / outsiders
        return grid, np.mean([self.tpr(f) for f in grid], axis=1)


@dataclass(frozen=True)
class MembershipReport:
    """What `membership_inference` found. Taught in chapters 06-08.

    Attributes:
        attacks: "loss threshold", "LiRA" (offline) and "LiRA online" -> their scores.
    """

    attacks: Mapping[str, AttackScores]

    def to_frame(self) -> pd.DataFrame:
        """A pandas table, one row per attack: AUC and TPR at 1% FPR, mean and 95% range.

        The range is Student's t over the targets: for the mean of repeated trainings, not for a
        single one.
        """
        import pandas as pd

        table = {}
        for name, scores in self.attacks.items():
            row: dict[str, float] = {}
            for label, values in (("AUC", scores.auc), ("TPR at 1% FPR", scores.tpr(0.01))):
                mean, low, high = mean_range(values)
                low, high = max(low, 0.0), min(high, 1.0)
                row |= {label: mean, f"{label} low": low, f"{label} high": high}
            table[name] = row
        return pd.DataFrame.from_dict(table, orient="index").rename_axis("attack")


def membership_inference(
    train_many: TrainMany,
    pool: np.ndarray,
    *,
    members: int,
    targets: int = 8,
    shadows: int = 56,
    seed: int = 0,
) -> MembershipReport:
    """Attack a training procedure: how well can its members be told from other rows?

    `targets` + `shadows` training sets of `members` rows each are drawn from the pool, and one
    model is trained on each. Each of the first `targets` models is attacked in turn; the others
    are the attacker's shadow models. So the attacker knows the training procedure, has rows of
    the same kind, and sees the target's loss on the rows in question (as the server does, and as
    everybody does to whom the detector is given). Three attacks:

    - "loss threshold": a row with a small loss is a member (Yeom et al. 2018).
    - "LiRA": a row whose loss is small for a model that was not trained on it, judged by the
      mean and spread of its log loss under shadow models that did not see it (offline).
    - "LiRA online": the ratio of the likelihoods under shadow models that saw it and that did
      not.

    Args:
        train_many: list of row arrays [members, d] and a seed -> a model or detector for each,
            in order. `local_trainer` makes one; write your own to attack another procedure.
        pool: [N, d] rows of one kind.
        members: rows in each training set; the other N - members are not members.
        targets: models attacked, at least 3.
        shadows: models beside the attacked one, at least 8.
        seed: fixes the training sets; also handed to `train_many`.

    Raises FedlabError for numbers that make no attack, or if `train_many` returns another number
    of models; DataError for rows or scores that are not finite.

    Source: Yeom et al. 2018, arXiv:1709.01604; Carlini et al. 2022 (LiRA), arXiv:2112.03570.
    Taught in chapters 06-08.
    """
    pool = check_rows(pool, "pool")
    if targets < 3 or shadows < 8 or not 1 <= members <= len(pool) - 1:
        raise FedlabError(
            f"membership_inference: targets={targets} (at least 3), shadows={shadows} (at least "
            f"8), members={members} (1 to {len(pool) - 1}, as the pool has {len(pool)} rows)."
        )
    rng = np.random.default_rng([seed, 0x3E3B])
    member = _balanced_draw(rng, targets + shadows, len(pool), members)
    models = list(train_many([pool[row] for row in member], seed))
    if len(models) != len(member):
        raise FedlabError(
            f"membership_inference: train_many got {len(member)} training sets and returned "
            f"{len(models)} models; it must return one for each, in order."
        )
    loss = np.stack([scores_of(as_detector(model), pool) for model in models])
    attacked = member[:targets]
    scores = {
        "loss threshold": -loss[:targets],
        "LiRA": np.stack([lira(loss, member, t, online=False) for t in range(targets)]),
        "LiRA online": np.stack([lira(loss, member, t, online=True) for t in range(targets)]),
    }
    return MembershipReport({name: AttackScores(attacked, s) for name, s in scores.items()})


def lira(loss: np.ndarray, member: np.ndarray, target: int, *, online: bool) -> np.ndarray:
    """Likelihood-ratio scores [N] of model `target`; all other models are its shadows.

    The log of the loss is taken to be normal, with a mean for each row and one spread for all
    rows (Carlini et al. advise a common spread for few shadow models).

    Args:
        loss: [M, N] loss of each model on each row, positive.
        member: [M, N] bool, which rows each model was trained on.
        target: the attacked model.
        online: compare with shadow models that were trained on the row too. Offline only models
            that were not are used, so an attacker can train them before he knows the row.

    Source: Carlini et al. 2022, arXiv:2112.03570. Taught in chapters 06-08.
    """
    value = -np.log(np.maximum(loss, 1e-12))
    shadow = np.arange(len(loss)) != target
    seen = value[target]

    def fit(use: np.ndarray) -> tuple[np.ndarray, float]:
        count = use.sum(axis=0)
        mean = np.where(use, value, 0).sum(axis=0) / np.maximum(count, 1)
        # Without a shadow model there is nothing to say about a row.
        mean = np.where(count, mean, seen)
        free = max(int(count.sum() - (count > 0).sum()), 1)
        return mean, max(float(np.square(np.where(use, value - mean, 0)).sum() / free), 1e-12)

    out_mean, out_variance = fit(~member & shadow[:, None])
    if not online:
        return (seen - out_mean) / np.sqrt(out_variance)
    in_mean, in_variance = fit(member & shadow[:, None])
    return np.square(seen - out_mean) / out_variance - np.square(seen - in_mean) / in_variance


def true_positive_rate(member: np.ndarray, score: np.ndarray, fpr: float) -> float:
    """Share of members [n] whose score beats all but `fpr` of the others' scores.

    The threshold is a non-member's score and must be exceeded, so ties count for the defence.
    Raises DataError if there are no members or no others. Taught in chapters 06-08.
    """
    member, score = np.asarray(member, dtype=bool), np.asarray(score, dtype=float)
    others = np.sort(score[~member])[::-1]
    if not len(others) or member.sum() == 0:
        raise DataError("a true positive rate needs members and others; one of them is empty.")
    allowed = int(np.floor(fpr * len(others) + 1e-9))
    if allowed >= len(others):
        return 1.0
    return float((score[member] > others[allowed]).mean())


def tpr_bound(fpr: np.ndarray | float, epsilon: float, delta: float = 0.0) -> np.ndarray:
    """The largest true positive rate any attack can have under (epsilon, delta)-DP, same shape.

    Source: Kairouz et al. 2015, arXiv:1311.0776. Taught in chapter 06.
    """
    rate = np.asarray(fpr, dtype=float)
    # exp(700) is about the largest float; beyond it the bound is 1 anyway.
    grow = np.exp(min(epsilon, 700.0))
    return np.clip(np.minimum(grow * rate + delta, 1 - (1 - delta - rate) / grow), 0, 1)


def mean_range(values: np.ndarray, level: float = 0.95) -> tuple[float, float, float]:
    """Mean of repeated measurements [T] and its confidence range by Student's t.

    Raises DataError for fewer than two. Taught in chapters 06-08.
    """
    from scipy.stats import t

    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        raise DataError("a confidence range needs at least two values.")
    mean, half = float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))
    half *= float(t.ppf((1 + level) / 2, len(values) - 1))
    return mean, mean - half, mean + half


def _balanced_draw(rng: np.random.Generator, models: int, rows: int, members: int) -> np.ndarray:
    """[models, rows] bool with `members` rows for each model, drawn independently."""
    member = np.zeros((models, rows), dtype=bool)
    for row in member:
        row[rng.choice(rows, size=members, replace=False)] = True
    return member
