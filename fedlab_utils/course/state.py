"""`chapters/build.json`: what each chapter was built from, and what its run took."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fedlab_utils.course.notebook import code_digest


class State:
    """The record of the last build of each chapter of the checkout `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._path = root / "chapters" / "build.json"
        self._chapters = self._read()
        self._new: set[str] = set()

    def _read(self) -> dict[str, dict[str, Any]]:
        return json.loads(self._path.read_text(encoding="utf-8")) if self._path.exists() else {}

    def measured(self, name: str) -> tuple[float, float] | None:
        """Return (seconds, peak memory [MB]) of the chapter's last build, if there was one."""
        entry = self._chapters.get(name)
        return None if entry is None else (entry["seconds"], entry["memory_mb"])

    def changed(self, name: str) -> bool:
        """Tell whether the chapter's code, a package file it used or a data set has changed."""
        entry = self._chapters.get(name)
        return entry is None or entry["inputs"] != self._inputs(name, entry["modules"])

    def record(self, name: str, files: Iterable[Path], seconds: float, memory_mb: float) -> None:
        """Remember a build; `save` writes it. Memory is rounded to 10 MB, seconds to 0.1."""
        inside = {file.resolve() for file in files}
        # A runtime's other files run in processes of their own, where nobody lists them.
        runtimes = self._root.resolve() / "fedlab_utils" / "runtimes"
        packages = [p.relative_to(runtimes).parts for p in inside if p.is_relative_to(runtimes)]
        for runtime in {parts[0] for parts in packages if len(parts) > 1}:
            inside.update((runtimes / runtime).rglob("*.py"))
        modules = sorted(
            file.relative_to(self._root).as_posix()
            for file in inside
            if file.is_relative_to(self._root)
        )
        self._chapters[name] = {
            "inputs": self._inputs(name, modules),
            "seconds": round(seconds, 1),
            "memory_mb": round(memory_mb, -1),
            "modules": modules,
        }
        self._new.add(name)

    def save(self) -> None:
        """Write what was recorded here into build.json, chapters sorted by name.

        The file is read again first: another build may have written other chapters meanwhile.
        """
        self._chapters = {**self._read(), **{name: self._chapters[name] for name in self._new}}
        text = json.dumps(dict(sorted(self._chapters.items())), indent=1)
        part = self._path.with_name(self._path.name + ".part")
        part.write_text(text + "\n", encoding="utf-8")
        part.replace(self._path)

    def _inputs(self, name: str, modules: list[str]) -> str:
        """Return one hash of everything the chapter's outputs depend on."""
        paths = [self._root / module for module in modules]
        data = self._root / "datasets"
        paths += sorted(path for path in data.rglob("*") if path.is_file())
        source = self._root / "chapters" / "src" / f"{name}.py"
        code = code_digest(source) if source.exists() else "missing"
        total = hashlib.sha256(code.encode())
        for path in paths:
            total.update(path.relative_to(self._root).as_posix().encode())
            total.update(path.read_bytes() if path.exists() else b"missing")
        return total.hexdigest()
