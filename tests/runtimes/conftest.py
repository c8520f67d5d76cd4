"""Runtimes for the tests: made by the course's own commands, never skipped where CI runs."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedlab_utils.runtimes.tff import INSTALL, TffKernel, status

ROOT = Path(__file__).resolve().parents[2]


def required() -> bool:
    """Whether the tests of TensorFlow Federated must run: FEDLAB_REQUIRE_TFF=1, or CI is set."""
    return bool(os.environ.get("FEDLAB_REQUIRE_TFF") or os.environ.get("CI"))


@pytest.fixture(scope="session")
def tff_environment() -> Path:
    """The folder of the environment; where it is required and not there, it is made."""
    if not status().ready and required():
        command = [sys.executable, *INSTALL.split()[1:]]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    if not status().ready:
        pytest.skip(f"TensorFlow Federated is not installed here. To get it: {INSTALL}")
    return status().folder


@pytest.fixture(scope="session")
def tff(tff_environment: Path) -> Iterator[TffKernel]:
    """A kernel that has imported TensorFlow Federated, shared by all tests."""
    with TffKernel() as kernel:
        kernel.run("import numpy as np, tensorflow as tf, tensorflow_federated as tff")
        yield kernel
