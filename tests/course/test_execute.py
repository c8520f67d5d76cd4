"""How the build measures a chapter."""

import subprocess
import sys

import pytest

from fedlab_utils.course.execute import _PeakMemory

FORKS = """
import os, time
held = bytearray(b"x" * 150_000_000)
for _ in range(3):
    if os.fork() == 0:
        break
time.sleep(1.0)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says what processes share")
def test_memory_that_forks_share_counts_once():
    process = subprocess.Popen([sys.executable, "-c", FORKS])
    with _PeakMemory(lambda: process.pid) as memory:
        process.wait()
    assert 150 < memory.peak_mb < 400  # four times 150 if each fork were counted whole
