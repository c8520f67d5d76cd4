"""Telemetry of simulated devices: windows of a series for many clients. Taught in chapter 11."""

from fedlab_utils.data.telemetry.config import CHANNELS, DEFAULT_MIX, KINDS, TelemetryConfig
from fedlab_utils.data.telemetry.table import Series, simulate_telemetry, telemetry_table

__all__ = [
    "CHANNELS", "DEFAULT_MIX", "KINDS", "Series", "TelemetryConfig", "simulate_telemetry",
    "telemetry_table",
]  # fmt: skip
