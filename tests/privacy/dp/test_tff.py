"""DPMean against TensorFlow Federated's own aggregators, for the same setting."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from fedlab_utils.errors import FedlabError
from fedlab_utils.federate.aggregators import RoundContext
from fedlab_utils.privacy.dp import AdaptiveClip, DPMean
from fedlab_utils.runtimes.tff import INSTALL, TffKernel, private_means, status

ROOT = Path(__file__).resolve().parents[3]
K, P, CLIP, NOISE = 8, 3000, 0.7, 1.3
SETUP = """
import numpy as np, tensorflow as tf, tensorflow_federated as tff
tf.get_logger().setLevel("CRITICAL")

def rounds_of(factory, updates, rounds):
    process = factory.create(tff.TensorType(np.float32, [updates.shape[1]]))
    state, results = process.initialize(), []
    for _ in range(rounds):
        output = process.next(state, list(updates))
        state = output.state
        results.append(np.asarray(output.result))
    return np.stack(results)

Private = tff.aggregators.DifferentiallyPrivateFactory
"""


@pytest.fixture(scope="module")
def tff() -> Iterator[TffKernel]:
    if not status().ready and (os.environ.get("FEDLAB_REQUIRE_TFF") or os.environ.get("CI")):
        command = [sys.executable, *INSTALL.split()[1:]]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    if not status().ready:
        pytest.skip(f"TensorFlow Federated is not installed here. To get it: {INSTALL}")
    with TffKernel() as kernel:
        kernel.run(SETUP)
        yield kernel


def ours(aggregator: DPMean, updates: torch.Tensor, rounds: int) -> tuple[np.ndarray, list[float]]:
    state, results, clips = aggregator.start(P), [], []
    for round_ in range(rounds):
        clips.append(float(state["clip"]) if state else aggregator.clip)
        context = RoundContext(0, round_, tuple(f"bank {k}" for k in range(K)), K)
        done = aggregator.aggregate_round(updates, torch.ones(K), state, context)
        state = done.state
        results.append(done.update.numpy())
    return np.stack(results), clips


def test_the_same_clipped_mean_the_same_noise_and_the_same_moving_clip(tff: TffKernel) -> None:
    updates = torch.randn(K, P, generator=torch.Generator().manual_seed(0)) / P**0.5
    updates *= torch.linspace(0.2, 2.0, K).unsqueeze(1)
    tff.put({"updates": updates.numpy(), "k": float(K), "clip": CLIP, "noise": NOISE})
    tff.run(
        "moving = rounds_of(Private.gaussian_adaptive(0.0, k, clip, 0.5, 0.2, 0.0), updates, 6)\n"
        "both = rounds_of(Private.gaussian_adaptive(noise, k, clip, 0.5, 0.2, 4.0), updates, 1)\n"
    )
    theirs = tff.get("moving", "both")
    theirs["quiet"] = private_means(updates, CLIP, 0.0, kernel=tff)
    theirs["noisy"] = private_means(updates, CLIP, NOISE, 4, kernel=tff)

    quiet, _ = ours(DPMean(CLIP, 0.0), updates, 1)
    np.testing.assert_allclose(theirs["quiet"], quiet, atol=1e-6)
    noisy, _ = ours(DPMean(CLIP, NOISE), updates, 4)
    for found in (noisy, theirs["noisy"]):
        assert (found - quiet).std() == pytest.approx(NOISE * CLIP / K, rel=0.05)

    follow = DPMean(CLIP, 0.0, adaptive=AdaptiveClip(quantile=0.5, speed=0.2))
    moving, clips = ours(follow, updates, 6)
    assert len(set(clips)) == 6
    np.testing.assert_allclose(theirs["moving"], moving, atol=1e-6)

    # The bits' noise makes both raise the noise of the updates by the same factor.
    split = AdaptiveClip(quantile=0.5, speed=0.2, count_noise=4.0)
    both, _ = ours(DPMean(CLIP, NOISE, adaptive=split), updates, 1)
    expected = split.noises(NOISE, K)[0] * CLIP / K
    for found in (both, theirs["both"]):
        assert (found - quiet).std() == pytest.approx(expected, rel=0.05)


def test_updates_must_be_a_matrix() -> None:
    with pytest.raises(FedlabError, match=r"\[K, P\]"):
        private_means(torch.zeros(3), 1.0, 1.0)
