"""`%%tff` cells and `%tff_restart` for a notebook. Taught in chapter 05.

%load_ext fedlab_utils.runtimes.tff
"""

from __future__ import annotations

import argparse
import shlex
from typing import Any, NoReturn

from fedlab_utils.errors import FedlabError
from fedlab_utils.runtimes.tff.home import require
from fedlab_utils.runtimes.tff.kernel import TffError
from fedlab_utils.runtimes.tff.shared import shared_kernel, stop_shared_kernel


class _Parser(argparse.ArgumentParser):
    """Complains by an exception instead of ending the notebook's kernel."""

    def error(self, message: str) -> NoReturn:
        raise FedlabError(f"%%tff: {message}. Usage: %%tff [--in x ...] [--out y ...]")


def _parser() -> _Parser:
    parser = _Parser(prog="%%tff", add_help=False)
    parser.add_argument("--in", dest="given", nargs="+", default=[], metavar="NAME")
    parser.add_argument("--out", dest="wanted", nargs="+", default=[], metavar="NAME")
    parser.add_argument("--fails", metavar="ERROR")
    return parser


def run_cell(line: str, cell: str, variables: dict[str, Any]) -> None:
    """Run a cell in the shared kernel; `variables` are those of the notebook.

    `line` may hold "--in x y" (copy these variables there first), "--out z" (copy these back
    afterwards) and "--fails NAME" (the cell is meant to fail with this error; print it in one
    line and go on). Raises TffError if the cell fails, FedlabError for a name that is not there.
    """
    options = _parser().parse_args(shlex.split(line))
    for name in [*options.given, *options.wanted]:
        if not name.isidentifier():
            raise FedlabError(f"%%tff: {name!r} is not the name of a variable.")
    for name in options.given:
        if name not in variables:
            raise FedlabError(f"%%tff --in {name}: this notebook has no variable {name!r}.")
    kernel = shared_kernel()
    if options.given:
        kernel.put({name: variables[name] for name in options.given})
    try:
        kernel.run(cell)
    except TffError as error:
        if error.name != options.fails:
            raise
        print(f"{error.name}: {error.message.strip()}")
    else:
        if options.fails:
            raise AssertionError(f"this cell was meant to fail with {options.fails}, it did not")
    if options.wanted:
        variables.update(kernel.get(*options.wanted))


def load_ipython_extension(shell: Any) -> None:
    """Register the magics. Raises FedlabError, with the command, if there is no environment."""
    require()

    def tff(line: str, cell: str) -> None:
        run_cell(line, cell, shell.user_ns)

    def tff_restart(line: str) -> None:
        """Start afresh: end the kernel of `%%tff` cells; the next cell starts a new one."""
        if line.strip():
            raise FedlabError("%tff_restart takes no arguments.")
        stop_shared_kernel()
        print("TensorFlow Federated starts afresh; its variables are gone.")

    tff.__doc__ = run_cell.__doc__
    shell.register_magic_function(tff, "cell", "tff")
    shell.register_magic_function(tff_restart, "line", "tff_restart")


def unload_ipython_extension(shell: Any) -> None:
    """End the kernel."""
    stop_shared_kernel()
