"""Build the chapters: `python -m fedlab_utils.course.build` (see --help), or `make chapters`.

From `chapters/src/NN_name.py` come the reader's notebook `chapters/NN_name.ipynb` and
`chapters/solutions/NN_name.ipynb`, both executed. `chapters/build.json` remembers what each was
built from, its seconds and its peak memory, so that only what changed is built again.
"""

import argparse
import os
import queue
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from fedlab_utils.course import needs, outputs, results
from fedlab_utils.course import notebook as nb
from fedlab_utils.course.checkout import Course
from fedlab_utils.course.doctor import memory_limit
from fedlab_utils.course.execute import ChapterFailed, Execution, end_children, execute
from fedlab_utils.course.translation.edition import editions


def build(course: Course, name: str) -> Execution:
    """Build one chapter: execute both notebooks, then write everything at once.

    Raises ChapterFailed, Unavailable or ValueError; the files of the last good build then stay as
    they were.
    """
    import nbformat

    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        done: dict[bool, Execution] = {}
        for solution in (False, True):
            derived = nb.derive(course.source(name), course.repository, solution=solution)
            target = course.derived(name, solution=solution)
            target.parent.mkdir(parents=True, exist_ok=True)
            label = f"{name} (solution)" if solution else name
            # Only the reader's notebook leaves results and figures behind.
            keep = scratch / ("solution" if solution else "reader")
            done[solution] = _run(derived, label, target.parent, keep)
        reader = done[False]
        files = [Path(path) for path in reader.modules]
        course.state.record(name, files, reader.seconds, reader.memory_mb)
        texts = {}
        for solution, execution in done.items():
            executed = execution.notebook
            outputs.clean(executed, course.root)
            nb.fill(executed, course.values(name, executed))
            text = nbformat.writes(executed)
            if complaints := outputs.too_big(executed, text):
                raise ValueError(f"{name}: " + "; ".join(complaints))
            texts[course.derived(name, solution=solution)] = text.rstrip("\n") + "\n"
        for path, text in texts.items():
            path.write_text(text, encoding="utf-8")
        for old in course.results.glob(f"{name[:2]}-*.json"):
            old.unlink()
        _copy(scratch / "reader" / "results", course.results)
        _copy(scratch / "reader" / "figures", course.figures)
    course.state.save()
    return reader


def reword(course: Course, name: str) -> None:
    """Write changed text into the executed notebooks of a chapter whose code is the same."""
    import nbformat

    for solution in (False, True):
        path = course.derived(name, solution=solution)
        renewed = course.expected(name, solution=solution)
        nb.take_outputs(renewed, nbformat.read(path, as_version=4))
        path.write_text(nbformat.writes(renewed).rstrip("\n") + "\n", encoding="utf-8")


def _run(notebook: Any, label: str, folder: Path, keep: Path, place: int = 0) -> Execution:
    from tqdm import tqdm

    needs.require(notebook)
    environment = {
        "FEDLAB_RESULTS": str(keep / "results"),
        "FEDLAB_FIGURES": str(keep / "figures"),
    }
    total = len(notebook.cells)
    options: Any = {"unit": "cell", "leave": False, "disable": None, "position": place}
    with tqdm(total=total, desc=label, **options) as bar:
        return execute(notebook, label, folder, environment=environment, progress=bar.update)


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)


