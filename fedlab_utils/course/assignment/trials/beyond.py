"""Trials of the exercises from chapter 09 on."""

import numpy as np

from fedlab_utils.course.assignment.trials.registry import trial


@trial("10.1")
def _paths(rng: np.random.Generator) -> tuple:
    return rng.uniform(0, 20, size=rng.integers(2, 9, size=2)), int(rng.integers(3, 600))


@trial("10.2")
def _trees(rng: np.random.Generator) -> tuple:
    k = int(rng.integers(2, 7))
    return rng.integers(1, 900, size=k), rng.integers(1, 9, size=k)


@trial("10.3")
def _payments(rng: np.random.Generator) -> tuple:
    return int(rng.integers(1, 300)), int(rng.integers(1, 50))


@trial("10.4")
def _tails(rng: np.random.Generator) -> tuple:
    return rng.integers(0, 9, size=7).astype(float), rng.integers(0, 9, size=12).astype(float)
