"""TFF's own differentially private aggregator, for comparison with ours. Taught in chapter 06."""

from __future__ import annotations

import numpy as np
import torch

from fedlab_utils.errors import FedlabError
from fedlab_utils.runtimes.tff.kernel import TffKernel, ignore
from fedlab_utils.runtimes.tff.shared import shared_kernel

_RUN = """
import numpy as _np, tensorflow as _tf, tensorflow_federated as _tff

def _fedlab_private(updates, clip, noise, rounds):
    _tf.get_logger().setLevel("CRITICAL")
    factory = _tff.aggregators.DifferentiallyPrivateFactory.gaussian_fixed(
        noise, float(len(updates)), clip
    )
    process = factory.create(_tff.TensorType(_np.float32, [updates.shape[1]]))
    state, means = process.initialize(), []
    for _ in range(rounds):
        output = process.next(state, list(updates))
        state = output.state
        means.append(_np.asarray(output.result))
    return _np.stack(means)

_fedlab_means = _fedlab_private(**_fedlab_setting)
"""


def private_means(
    updates: torch.Tensor,
    clip: float,
    noise_multiplier: float,
    rounds: int = 1,
    *,
    kernel: TffKernel | None = None,
) -> np.ndarray:
    """What TFF's `DifferentiallyPrivateFactory.gaussian_fixed` makes of the same updates.

    Args:
        updates: [K, P] float32, one row per client; all take part in every round.
        clip: the norm to which each row is cut.
        noise_multiplier: deviation of the noise on the sum, in units of `clip`. TFF draws it from
            its own source, so two calls differ.
        rounds: how many times the same updates are aggregated.
        kernel: a running TffKernel; default the one of the `%%tff` cells.

    Returns:
        [rounds, P] the noisy means, as `DPMean(clip, noise_multiplier)` makes them.

    Raises FedlabError for updates that are no matrix, and as TffKernel. Taught in chapter 06.
    """
    if updates.ndim != 2 or not len(updates):
        raise FedlabError(f"updates {tuple(updates.shape)} must be [K, P] with at least one row.")
    kernel = kernel or shared_kernel()
    setting = {"updates": updates.float().numpy(), "clip": float(clip)}
    kernel.put({"_fedlab_setting": {**setting, "noise": float(noise_multiplier), "rounds": rounds}})
    kernel.run(_RUN, ignore)
    return kernel.get("_fedlab_means")["_fedlab_means"]