def jobs_that_fit() -> int:
    """How many chapters can run side by side: one a core, and 2 GB of free memory for each."""
    import psutil

    free = psutil.virtual_memory().available / 1e9
    memory = min(free, memory_limit() or free)  # a container may hold less than the machine
    return max(1, min(os.cpu_count() or 1, int(memory // 2), 4))


def run(course: Course, names: list[str], jobs: int) -> int:
    """Execute the readers' notebooks as they are, without changing a file, and print the tables.

    `jobs` chapters run side by side, long ones first.
    """
    import nbformat

    begin = time.perf_counter()
    rows: list[list[Any]] = []
    places = queue.SimpleQueue[int]()  # lines of the terminal for the bars
    for place in range(jobs):
        places.put(place)
    with tempfile.TemporaryDirectory() as folder:

        def one(name: str) -> str:
            path = course.derived(name, solution=False)
            if not path.exists():
                raise ValueError(f"{path.name} is missing: run `make chapters`")
            notebook, place = nbformat.read(path, as_version=4), places.get()
            try:
                execution = _run(notebook, name, path.parent, Path(folder), place)
            finally:
                places.put(place)
            rows.append([name, f"{execution.seconds:.1f}", round(execution.memory_mb)])
            return _measure(execution)

        def seconds(name: str) -> float:
            return (course.state.measured(name) or (0.0, 0.0))[0]

        if jobs > 1:
            names = sorted(names, key=seconds, reverse=True)
        failed = _each(names, one, jobs)
        for record in results.load_results(Path(folder) / "results"):
            print("\n" + results.results_table(record))
    columns = ["Chapter", "Seconds", "Peak memory [MB]"]
    print("\n" + results.markdown_table(columns, sorted(rows)))
    minutes = (time.perf_counter() - begin) / 60
    print(f"\n{len(rows)} chapters in {minutes:.1f} minutes, {jobs} at a time")
    return failed


def _measure(execution: Execution) -> str:
    return f"{execution.seconds:.1f} s, {execution.memory_mb:.0f} MB"


def _each(names: list[str], work: Callable[[str], str], jobs: int = 1) -> int:
    """Do the work for each chapter; a failing one is reported and the others go on.

    One that cannot run on this machine is named and is no failure. Returns the failures' number.
    """
    from tqdm import tqdm

    failures = []

    def one(name: str) -> None:
        begin = time.perf_counter()
        try:
            tqdm.write(f"{name}: {work(name)}")
        except needs.Unavailable as reason:
            tqdm.write(f"{name}: left out: {reason}")
        except (ChapterFailed, ValueError) as error:
            failures.append(name)
            seconds = time.perf_counter() - begin
            tqdm.write(f"{name}: FAILED after {seconds:.1f} s\n{error}", file=sys.stderr)
        sys.stdout.flush()

    with ThreadPoolExecutor(jobs) as pool:
        try:
            list(pool.map(one, names))
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            end_children()  # the kernels, which do not get the interrupt
            raise
    if failures:
        print(f"{len(failures)} of {len(names)} chapters failed", file=sys.stderr)
    return len(failures)


def _build_all(course: Course, names: list[str], *, force: bool) -> int:
    def one(name: str) -> str:
        if not (force or course.must_run(name)):
            if not course.problems(name):
                return "up to date"
            with suppress(ValueError):  # somebody has edited code in a notebook
                reword(course, name)
                return "text renewed"
        return _measure(build(course, name))

    failed = _each(names, one)
    (course.root / "README.md").write_text(course.readme_text(), encoding="utf-8")
    for edition in editions(course):
        edition.write()
    return failed


def _check(course: Course, names: list[str]) -> int:
    problems = [problem for name in names for problem in course.problems(name)]
    for problem in problems:
        print(f"{problem}: run `make chapters`", file=sys.stderr)
    left = [line for edition in editions(course) for line in edition.problems()]
    for problem in left:
        print(f"{problem} (see fedlab_utils/course/translation)", file=sys.stderr)
    return len(problems) + len(left)


def main(arguments: list[str] | None = None) -> int:
    """Build, check or run chapters; return 0 if all went well, else 1."""
    parser = argparse.ArgumentParser(prog="python -m fedlab_utils.course.build")
    parser.add_argument("chapters", nargs="*", help="numbers or names (default: all)")
    parser.add_argument("--root", type=Path, default=Path.cwd(), help="the checkout (default: .)")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--force", action="store_true", help="build even what is up to date")
    what.add_argument("--check", action="store_true", help="only compare with the sources")
    what.add_argument("--run", action="store_true", help="execute the notebooks, change nothing")
    parser.add_argument("--jobs", type=int, default=0, help="--run: chapters at a time (as fit)")
    options = parser.parse_args(arguments)
    try:
        course = Course(options.root)
        names = course.names(options.chapters)
        if options.check:
            failed = _check(course, names)
        elif options.run:
            failed = run(course, names, options.jobs or jobs_that_fit())
        else:
            failed = _build_all(course, names, force=options.force)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted. The same command starts again.", file=sys.stderr)
        return 130
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
