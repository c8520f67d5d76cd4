"""The same sum by MPyC in real processes, and by Flower's SecAgg+: they agree with ours."""

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from fedlab_utils.errors import FedlabError
from fedlab_utils.federate.aggregators import RoundContext
from fedlab_utils.privacy.secure import (
    FixedPoint,
    FixedPointOverflow,
    Identity,
    SecureMean,
    invite,
    run_round,
)
from fedlab_utils.privacy.secure.rivals import flower_mean, mpyc_sum, with_mpyc

needs_mpyc = pytest.mark.skipif(
    importlib.util.find_spec("mpyc") is None, reason="MPyC is not installed: pip install mpyc"
)
needs_flower = pytest.mark.skipif(
    importlib.util.find_spec("flwr") is None,
    reason='Flower is not installed: pip install "flwr>=1.41"',
)


@needs_mpyc
def test_mpyc_in_three_processes_finds_the_sum_that_we_find():
    fixed, clients = FixedPoint(32, 16), 3
    values = np.random.default_rng(0).normal(size=(clients, 300))
    rings = [fixed.encode(v, clients) for v in values]
    identities = [Identity(f"bank {i}") for i in range(clients)]
    ours = run_round(identities, invite(identities, 300), rings).total
    theirs = mpyc_sum([fixed.integers(r) for r in rings])
    assert np.array_equal(fixed.integers(ours), theirs.total)
    assert theirs.processes == 3
    assert theirs.bytes_sent > 300 * 4 * 6 and theirs.seconds > 0 and theirs.startup_seconds > 0


@needs_mpyc
def test_nothing_of_mpyc_is_left_running(monkeypatch):
    started: list[subprocess.Popen] = []
    real = subprocess.Popen

    class Watched(real):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            started.append(self)

    monkeypatch.setattr(with_mpyc.subprocess, "Popen", Watched)
    with pytest.raises(FedlabError, match=r"no result after 0.2 seconds"):
        mpyc_sum(np.zeros((3, 4), int), patience=0.2)
    assert len(started) == 3 and all(p.returncode is not None for p in started)


@needs_mpyc
def test_a_party_that_fails_is_heard(monkeypatch, tmp_path):
    broken = tmp_path / "party.py"
    broken.write_text("raise SystemExit('no such sum')")
    monkeypatch.setattr(with_mpyc, "_PARTY", broken)
    with pytest.raises(FedlabError, match=r"party 0 ended with code 1:\nno such sum"):
        mpyc_sum(np.zeros((2, 4), int))
    broken.write_text(
        "import sys, json, numpy\n"
        "path = sys.argv[1] + '/' + sys.argv[2]\n"
        "numpy.save(path + '.total.npy', [int(sys.argv[2])])\n"
        "open(path + '.json', 'w').write(json.dumps({'seconds': 0, 'bytes': 0, 'process': 1}))\n"
    )
    with pytest.raises(FedlabError, match="different sums"):
        mpyc_sum(np.zeros((2, 4), int))


@pytest.mark.parametrize("vectors", [np.zeros((1, 3), int), np.zeros((3, 2)), np.zeros(3, int)])
def test_mpyc_wants_integer_vectors_of_one_length(vectors, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: True)
    with pytest.raises(FedlabError, match="2 or more integer vectors"):
        mpyc_sum(vectors)


def test_without_the_package_there_is_advice(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FedlabError, match="pip install mpyc"):
        mpyc_sum(np.zeros((3, 4), int))
    with pytest.raises(FedlabError, match="flwr"):
        flower_mean(np.zeros((3, 4)), [1, 1, 1])


@pytest.fixture
def updates(monkeypatch):
    monkeypatch.setenv("FLWR_TELEMETRY_ENABLED", "0")
    rng = np.random.default_rng(1)
    return rng.normal(0, 0.1, (5, 60)).astype(np.float32), rng.integers(10, 900, 5)


@needs_flower
@pytest.mark.parametrize("silent", [(), (1,)])
def test_secagg_plus_of_flower_agrees_with_secure_mean(updates, silent):
    rows, weights = updates
    names = tuple("abcde")
    context = RoundContext(seed=0, round=0, clients=names, population=5)
    drop = {names[i]: "upload" for i in silent}
    ours = SecureMean(drop=drop).aggregate_round(
        torch.from_numpy(rows), torch.from_numpy(weights), {}, context
    )
    theirs = flower_mean(rows, weights, silent=silent)
    keep = [i for i in range(5) if i not in silent]
    exact = weights[keep] @ rows[keep].astype(float) / weights[keep].sum()
    assert np.abs(theirs.mean - exact).max() < 5e-5
    assert np.abs(ours.update.numpy() - exact).max() < 1e-6
    assert theirs.bytes_up > 4 * 60 * len(keep) and theirs.bytes_down > 0 and theirs.seconds > 0


@needs_flower
def test_flower_clips_silently_where_we_refuse(updates):
    rows, _ = updates
    rows[2] = 9.0
    theirs = flower_mean(rows, [1] * 5)
    assert np.abs(theirs.mean - rows.mean(axis=0)).max() > 0.15  # 9 became 8
    with pytest.raises(FixedPointOverflow):
        FixedPoint(32, 26).encode(rows[2], clients=5)


@needs_flower
def test_flower_gives_up_below_the_threshold(updates):
    with pytest.raises(FedlabError, match="too few clients"):
        flower_mean(*updates, silent=(0, 1, 2))


def test_importing_the_package_imports_no_rival():
    code = (
        "import fedlab_utils.privacy.secure.rivals, sys; print({'flwr', 'mpyc'} & {*sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )  # fmt: skip
    assert done.stdout.strip() == "set()"
