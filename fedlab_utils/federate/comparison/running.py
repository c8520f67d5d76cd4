"""Tune each method without labels, then measure it on other seeds. Taught in chapter 09."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from fedlab_utils.data.federation import Federation
from fedlab_utils.errors import DivergedError, FedlabError
from fedlab_utils.federate.comparison.methods import METHODS, Entry, Job, Method
from fedlab_utils.federate.comparison.settings import Setting

if TYPE_CHECKING:
    import pandas as pd

SEEDS = (0, 1, 2, 3, 4)
TUNING_SEEDS = (100, 101)


@dataclass(frozen=True)
class Choice:
    """What tuning chose for a method in a setting.

    Attributes:
        factor: of the setting's step size.
        value: of the method's knob; 0 if it has none.
        losses: mean calibration loss of each of the six settings, in the order of the grid; None
            where a run diverged.
    """

    factor: float
    value: float
    losses: tuple[float | None, ...] = ()


def train(
    setting: Setting, method: Method, federation: Federation, seed: int, choice: Choice
) -> Entry:
    """Train a method within the setting's budget. Raises DivergedError."""
    budget = setting.budget
    local = replace(budget.local, lr=budget.local.lr * choice.factor)

    def start(number: int) -> nn.Module:
        return budget.start(federation.n_features, number)

    return method.train(Job(start, federation, local, budget.passes, seed), choice.value)


def calibration_loss(entry: Entry, federation: Federation) -> float:
    """The mean client's mean score of its calibration rows, which have no labels.

    Members without calibration rows are left out; infinite if a score is not finite. Taught in
    chapter 09.
    """
    from fedlab_utils.detect.scores import as_detector

    losses = []
    for client in federation:
        own = entry[client.name] if isinstance(entry, dict) else entry
        if len(client.x_calibration):
            try:
                losses.append(float(as_detector(own).score(client.x_calibration).mean()))
            except DivergedError:
                return math.inf
    return float(np.mean(losses))


def tune(setting: Setting, method: Method, federations: Sequence[tuple[int, Federation]]) -> Choice:
    """The setting of the method's grid with the lowest calibration loss, mean over seeds.

    Args:
        federations: seeds and their federations, other ones than those for measuring. No test
            row is used.

    Raises FedlabError if all six diverge.
    """
    tried = []
    for factor, value in method.grid():
        choice = Choice(factor, value)
        try:
            losses = [
                calibration_loss(train(setting, method, data, seed, choice), data)
                for seed, data in federations
            ]
        except DivergedError:
            losses = [math.inf]
        tried.append((float(np.mean(losses)), choice))
    best, choice = min(tried, key=lambda pair: pair[0])
    if not math.isfinite(best):
        raise FedlabError(f"{setting.name}: each of the six settings of {method.name} diverges.")
    return replace(choice, losses=tuple(x if math.isfinite(x) else None for x, _ in tried))


def measure(
    setting: Setting, choices: dict[str, Choice], seeds: Iterable[int] = SEEDS
) -> pd.DataFrame:
    """Train and evaluate methods with their chosen settings, the floors beside them.

    Returns a tidy table: one row for each seed and method, with the columns of `Report.table`,
    `setting`, `seed`, `method` and `calibration loss`. A method that diverges has nan in its
    row. Taught in chapter 09.
    """
    import pandas as pd

    from fedlab_utils.detect.evaluation import evaluate

    parts = []
    for seed in seeds:
        data = setting.make(seed)
        entries, lost = {}, []
        for name, choice in choices.items():
            try:
                entries[name] = train(setting, METHODS[name], data, seed, choice)
            except DivergedError:
                lost.append(name)
        table = evaluate(entries, data, seed=seed).table()
        table = table.drop(columns=[c for c in table if str(c).endswith("worst name")])
        losses = {name: calibration_loss(entry, data) for name, entry in entries.items()}
        table["calibration loss"] = pd.Series(losses, dtype=float).reindex(table.index)
        table = table.reindex([*table.index, *lost])
        table.index.name = "method"
        parts.append(table.reset_index().assign(setting=setting.name, seed=seed))
    whole = pd.concat(parts, ignore_index=True)
    front = ["setting", "seed", "method"]
    return whole[front + [column for column in whole if column not in front]]
