"""Differential privacy: mechanisms, accounting, and the statement of what is promised.

Taught in chapter 06. Names are looked up on first use.
"""

from fedlab_utils.lazy import lazy_names

_HOME = {
    "attack_bound": "mechanisms",
    "clip_rows": "mechanisms",
    "gaussian_delta": "mechanisms",
    "gaussian_epsilon": "mechanisms",
    "gaussian_noise": "mechanisms",
    "Release": "accounting",
    "epsilon_spent": "accounting",
    "noise_for_epsilon": "accounting",
    "rdp": "accounting",
    "rdp_to_epsilon": "accounting",
    "SeededNoise": "noise",
    "SystemNoise": "noise",
    "poisson_sample": "noise",
    "AdaptiveClip": "clients",
    "DPMean": "clients",
    "DistributedDP": "local",
    "LocalDP": "local",
    "private_scaler": "statistics",
    "private_threshold": "statistics",
    "Guarantee": "statement",
}
__all__ = list(_HOME)

__getattr__, __dir__ = lazy_names(__name__, _HOME)
