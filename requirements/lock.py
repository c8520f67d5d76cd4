"""Write core.lock, dev.lock and book.lock beside this file: `make lock`.

The locks pin what was tested together, for Python 3.11 to 3.13 on every platform. Wheels of CUDA
libraries are left out: the torch wheel asks for those it needs, and a CPU build asks for none.
"""

import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
# The release of torch that the course is tested with; the other versions follow from it.
TORCH = "torch==2.13.0"
COURSE = ["notebooks", "syft", "flower", "serve", "onnx", "privacy"]
DEV = [*COURSE, "dev"]
LOCKS = {"core.lock": COURSE, "dev.lock": DEV, "book.lock": [*DEV, "book", "browser"]}
# `make book` adds to the environment of `make test`: what both have must be the same version.
FOLLOWS = {"book.lock": "dev.lock"}
HEADER = """\
# {name}: versions tested together on Python 3.11 to 3.13. Written by `make lock`; do not edit.
# Contents: fedlab-utils with the extras {extras}.
# No nvidia-*, cuda-* or triton lines: torch brings the ones its build needs. On a machine without
# a GPU take torch's CPU build, which needs none (README, "Set-up").
"""
CUDA = re.compile(r"^(nvidia-|cuda-|triton|pytorch-triton)")


def compile_lock(extras: list[str], constraints: list[Path]) -> str:
    """Return the resolved pins of the project with these extras, one a line."""
    command = [
        *(sys.executable, "-m", "uv", "pip", "compile", "pyproject.toml", "--quiet"),
        *("--universal", "--python-version", "3.11", "--fork-strategy", "fewest"),
        *("--no-header", "--no-annotate", "--no-emit-package", "fedlab-utils"),
    ]
    for constraint in constraints:
        command += ["--constraint", str(constraint)]
    for extra in extras:
        command += ["--extra", extra]
    done = subprocess.run(command, cwd=HERE.parent, text=True, capture_output=True)
    if done.returncode:
        sys.exit(f"uv could not resolve the requirements:\n{done.stderr}")
    return done.stdout


def main() -> None:
    constraint = HERE / ".constraint.txt"
    constraint.write_text(TORCH + "\n", encoding="utf-8")
    try:
        for name, extras in LOCKS.items():
            constraints = [constraint]
            if name in FOLLOWS:
                constraints.append(HERE / FOLLOWS[name])
            lines = compile_lock(extras, constraints).splitlines()
            pins = [line for line in lines if line.strip() and not CUDA.match(line)]
            header = HEADER.format(name=name, extras=", ".join(extras))
            (HERE / name).write_text(header + "\n".join(pins) + "\n", encoding="utf-8")
            print(f"{name}: {len(pins)} pins")
    finally:
        constraint.unlink()


if __name__ == "__main__":
    main()
