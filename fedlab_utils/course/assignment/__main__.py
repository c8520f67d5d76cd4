"""Command line: `python -m fedlab_utils.course.assignment release|collect` (see --help)."""

import argparse
import sys
from pathlib import Path

from fedlab_utils.course.assignment.collect import DETAILS, MARKS, Student, collect
from fedlab_utils.course.assignment.release import Assignment, release
from fedlab_utils.course.assignment.sandbox import Limits
from fedlab_utils.course.build import Course
from fedlab_utils.errors import FedlabError


def main(arguments: list[str] | None = None) -> int:
    """Release an assignment or mark what came back; return 0 if all went well, else 1."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "release":
            folder = release(Course(options.root), options.chapters, options.out)
            assignment = Assignment.read(folder)
            print(f"{folder / 'students.zip'}: give this to your students.")
            print(f"Marked will be {', '.join(assignment.exercises)}, one point each. Then run:")
            print(f"  python -m fedlab_utils.course.assignment collect {folder} SUBMISSIONS")
        else:
            _collect(options)
    except (FedlabError, ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _collect(options: argparse.Namespace) -> None:
    limits = Limits(options.seconds, options.memory)
    out = options.out or options.release

    def told(student: Student) -> None:
        points = f"{student.points} of {len(student.marks)}"
        print(f"{student.submission.student!a}: {points}", flush=True)

    locked = not options.unlocked
    collect(options.release, options.submissions, out, limits=limits, locked=locked, told=told)
    print(f"{out / MARKS} holds the points, {out / DETAILS} what was said to each answer.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m fedlab_utils.course.assignment")
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("release", help="pack notebooks for students")
    one.add_argument("chapters", nargs="+", help="numbers or names of chapters")
    one.add_argument("--out", type=Path, default=Path("build/assignment"))
    one.add_argument("--root", type=Path, default=Path.cwd(), help="the checkout (default: .)")
    two = commands.add_parser("collect", help="mark submissions and write CSV files")
    two.add_argument("release", type=Path, help="the folder that `release` has made")
    two.add_argument("submissions", type=Path, help="a folder, zip or notebook for each student")
    two.add_argument("--out", type=Path, help="where the CSV files go (default: the release)")
    two.add_argument("--seconds", type=int, default=Limits.seconds, help="for one exercise")
    two.add_argument("--memory", type=int, default=Limits.memory_mb, help="for one exercise [MB]")
    two.add_argument(
        "--unlocked", action="store_true", help="run students' code without locks: trust all of it"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
