"""The benchmark runs and insists on equal weights; it asserts nothing about time."""

import sys

import pytest

from fedlab_utils.federate import bench


def test_all_contestants_reach_the_same_weights(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bench", "--clients", "3", "--repeats", "1"])
    bench.main()
    printed = capsys.readouterr().out
    assert all(name in printed for name in bench.CONTESTANTS)


def test_other_weights_are_noticed(monkeypatch):
    monkeypatch.setitem(bench.CONTESTANTS, "stacked", lambda m, s, c: bench.naive(m, s, c) + 0.1)
    with pytest.raises(AssertionError, match="stacked deviates"):
        bench.measure(clients=2, repeats=1)


def test_scaling_has_a_row_per_size():
    assert [row["clients"] for row in bench.scaling((2, 3))] == [2, 3]
