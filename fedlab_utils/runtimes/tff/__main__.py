"""`python -m fedlab_utils.runtimes.tff install` (or status, path, remove)."""

import argparse
import sys

from fedlab_utils.errors import FedlabError
from fedlab_utils.runtimes.tff import home as env
from fedlab_utils.runtimes.tff.install import install


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return 0 if all went well (`status`: if the environment is ready)."""
    parser = argparse.ArgumentParser(prog="python -m fedlab_utils.runtimes.tff")
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("install", help="make the environment, if there is none yet")
    making.add_argument("--force", action="store_true", help="make it anew")
    commands.add_parser("status", help="tell whether it is ready, and where it is")
    commands.add_parser("path", help="print its folder")
    commands.add_parser("remove", help="delete it")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.command == "install":
            install(force=chosen.force)
        elif chosen.command == "path":
            print(env.environment())
        elif chosen.command == "remove":
            print("removed" if env.remove() else "there was none", env.environment())
        else:
            found = env.status()
            print(found)
            return 0 if found.ready else 1
    except FedlabError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. The same command starts again.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
