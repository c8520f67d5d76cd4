"""Can this machine have TensorFlow Federated? Taught in chapter 05."""

from __future__ import annotations

import platform
import shutil
from pathlib import Path

from fedlab_utils.errors import FedlabError
from fedlab_utils.runtimes.tff.home import VARIABLE

_DISK_GB = 4.0  # 2.2 GB environment, downloads and pip's cache beside it
_GLIBC = (2, 31)  # TensorFlow Federated's wheel is built for manylinux_2_31
_ELSEWHERE = "Only chapter 05 needs it: read it with its outputs, or run it on Colab or Binder."


def check_platform() -> None:
    """Raises FedlabError where TensorFlow Federated has no build."""
    system, machine = platform.system(), platform.machine().lower()
    if system != "Linux" or machine not in ("x86_64", "amd64"):
        raise FedlabError(
            f"TensorFlow Federated is built for Linux on x86-64 only, this is {system} on "
            f"{machine}. On Windows use WSL. {_ELSEWHERE}"
        )
    name, version = platform.libc_ver()
    if name != "glibc" or tuple(map(int, version.split(".")[:2])) < _GLIBC:
        raise FedlabError(
            f"TensorFlow Federated needs glibc {'.'.join(map(str, _GLIBC))} or later, this Linux "
            f"has {name or 'another C library'} {version}. {_ELSEWHERE}"
        )


def check_disk(folder: Path) -> None:
    """Raises FedlabError if there is no room for the environment."""
    there = folder
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free / 1e9
    if free < _DISK_GB:
        raise FedlabError(
            f"the environment needs {_DISK_GB:g} GB, {there} has {free:.1f} GB left. Make room, or "
            f"name a folder on another disk in the environment variable {VARIABLE}."
        )
