"""`python -m fedlab_utils.runtimes.compare [--record] [NAME ...]`."""

import argparse
import sys

from fedlab_utils.errors import FedlabError
from fedlab_utils.runtimes.compare.frameworks import FRAMEWORKS
from fedlab_utils.runtimes.compare.measuring import measure, record, to_frame


def main(arguments: list[str] | None = None) -> int:
    """Measure the named frameworks, by default all that are installed, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m fedlab_utils.runtimes.compare")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(FRAMEWORKS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", type=int, nargs="+", default=[4, 40])
    parser.add_argument("--patience", type=float, default=600, help="seconds for each framework")
    parser.add_argument(
        "--python", action="append", default=[], metavar="NAME=PATH", help="where NAME is installed"
    )
    parser.add_argument("--record", action="store_true", help="keep the table for the chapter")
    chosen = parser.parse_args(arguments)
    names, pythons = list(chosen.names), dict(item.split("=", 1) for item in chosen.python)
    for name, framework in FRAMEWORKS.items():
        if not chosen.names:
            reason = None if name in pythons else framework.missing()
            names += [] if reason else [name]
            print(f"{framework.title}: {reason or 'is measured'}", flush=True)
    try:
        done = measure(names, chosen.clients, chosen.rounds, chosen.patience, pythons)
    except FedlabError as error:
        print(error, file=sys.stderr)
        return 1
    print(to_frame(done).to_string())
    if chosen.record:
        record(done)
    return 0


if __name__ == "__main__":
    sys.exit(main())
