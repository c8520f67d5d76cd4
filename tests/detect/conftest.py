"""Small hand-made federations for the tests of detection."""

from collections.abc import Callable

import numpy as np
import pytest

from fedlab_utils.data.federation import Client, Federation


def make_client(
    name: str,
    seed: int,
    rows: int = 60,
    anomalies: int = 6,
    features: int = 4,
    calibration: int = 40,
) -> Client:
    rng = np.random.default_rng(seed)

    def draw(n: int) -> np.ndarray:
        return rng.normal(size=(n, features)).astype(np.float32)

    y = np.arange(rows) < anomalies
    kind = np.where(y, np.where(np.arange(rows) % 2 == 0, "far", "near"), "normal")
    x_test = draw(rows) + 6.0 * (kind == "far")[:, None] + 0.5 * (kind == "near")[:, None]
    return Client(name, draw(rows), draw(calibration), x_test.astype(np.float32), y, kind)


@pytest.fixture
def client() -> Callable[..., Client]:
    return make_client


@pytest.fixture
def federation() -> Federation:
    """Three members with anomalies, one member without any, one unseen client."""
    members = [make_client(f"bank {k}", seed=k, anomalies=4 + 2 * k) for k in range(3)]
    calm = make_client("calm", seed=8, anomalies=0)
    unseen = make_client("newcomer", seed=9)
    names = tuple(f"f{j}" for j in range(4))
    return Federation("toy", (*members, calm), names, unseen)
