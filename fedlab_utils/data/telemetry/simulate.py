"""Normal telemetry: devices that run programs, get warm, and cool themselves.

Taught in chapter 11.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedlab_utils.data.telemetry.config import TelemetryConfig

STREAM = 0x7E1E  # keeps these random numbers apart from those of other generators
WARM_UP = 60  # samples before the first one, until the temperature has forgotten its start
CYCLE = 16.0  # samples in one run of a program, before a device's own tempo


def _profiles(phase: np.ndarray) -> np.ndarray:
    """The load [6, n] of each of the six programs at phases [n] in [0, 1)."""
    pulse = np.abs((2 * phase) % 1 - 0.5) < 0.18
    return np.stack(
        [
            0.5 - 0.5 * np.cos(2 * np.pi * phase),  # a smooth hump
            (phase < 0.5).astype(float),  # on, off
            phase,  # a ramp that drops
            0.8 * pulse,  # two short pulses
            np.exp(-4 * phase),  # a burst that decays
            np.floor(4 * phase) / 4 + 0.1,  # a staircase
        ]
    )


PROGRAMS = 6


@dataclass(frozen=True)
class Device:
    """What makes a device itself.

    Attributes:
        programs: [6] how often it runs each program.
        level: factor of its load.
        tempo: factor of the cycle's length.
        heat: temperature in units of the load, once it has settled.
        lag: samples in which the temperature covers two thirds of the way to there.
    """

    programs: np.ndarray
    level: float
    tempo: float
    heat: float
    lag: float


def device_profile(config: TelemetryConfig, index: int) -> Device:
    """Device `index` of the world that `config` describes; independent of the others."""
    rng = np.random.default_rng([config.seed, STREAM, index, 0])
    own = np.zeros(PROGRAMS)
    own[rng.permutation(PROGRAMS)[:2]] = rng.dirichlet([4.0, 4.0])
    level, tempo, heat, lag = np.exp(config.shift * rng.uniform(-0.3, 0.3, 4))
    programs = (1 - config.shift) / PROGRAMS + config.shift * own
    return Device(programs, float(level), float(tempo), float(heat), 4.0 * float(lag))


def normal_series(config: TelemetryConfig, index: int) -> np.ndarray:
    """One device's series [samples, 3] of load, temperature and fan, without anomalies.

    The load follows the programs, one after the other, each at a slightly different speed. The
    temperature follows the load with a lag; the fan follows temperature and load at once.
    """
    device = device_profile(config, index)
    rng = np.random.default_rng([config.seed, STREAM, index, 1])
    n = config.samples + WARM_UP
    runs = int(n / (CYCLE * device.tempo * 0.8)) + 2
    program = rng.choice(PROGRAMS, runs, p=device.programs)
    length = CYCLE * device.tempo * rng.uniform(0.85, 1.15, runs)
    strength = device.level * rng.uniform(0.85, 1.15, runs)
    start = np.concatenate([[0.0], np.cumsum(length)])
    time = np.arange(n) + rng.uniform(0, CYCLE)
    run = np.searchsorted(start, time, side="right") - 1
    phase = (time - start[run]) / length[run]
    load = strength[run] * _profiles(phase)[program[run], np.arange(n)]

    temperature = np.empty(n)
    warm = load.mean()
    for t in range(n):
        warm += (load[t] - warm) / device.lag
        temperature[t] = device.heat * warm
    fan = 0.3 + np.tanh(1.5 * temperature) * (0.6 + 0.4 * load)
    clean = np.stack([load, temperature, fan], axis=1)
    return (clean + config.noise * rng.normal(size=clean.shape))[WARM_UP:]
