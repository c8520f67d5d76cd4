"""What works here? `python -m fedlab_utils.course.doctor` lists it, and what to do about the rest.

Only the standard library is imported at the top: the doctor must run where something is missing.
"""

import importlib
import importlib.metadata as metadata
import importlib.util
import os
import platform
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

OK, MISSING, OPTIONAL = "ok", "missing", "optional"
_MARKS = {OK: "✓", MISSING: "✗", OPTIONAL: "○"}
_PYTHONS = ((3, 11), (3, 13))  # first and last version that the course is tested with
_MEMORY_GB = 2.0
_EXTRAS = {
    "notebooks": "JupyterLab and the chapters",
    "syft": "chapter on PySyft",
    "flower": "chapter on Flower",
    "privacy": "chapters on privacy and encryption",
    "serve": "chapter on deployment",
    "onnx": "chapter on deployment: export",
    "dev": "tests of the course",
}
# Distributions whose import name is another one.
_IMPORTS = {"pillow": "PIL", "scikit-learn": "sklearn", "pyyaml": "yaml"}


@dataclass(frozen=True)
class Finding:
    """One line of the report: `state` is "ok", "missing" (the course needs it) or "optional"."""

    state: str
    name: str
    detail: str
    remedy: str = ""

    def __str__(self) -> str:
        tail = f"\n      -> {self.remedy}" if self.remedy else ""
        return f"  {_MARKS[self.state]} {self.name:<14} {self.detail}{tail}"


def examine() -> dict[str, list[Finding]]:
    """Return the findings by section: machine, core, extras, other. Takes a few seconds."""
    return {
        "This machine": [_python(), _cores(), _memory(), _disk()],
        "Core": [_package(name) for name in _requirements("")] + [_torch_works()],
        "Extras": [_extra(name, purpose) for name, purpose in _EXTRAS.items()],
        "Other": [_tff(), _data_cache()],
    }


def _python() -> Finding:
    version, (low, high) = sys.version_info[:2], _PYTHONS
    good = low <= version <= high
    names = [".".join(map(str, pair)) for pair in _PYTHONS]
    remedy = "" if good else f"install Python {names[0]} to {names[1]}, then `make PYTHON=... lab`"
    return Finding(OK if good else MISSING, "Python", platform.python_version(), remedy)


def _cores() -> Finding:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return Finding(OK, "cores", str(usable or "unknown"))


def memory_limit() -> float | None:
    """Return the memory this process may use [GB]: the machine's, or less in a container."""
    limits = []
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    group_files = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
    for path in map(Path, group_files):
        text = path.read_text(encoding="ascii").strip() if path.exists() else ""
        if text.isdigit():
            limits.append(int(text))
    return min(limits) / 1e9 if limits else None


def _memory() -> Finding:
    limit = memory_limit()
    if limit is None:
        return Finding(OPTIONAL, "memory", "unknown on this system")
    if limit < _MEMORY_GB:
        remedy = f"chapters need up to {_MEMORY_GB:.0f} GB: close other programs or notebooks"
        return Finding(OPTIONAL, "memory", f"{limit:.1f} GB", remedy)
    return Finding(OK, "memory", f"{limit:.1f} GB")


def _disk() -> Finding:
    return Finding(OK, "disk", f"{shutil.disk_usage(Path.cwd()).free / 1e9:.0f} GB free")


def _requirements(extra: str) -> list[str]:
    """Return the names of the distributions that the package, or one of its extras, asks for."""
    try:
        lines = metadata.requires("fedlab-utils") or []
    except metadata.PackageNotFoundError:
        lines = []
    names = []
    for line in lines:
        requirement, _, marker = line.partition(";")
        found = re.search(r"extra\s*==\s*['\"]([\w-]+)['\"]", marker)
        if (found[1] if found else "") == extra:
            name = re.split(r"[^\w.-]", requirement.strip(), maxsplit=1)[0]
            names += [] if name == "fedlab-utils" else [name]
    # A checkout that was never installed: the least that the course cannot do without.
    return names or ([] if extra else ["numpy", "torch", "scikit-learn", "pandas", "matplotlib"])


