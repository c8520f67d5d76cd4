"""Keys that all tests share: a Paillier key of full size takes seconds to make."""

import numpy as np
import pytest

from fedlab_utils.privacy.he import SUM, CKKSKeyHolder, PaillierKeyHolder, Plan

WEIGHTS = {"bank 1": 700, "bank 2": 1300, "bank 3": 1}


@pytest.fixture(scope="session")
def paillier_keys():
    return PaillierKeyHolder()


@pytest.fixture(scope="session")
def ckks_keys():
    return CKKSKeyHolder(SUM)


@pytest.fixture
def plan():
    return Plan(round=3, size=100, weights=WEIGHTS)


@pytest.fixture
def updates():
    rng = np.random.default_rng(0)
    return {name: rng.normal(scale=0.1, size=100) for name in WEIGHTS}


@pytest.fixture
def wanted(updates):
    return sum(w * updates[name] for name, w in WEIGHTS.items()) / sum(WEIGHTS.values())
