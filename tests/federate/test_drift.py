"""Drift of clients whose directions are known."""

import numpy as np
import pytest
import torch

from fedlab_utils.errors import FedlabError
from fedlab_utils.federate.drift import client_drift


def test_norm_angle_and_what_is_kept_of_known_updates():
    same = client_drift(torch.tensor([[3.0, 4.0], [6.0, 8.0]]))
    assert same.norm.tolist() == [5, 10] and same.kept == pytest.approx(1)
    assert same.angle == pytest.approx([0, 0], abs=1e-5)
    square = client_drift(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    assert square.angle == pytest.approx([90, 90]) and square.kept == pytest.approx(0.5**0.5)
    against = client_drift(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
    assert against.angle == pytest.approx([180, 180]) and against.kept == pytest.approx(0)


def test_rows_weight_the_means():
    updates = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    drift = client_drift(updates, np.array([1, 0, 3]))
    assert drift.angle[0] == pytest.approx(45)
    assert drift.angle[1] == pytest.approx(np.degrees(np.arctan2(4, 3)))


def test_unrelated_updates_stand_at_right_angles_and_cancel():
    torch.manual_seed(0)
    drift = client_drift(torch.randn(10, 20_000))
    assert np.abs(drift.angle - 90).max() < 2
    assert drift.kept == pytest.approx(10**-0.5, rel=0.05)


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(FedlabError, match="two clients"):
        client_drift(torch.ones(1, 3))
    with pytest.raises(FedlabError, match="client 1 is zero"):
        client_drift(torch.tensor([[1.0], [0.0]]))
