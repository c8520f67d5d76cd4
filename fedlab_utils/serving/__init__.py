"""A trained detector at work in a bank: export, signed registry, streaming scorer, HTTP service.

What a bank needs to score (`scorer`, `registry`, `stream`, `api`) imports neither torch nor the
rest of the course; only `export` and `calibrate` need them. Taught in chapter 14.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedlab_utils.lazy import lazy_names

if TYPE_CHECKING:
    from fedlab_utils.serving.api import Limits, make_app
    from fedlab_utils.serving.budget import Alert, AlertBudget
    from fedlab_utils.serving.bundle import Bundle, Card, read_bundle, write_bundle
    from fedlab_utils.serving.calibration import Calibration, calibrate
    from fedlab_utils.serving.drift import DriftMonitor, Verdict
    from fedlab_utils.serving.exporting import export, largest_difference, to_model
    from fedlab_utils.serving.keys import make_keys, read_private_key, read_public_key
    from fedlab_utils.serving.local import LocalService
    from fedlab_utils.serving.onnx_file import write_onnx
    from fedlab_utils.serving.registry import Registry, RegistryError, Released
    from fedlab_utils.serving.scorer import Scorer
    from fedlab_utils.serving.speed import Speed, measure
    from fedlab_utils.serving.stream import Batch, StreamScorer

_HOME = {
    "Alert": "budget",
    "AlertBudget": "budget",
    "Batch": "stream",
    "Bundle": "bundle",
    "Calibration": "calibration",
    "Card": "bundle",
    "DriftMonitor": "drift",
    "Limits": "api",
    "LocalService": "local",
    "Registry": "registry",
    "RegistryError": "registry",
    "Released": "registry",
    "Scorer": "scorer",
    "Speed": "speed",
    "StreamScorer": "stream",
    "Verdict": "drift",
    "calibrate": "calibration",
    "export": "exporting",
    "largest_difference": "exporting",
    "make_app": "api",
    "make_keys": "keys",
    "measure": "speed",
    "read_bundle": "bundle",
    "read_private_key": "keys",
    "read_public_key": "keys",
    "to_model": "exporting",
    "write_bundle": "bundle",
    "write_onnx": "onnx_file",
}
__all__ = [
    "Alert",
    "AlertBudget",
    "Batch",
    "Bundle",
    "Calibration",
    "Card",
    "DriftMonitor",
    "Limits",
    "LocalService",
    "Registry",
    "RegistryError",
    "Released",
    "Scorer",
    "Speed",
    "StreamScorer",
    "Verdict",
    "calibrate",
    "export",
    "largest_difference",
    "make_app",
    "make_keys",
    "measure",
    "read_bundle",
    "read_private_key",
    "read_public_key",
    "to_model",
    "write_bundle",
    "write_onnx",
]

__getattr__, __dir__ = lazy_names(__name__, _HOME)