def _version(distribution: str) -> str | None:
    """Return the version of an installed distribution, None if it is not there."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        module = _IMPORTS.get(distribution, distribution.replace("-", "_"))
        found = importlib.util.find_spec(module) is not None
        return "unknown version" if found else None


def _package(name: str) -> Finding:
    version = _version(name)
    if version is None:
        return Finding(MISSING, name, "not installed", _core_remedy())
    return Finding(OK, name, version)


def checkout() -> Path | None:
    """Return the folder of the course if the package runs from a checkout of it, else None."""
    root = Path(__file__).resolve().parents[2]
    return root if (root / "Makefile").exists() else None


def _install(extra: str) -> str:
    """Return the command that installs the package with an extra ("" for none)."""
    brackets = f"[{extra}]" if extra else ""
    if checkout() is not None:
        pip = f'"{sys.executable}" -m pip install --constraint requirements/core.lock'
        return f'{pip} --editable ".{brackets}"   (in the folder of the course)'
    return f'pip install "fedlab-utils{brackets}{_source()}"'


def _source() -> str:
    """Return where pip finds the package, from its metadata: " @ git+https://..."."""
    try:
        urls = metadata.metadata("fedlab-utils").get_all("Project-URL") or []
    except metadata.PackageNotFoundError:
        urls = []
    addresses = [url.partition(", ")[2] for url in urls if url.startswith("Repository, ")]
    return f" @ git+{addresses[0]}" if addresses else ""


def _core_remedy() -> str:
    return "make setup" if checkout() is not None else _install("")


def _torch_works() -> Finding:
    """Do one small computation: an installed torch need not be one that loads."""
    try:
        torch = importlib.import_module("torch")
        numpy = importlib.import_module("numpy")
        total = float((torch.ones(3) @ torch.from_numpy(numpy.ones(3, dtype="float32"))).item())
    except Exception as error:
        return Finding(MISSING, "torch + numpy", f"{type(error).__name__}: {error}", _core_remedy())
    gpu = "with" if torch.cuda.is_available() else "without"
    state = OK if total == 3.0 else MISSING
    return Finding(state, "torch + numpy", f"compute together, {gpu} a GPU")


def _extra(name: str, purpose: str) -> Finding:
    wanted = _requirements(name)
    if not wanted:
        detail = f"{purpose}; unknown: the package is not installed"
        return Finding(OPTIONAL, name, detail, _core_remedy())
    missing = [package for package in wanted if _version(package) is None]
    if not missing:
        return Finding(OK, name, purpose)
    return Finding(OPTIONAL, name, f"{purpose}; missing: {', '.join(missing)}", _install(name))


def _tff() -> Finding:
    """TensorFlow Federated lives in an environment of its own."""
    runtime = importlib.import_module("fedlab_utils.runtimes.tff")
    found = runtime.status()
    if found.ready:
        return Finding(OK, "TFF", str(found))
    remedy = "make tff" if checkout() is not None else runtime.INSTALL
    return Finding(OPTIONAL, "TFF", f"{found.state} (chapter 05): {found.folder}", remedy)


def _data_cache() -> Finding:
    try:
        folder = Path(importlib.import_module("fedlab_utils.data.download").cache_folder())
    except (ImportError, AttributeError) as error:
        return Finding(OPTIONAL, "data cache", f"unknown: {error}")
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return Finding(OK, "data cache", f"{folder} ({size / 1e6:.0f} MB)")


def healthy(findings: dict[str, list[Finding]]) -> bool:
    """Tell whether the course's core works: nothing it needs is missing."""
    return all(finding.state != MISSING for section in findings.values() for finding in section)


def report(findings: dict[str, list[Finding]] | None = None) -> str:
    """Return the report as text: ✓ works, ✗ needed and missing, ○ needed by some chapters only.

    Taught in chapter 00.
    """
    findings = examine() if findings is None else findings
    sections = (
        "\n".join([title, *(str(finding) for finding in lines)])
        for title, lines in findings.items()
    )
    verdict = "The core works." if healthy(findings) else "The core does not work: see the ✗ above."
    return "\n\n".join([*sections, verdict])


def main() -> int:
    """Print the report; return 0 if the course's core works, else 1."""
    findings = examine()
    print(report(findings))
    return 0 if healthy(findings) else 1


if __name__ == "__main__":
    sys.exit(main())
