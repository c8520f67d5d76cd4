"""The event logs: normal sessions follow the rules, faults break the one they are named after."""

from itertools import pairwise

import numpy as np
import pytest

import fedlab_utils as fl
from fedlab_utils.data.logs import KINDS, STEPS, TEMPLATES, logs_table, template_names
from fedlab_utils.errors import DataError


def sessions(table, kind):
    return [template_names(row) for row in table.x[table.kind == kind]]


def pairs(events):
    return set(pairwise(events))


def follows_the_rules(events):
    """What is opened is closed, with everything that belongs in between."""
    opened = None
    for before, event in pairwise(events):
        if event.endswith("opened"):
            opened = event.split()[0]
        if event.endswith("committed"):
            if opened != event.split()[0] or before != "checksum computed":
                return False
            opened = None
    return opened is None and events[0] == "session opened" and events[-1] == "session closed"


def test_normal_sessions_follow_the_rules_and_faults_break_them():
    table = logs_table(anomaly_rate=0.3, seed=1)
    normal = sessions(table, "normal")
    assert all(follows_the_rules(s) and 5 <= len(s) <= STEPS for s in normal)
    known = set().union(*map(pairs, normal))
    assert all("disk error" in s for s in sessions(table, "rare"))
    assert not any("disk error" in s for s in normal)
    mismatch = sessions(table, "mismatch")
    assert len(mismatch) > 50
    for s in mismatch:
        assert pairs(s) <= known and not follows_the_rules(s)
    for kind in ("order", "missing"):
        assert np.mean([bool(pairs(s) - known) for s in sessions(table, kind)]) > 0.9


def test_table_has_the_documented_shape_and_is_fixed_by_the_seed():
    table, again, other = (logs_table(seed=s) for s in (0, 0, 1))
    assert table.x.shape == (3000, STEPS, len(TEMPLATES)) and (table.x.sum(axis=2) == 1).all()
    assert table.x.tobytes() == again.x.tobytes() != other.x.tobytes()
    assert set(table.kind) == {"normal", *KINDS}
    few = logs_table(clients=2)
    assert few.x.tobytes() == table.x[:600].tobytes()
    share = table.y[table.split == "test"].mean()
    assert 0.03 < share < 0.055
    part = [np.mean(table.split == p) for p in ("train", "calibration", "test")]
    np.testing.assert_allclose(part, [0.5, 0.15, 0.35])


def test_shift_and_contamination():
    def transfers(shift):
        table = logs_table(shift=shift, seed=2)
        opened = table.x[:, :, TEMPLATES.index("upload opened")].sum(axis=1)
        return np.std([opened[table.key == key].mean() for key in dict.fromkeys(table.key)])

    assert transfers(1.0) > 3 * transfers(0.0)
    clean = logs_table(contamination=0.0)
    assert not clean.y[clean.split != "test"].any()
    federation = fl.load("logs", scaler=None, contamination=0.03)
    assert federation.n_features == 20 and federation.names[0] == "service 1"


@pytest.mark.parametrize(
    "options", [{"clients": 0}, {"sessions": 5}, {"shift": 2}, {"anomaly_rate": 0.9}]
)
def test_dials_out_of_range_are_named(options):
    (name,) = options
    with pytest.raises(DataError, match=f"logs: {name}"):
        logs_table(**options)
