"""Add what a chapter needs beside the core: `python -m fedlab_utils.course.add privacy`.

For notebook services that come with hundreds of packages, such as Colab. There, an ordinary
installation of an extra would replace packages that the service and the running notebook rely on by
older ones, because some dependency asks for a version below the one that is there. This command
installs only what is absent, in a version that suits what is there if one exists, and leaves
everything that is there as it is; it says which versions somebody has asked to be others.
"""

import importlib.metadata as metadata
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

_PACKAGE = "fedlab-utils"


def lacking(wanted: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return the requirements that are absent, and notes on versions that are other than asked for.

    Args:
        wanted: requirements, such as "dp-accounting>=0.5". What installed packages require in
            turn is looked at too.
    """
    from packaging.requirements import Requirement

    absent: dict[str, str] = {}
    notes: set[str] = set()
    todo = [(Requirement(text), "") for text in wanted]
    seen: set[tuple[str, frozenset[str]]] = set()
    while todo:
        requirement, asker = todo.pop()
        extras = frozenset(requirement.extras)
        if (requirement.name, extras) in seen:
            continue
        seen.add((requirement.name, extras))
        try:
            found = metadata.distribution(requirement.name)
        except metadata.PackageNotFoundError:
            absent[requirement.name] = str(requirement).split(";")[0].strip()
            continue
        if not requirement.specifier.contains(found.version, prereleases=True):
            wish = f"{asker} asks for {requirement.specifier}" if asker else requirement.specifier
            notes.add(f"{requirement.name} {found.version} ({wish})")
        for text in found.requires or []:
            inner = Requirement(text)
            if _applies(inner, extras):
                todo.append((inner, requirement.name))
    return sorted(absent.values()), sorted(notes)


def _applies(requirement: "object", extras: Iterable[str]) -> bool:
    marker = getattr(requirement, "marker", None)
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras))


def add(extras: Sequence[str]) -> list[str]:
    """Install what is absent of the extras of this package; return notes on what is left as it is.

    Raises ValueError for an unknown extra, and subprocess.CalledProcessError if pip fails.
    """
    known = metadata.distribution(_PACKAGE).metadata.get_all("Provides-Extra") or []
    if unknown := sorted(set(extras) - set(known)):
        raise ValueError(f"no extra {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    wanted = [f"{_PACKAGE}[{','.join(extras)}]"]
    absent, notes = lacking(wanted)
    while absent:
        print("Adding", ", ".join(absent), flush=True)
        for requirement in absent:
            _install(requirement)
        before = absent
        absent, notes = lacking(wanted)
        if absent == before:  # pip calls it installed and Python does not: no use in asking again
            break
    return notes


def _install(requirement: str) -> None:
    """Install one package and what it needs beside what is there, or else the package alone."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet"]
    with tempfile.TemporaryDirectory() as folder:
        held = Path(folder) / "constraints.txt"
        lines = {f"{one.name}=={one.version}\n" for one in metadata.distributions() if one.name}
        held.write_text("".join(sorted(lines)), encoding="utf-8")
        command = [*pip, "--constraint", str(held), requirement]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            subprocess.run([*pip, "--no-deps", requirement], check=True)


def main(extras: Sequence[str]) -> int:
    """Add the extras and say what was left alone; return 0 if all went well, else 1."""
    try:
        notes = add(extras)
    except (ValueError, subprocess.CalledProcessError) as error:
        print(error, file=sys.stderr)
        return 1
    if notes:
        print("Left as they are:", "; ".join(notes))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
