"""Differential privacy: mechanisms, accounting, and the statement of what is promised.

Taught in chapter 06. Names are looked up on first use.
"""

import importlib
from typing import Any

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


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
