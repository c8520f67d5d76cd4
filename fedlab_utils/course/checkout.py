"""A checkout of the course: its chapters, their files, and whether they are up to date."""

from pathlib import Path
from typing import Any

from fedlab_utils.course import notebook as nb
from fedlab_utils.course import readme
from fedlab_utils.course.links import Repository, repository
from fedlab_utils.course.results import load_results
from fedlab_utils.course.state import State


class Course:
    """The chapters of the checkout `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.chapters = self.root / "chapters"
        self.solutions = self.chapters / "solutions"
        self.results = self.chapters / "results"
        self.figures = self.chapters / "figures"
        self.repository: Repository = repository(self.root)
        self.state = State(self.root)

    def names(self, wanted: list[str]) -> list[str]:
        """Return the chapters that `wanted` names (by number or name), or all of them.

        Raises ValueError for a chapter that has no source.
        """
        known = sorted(path.stem for path in (self.chapters / "src").glob("[0-9][0-9]_*.py"))
        if not wanted:
            return known
        chosen = []
        for text in wanted:
            stem = Path(text).stem
            key = stem.zfill(2) if stem.isdigit() else stem
            found = [name for name in known if name == key or name.startswith(f"{key}_")]
            if not found:
                raise ValueError(f"no chapter {text!r}; there are {', '.join(known) or 'none'}")
            chosen += found
        return chosen

    def source(self, name: str) -> Path:
        return self.chapters / "src" / f"{name}.py"

    def derived(self, name: str, *, solution: bool) -> Path:
        return (self.solutions if solution else self.chapters) / f"{name}.ipynb"

    def expected(self, name: str, *, solution: bool) -> Any:
        """Return the notebook as the source and build.json have it, without outputs."""
        derived = nb.derive(self.source(name), self.repository, solution=solution)
        nb.fill(derived, self.values(name, derived))
        return derived

    def values(self, name: str, derived: Any) -> dict[str, str]:
        """Return the texts of the placeholders; measured ones only after a first build."""
        values = {
            "badges": self.repository.badges(f"chapters/{name}.ipynb"),
            "minutes_read": f"{nb.minutes_to_read(derived)} min",
        }
        if (measured := self.state.measured(name)) is not None:
            values["minutes_run"] = readme.run_time(measured[0])
            values["memory"] = readme.memory(measured[1])
        return values

    def differs(self, name: str, *, solution: bool) -> bool:
        """Tell whether an existing notebook has other cells than its source."""
        import nbformat

        built = nbformat.read(self.derived(name, solution=solution), as_version=4)
        return not nb.same_cells(built, self.expected(name, solution=solution))

    def problems(self, name: str) -> list[str]:
        """Say in which ways a chapter's notebooks differ from its source; [] if they agree."""
        found = []
        for solution in (False, True):
            path = self.derived(name, solution=solution)
            label = path.relative_to(self.root)
            if not path.exists():
                found.append(f"{label} is missing")
            elif self.differs(name, solution=solution):
                found.append(f"{label} differs from its source")
        return found

    def must_run(self, name: str) -> bool:
        """Tell whether a chapter must be executed: its code, or what that used, has changed."""
        built = all(self.derived(name, solution=solution).exists() for solution in (False, True))
        return not built or self.state.changed(name)

    def lines(self) -> list[readme.Line]:
        """Return the README's line of each chapter that has been built."""
        lines = []
        for name in self.names([]):
            measured = self.state.measured(name)
            if measured is None:
                continue
            derived = nb.derive(self.source(name), self.repository, solution=False)
            read = nb.minutes_to_read(derived)
            head = (nb.title(derived), nb.question(derived))
            lines.append(readme.Line(name, *head, read, *measured))
        return lines

    def headlines(self) -> list[dict[str, Any]]:
        """Return the saved results that the README shows."""
        return [record for record in load_results(self.results) if record["headline"]]

    def readme_text(self) -> str:
        """Return README.md with its blocks as build.json and the results have them."""
        blocks = readme.blocks(self.lines(), self.headlines(), self.repository)
        text = (self.root / "README.md").read_text(encoding="utf-8")
        return readme.rewrite(text, blocks)
