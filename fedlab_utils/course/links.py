"""Everything that is derived from the one repository address in pyproject.toml."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

_BINDER_IMAGE = "https://mybinder.org/badge_logo.svg"
_COLAB_IMAGE = "https://colab.research.google.com/assets/colab-badge.svg"
_BRANCH = "main"


@dataclass(frozen=True)
class Repository:
    """A public repository: `owner` and `name` as its address spells them.

    Taught in chapter 00.
    """

    owner: str
    name: str

    @property
    def address(self) -> str:
        """The address that git clones."""
        return f"https://github.com/{self.owner}/{self.name}"

    def badges(self, notebook: str) -> str:
        """Return the Binder and Colab badges for a notebook path, as one line of Markdown."""
        binder = f"https://mybinder.org/v2/gh/{self.owner}/{self.name}/{_BRANCH}"
        colab = f"https://colab.research.google.com/github/{self.owner}/{self.name}"
        return (
            f"[![Open on Binder]({_BINDER_IMAGE})]({binder}?urlpath=lab/tree/{notebook}) "
            f"[![Open in Colab]({_COLAB_IMAGE})]({colab}/blob/{_BRANCH}/{notebook})"
        )

    def colab_cell(self, extras: str = "") -> str:
        """Return the first code cell of every chapter: it prepares Colab, else does nothing.

        `extras` is a comma-separated list of the package's extras that the chapter needs. The
        package asks for lower bounds only, so pip leaves what Colab ships as it is; an extra's
        packages may ask for more, so they are added by a command that replaces nothing.
        """
        lines = [
            "# On Colab this installs the course's package. Everywhere else it does nothing.",
            "import sys",
            "",
            'if "google.colab" in sys.modules:',
            f'    %pip install --quiet "fedlab-utils @ git+{self.address}"',
        ]
        if extras:
            lines.append(f"    !python -m fedlab_utils.course.add {' '.join(extras.split(','))}")
        return "\n".join(lines)


def repository(root: Path) -> Repository:
    """Read the repository address from `root`/pyproject.toml.

    Raises ValueError if it is not an address of the form https://github.com/OWNER/NAME.
    """
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    address = project.get("urls", {}).get("Repository", "")
    found = re.fullmatch(r"https://github\.com/([\w.-]+)/([\w.-]+?)(?:\.git)?/?", address)
    if found is None:
        raise ValueError(
            f"pyproject.toml: [project.urls] Repository is {address!r}; "
            "Binder and Colab need https://github.com/OWNER/NAME"
        )
    return Repository(*found.groups())
