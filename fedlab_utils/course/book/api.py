"""The pages of the API reference: one for each package, from the docstrings of its public names."""

import ast
import importlib
import inspect
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

# This package has no `__all__`: the public names of its modules are documented.
_BY_MODULE = ("fedlab_utils.data",)
_ALONE = ("fedlab_utils.errors",)


@dataclass(frozen=True)
class Documented:
    """One page's part: a module, and the names of it that are documented."""

    module: str
    names: tuple[str, ...]


def packages(root: Path) -> dict[str, list[Documented]]:
    """Return what is documented: the names in `__all__` of each package that has one.

    `root` is the folder of the package fedlab_utils. Packages are found in the files, so that new
    ones appear by themselves.
    """
    found = {}
    for init in sorted(root.rglob("__init__.py")):
        package = ".".join(init.parent.relative_to(root.parent).parts)
        if package in _BY_MODULE:
            files = sorted(init.parent.glob("[a-z]*.py"))
            parts = [_own(importlib.import_module(f"{package}.{file.stem}")) for file in files]
        elif package != root.name and "__all__" in init.read_text(encoding="utf-8"):
            names = importlib.import_module(package).__all__
            parts = [Documented(package, tuple(sorted(names, key=str.lower)))]
        else:
            continue
        found[package] = [part for part in parts if part.names]
    for name in _ALONE:
        found[name] = [_own(importlib.import_module(name))]
    return dict(sorted(found.items()))


def _own(module: ModuleType) -> Documented:
    """The public functions and classes that a module defines itself."""
    names = [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__ == module.__name__
    ]
    return Documented(module.__name__, tuple(sorted(names, key=str.lower)))


def package_page(package: str, parts: list[Documented]) -> str:
    """Return the page of one package."""
    blocks = [f"# {package}\n", _module(package)]
    for part in parts:
        if part.module != package:
            blocks += [f"## {part.module}\n", _module(part.module)]
        blocks += [_object(part.module, name) for name in part.names]
    return "\n".join(blocks)


def _module(name: str) -> str:
    return f"```{{eval-rst}}\n.. automodule:: {name}\n   :no-members:\n```\n"


def _object(module: str, name: str) -> str:
    value = getattr(importlib.import_module(module), name)
    if inspect.isclass(value):
        kind = "exception" if issubclass(value, BaseException) else "class"
        lines = [f".. auto{kind}:: {module}.{name}", "   :members:"]
        if not all(map(hidden_base, value.__bases__)):
            lines.append("   :show-inheritance:")
    elif inspect.isroutine(value):
        lines = [f".. autofunction:: {module}.{name}"]
    elif inspect.ismodule(value):
        lines = [f".. py:data:: {module}.{name}", "", f"   The module: {summary(value)}."]
    else:  # a constant: what it says about itself is the documentation of its type
        lines = [f".. py:data:: {module}.{name}", "", f"   A constant: `{type(value).__name__}`."]
    return "\n".join(["```{eval-rst}", *lines, "```", ""])


def hidden_base(base: Any) -> bool:
    """Tell whether a base class says nothing to a reader."""
    return base is object or getattr(base, "__name__", "").startswith("_")


def summary(value: Any) -> str:
    """Return the first sentence of a docstring, on one line."""
    text = inspect.getdoc(value) or ""
    return " ".join(text.split("\n\n")[0].split()).partition(". ")[0].rstrip(".")


def full_names(found: dict[str, list[Documented]]) -> dict[str, str]:
    """Return the full name of each documented name; of two with the same name, neither."""
    names: dict[str, str] = {}
    twice = set()
    for part in (part for parts in found.values() for part in parts):
        for name in part.names:
            value = getattr(importlib.import_module(part.module), name)
            if name in names and resolve(names[name]) is not value:
                twice.add(name)
            names.setdefault(name, f"{part.module}.{name}")
    return {name: full for name, full in names.items() if name not in twice}


def resolve(full: str) -> Any:
    """Return what a full name of the reference names."""
    module, _, name = full.rpartition(".")
    return getattr(importlib.import_module(module), name)


def sources(root: Path) -> dict[str, list[str]]:
    """Return the files, relative to the checkout, that define a name at their top level."""
    files: dict[str, list[str]] = {}
    for file in sorted(root.rglob("*.py")):
        label = file.relative_to(root.parent).as_posix()
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            for name in _defined(node):
                files.setdefault(name, []).append(label)
    return files


def _defined(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        return [node.name]
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    return []


def index_page(found: dict[str, list[Documented]], top: ModuleType) -> str:
    """Return the reference's first page: the names of `import fedlab_utils as fl`, the packages."""
    homes = {
        id(resolve(full)): full
        for parts in found.values()
        for part in parts
        for full in (f"{part.module}.{name}" for name in part.names)
    }
    lines = ["# The package\n", "## What you type\n", "`import fedlab_utils as fl` gives you:\n"]
    lines += ["| Name | What it is |", "| --- | --- |"]
    for name in sorted(top.__all__, key=str.lower):
        value = getattr(top, name)
        link = f"{{py:obj}}`fl.{name} <{homes[id(value)]}>`"
        lines.append(f"| {link} | {summary(value).replace('|', chr(92) + '|')} |")
    lines += ["\n## Packages\n", "| Package | What it holds |", "| --- | --- |"]
    for package in found:
        text = summary(importlib.import_module(package)).replace("|", "\\|")
        lines.append(f"| [{package}]({package}.md) | {text} |")
    pages = "\n".join(found)
    return "\n".join(lines) + f"\n\n```{{toctree}}\n:hidden:\n\n{pages}\n```\n"
