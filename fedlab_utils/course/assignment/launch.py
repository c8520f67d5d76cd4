"""The first thing that runs in a student's process: take the limits and locks, then the work.

Started by path, with nothing but the standard library, since the locks must hold before numpy's
first thread exists: `python -I launch.py READ WRITE`, the two ends of its pipes.
"""

import importlib.util
import json
import os
import sys
from pathlib import Path


def main() -> None:
    """Read the settings, one line of JSON, then serve the teacher's process until it hangs up."""
    reading, writing = (int(word) for word in sys.argv[1:3])
    line = b""
    while not line.endswith(b"\n"):
        line += os.read(reading, 1)
    settings = json.loads(line)
    path = Path(__file__).with_name("locks.py")
    spec = importlib.util.spec_from_file_location("locks", path)
    assert spec is not None and spec.loader is not None
    locks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(locks)
    locks.limit(**settings["limits"])
    if settings["locked"]:
        locks.lock(settings["readable"], [settings["folder"], "/dev/null"])
    sys.path[:0] = settings["packages"]
    from fedlab_utils.course.assignment import worker

    worker.serve(reading, writing)


main()
