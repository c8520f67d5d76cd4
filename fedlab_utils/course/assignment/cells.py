"""A notebook's code cells: which one asks an exercise, and which others it needs.

Used in the student's process only: parsing somebody's code can exhaust a parser.
"""

import ast
import linecache
import re
import symtable
import traceback
from dataclasses import dataclass
from typing import Any

_MAGIC = re.compile(r"^(\s*)[%!].*$")


@dataclass(frozen=True)
class Cell:
    """One code cell that can be run: its number in the notebook, its tree, the names it binds and
    those it needs from elsewhere."""

    number: int
    tree: ast.Module
    binds: frozenset[str]
    needs: frozenset[str]


def parse(sources: list[str]) -> list[Cell]:
    """Return the cells that are Python; lines of magics are left out, and cells of `%%` magics.

    A cell with a syntax error is left out too: the exercise in it is then not found.
    """
    cells = []
    for number, source in enumerate(sources, start=1):
        if source.lstrip().startswith("%%"):
            continue
        text = "\n".join(_MAGIC.sub(r"\1pass", line) for line in source.splitlines())
        try:
            tree = ast.parse(text)
            names = _names(tree, text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        name = f"<cell {number}>"
        linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
        cells.append(Cell(number, tree, *names))
    return cells


def _names(tree: ast.Module, text: str) -> tuple[frozenset[str], frozenset[str]]:
    """The names that a cell binds or changes at its top level, and those it needs from outside."""
    top = symtable.symtable(text, "<cell>", "exec")
    bound = {name.get_name() for name in top.get_symbols() if _is_bound(name)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store):
            # `table["x"] = 1` changes what `table` is.
            bound |= {inner.id for inner in ast.walk(node.value) if isinstance(inner, ast.Name)}
        if isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
            bound.add("*")
    return frozenset(bound), frozenset(_globals(top))


def _is_bound(name: symtable.Symbol) -> bool:
    return name.is_assigned() or name.is_imported()


def _globals(table: symtable.SymbolTable) -> set[str]:
    """The global names that a scope or one inside it reads."""
    top = table.get_type() == "module"
    names = {
        name.get_name()
        for name in table.get_symbols()
        if name.is_referenced() and (top or name.is_global())
    }
    return names.union(*(_globals(inner) for inner in table.get_children()))


def find(cells: list[Cell], id: str) -> tuple[Cell, ast.expr] | None:
    """Return the last cell that calls `check(id, answer)`, and the expression of the answer."""
    for cell in reversed(cells):
        for node in ast.walk(cell.tree):
            if (
                isinstance(node, ast.Call)
                and getattr(node.func, "id", getattr(node.func, "attr", "")) == "check"
                and len(node.args) == 2
                and isinstance(node.args[0], ast.Constant)
                and node.args[0].value == id
            ):
                return cell, node.args[1]
    return None


def needed(cells: list[Cell], goal: Cell) -> list[Cell]:
    """Return the cells that `goal` needs, and itself, in the notebook's order.

    A cell is needed if it stands before and binds a name that a needed cell mentions; so is every
    cell that imports everything from somewhere.
    """
    chosen, wanted = [goal], set(goal.needs)
    for cell in reversed(cells[: cells.index(goal)]):
        if cell.binds & (wanted | {"*"}):
            chosen.append(cell)
            wanted |= cell.needs
    return chosen[::-1]


def run(cells: list[Cell], answer: ast.expr, *, forgiving: bool = False) -> Any:
    """Run the cells one after the other in one namespace, then return the answer's value.

    Args:
        forgiving: whether a cell may fail, except the last.
    """
    namespace: dict[str, Any] = dict.fromkeys(("check", "hint", "display"), lambda *_, **__: None)
    namespace["__name__"] = "__main__"
    for cell in cells:
        try:
            exec(compile(cell.tree, f"<cell {cell.number}>", "exec"), namespace)
        except Exception:
            if not forgiving or cell is cells[-1]:
                raise
    last = f"<cell {cells[-1].number}>"
    return eval(compile(ast.Expression(answer), last, "eval"), namespace)


def place(error: BaseException) -> str:
    """Say which of the student's lines an error came from; "" if it came from none."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename.startswith("<cell ")]
    if not own:
        return ""
    return f"line {own[-1].lineno} of your cell: `{(own[-1].line or '')[:200]}`"
