"""Loading by name."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from fedlab_utils.data.partition import IID, Dirichlet
from fedlab_utils.data.registry import REGISTRY, datasets, load, spec
from fedlab_utils.errors import DataError, FedlabError


@pytest.mark.parametrize("typed, close", [("shutle", "shuttle"), ("NSL-KDD", "nsl_kdd")])
def test_unknown_name_suggests_the_closest(typed, close):
    with pytest.raises(DataError, match=f"Did you mean '{close}'") as caught:
        load(typed)
    assert all(name in str(caught.value) for name in REGISTRY)


def test_unknown_name_without_a_close_one():
    with pytest.raises(FedlabError) as caught:
        spec("qqqq")
    assert "Did you mean" not in str(caught.value)


def test_unknown_option_lists_the_options():
    with pytest.raises(DataError, match=r"no option 'anomly'.*anomaly, normal"):
        load("digits", anomly=3)
    with pytest.raises(DataError, match="it has none"):
        load("shuttle", rows=3)
    with pytest.raises(DataError, match="bankz"):
        load("payments", bankz=3)


def test_overview_has_one_row_per_data_set():
    table = datasets()
    assert list(table.index) == list(REGISTRY)
    assert table.notna().all().all()
    assert table.loc["heart", "client_key"] == "hospital"
    assert (table.loc[table["where"] == "download"].index.size) == 5


def test_load_standardises_on_training_rows():
    federation = load("heart", seed=3)
    assert set(federation.names) == {"Cleveland", "Hungary", "Switzerland", "VA Long Beach"}
    rows = federation.pooled().x_train
    np.testing.assert_allclose(rows.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(rows.std(0), 1, atol=1e-4)
    own = load("heart", seed=3, scaler="own")
    np.testing.assert_allclose(own["Hungary"].x_train.mean(0), 0, atol=1e-5)
    raw = load("heart", seed=3, scaler=None)
    assert raw["Hungary"].x_train[:, 0].mean() > 30  # years


def test_load_passes_everything_on():
    held = load("heart", unseen="Hungary")
    assert held.unseen.name == "Hungary" and "Hungary" not in held.names
    assert len(load("breast_cancer", partition=IID(3))) == 3
    skewed = load("digits", anomaly=4, partition=Dirichlet(5, alpha=0.3), seed=1)
    assert set(skewed.pooled().kind_test) == {"normal", "digit 4"}
    dirty = load("breast_cancer", partition=IID(1), contamination=0.1, scaler=None)
    clean = load("breast_cancer", partition=IID(1), scaler=None)
    assert len(dirty.clients[0].x_train) > len(clean.clients[0].x_train)
    more = load("breast_cancer", partition=IID(1), test_fraction=0.2, calibration_fraction=0.5)
    assert len(more.clients[0].x_calibration) > len(clean.clients[0].x_calibration)


def test_same_seed_same_bits_other_seed_other_split():
    one, two, other = (load("breast_cancer", seed=s).clients[0].x_train for s in (1, 1, 2))
    assert one.tobytes() == two.tobytes() != other.tobytes()


def test_the_seed_reaches_generated_data():
    small = {"clients": 2, "customers": 20, "scaler": None}
    one, two, other = (load("payments", seed=s, **small) for s in (1, 1, 2))
    assert one.clients[0].x_train.tobytes() == two.clients[0].x_train.tobytes()
    assert one.clients[0].x_train.tobytes() != other.clients[0].x_train.tobytes()
    assert one.names == ("bank 1", "bank 2")


def test_import_is_light():
    code = (
        "import sys, fedlab_utils.data.registry; heavy = 'pandas sklearn scipy pooch requests';"
        "print([m for m in heavy.split() if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("contamination", [0.01, 0.1])
def test_load_puts_the_contamination_asked_for_into_the_payments(contamination):
    from fedlab_utils.data.payments import payments_table

    federation = load("payments", clients=2, scaler=None, contamination=contamination)
    table = payments_table(clients=2, contamination=contamination)
    anomalies = {row.tobytes() for row in table.x[table.y]}
    for client in federation:
        share = np.mean([row.tobytes() in anomalies for row in client.x_train])
        assert share == pytest.approx(contamination, rel=0.15)
