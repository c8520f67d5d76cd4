"""Deriving notebooks, cleaning outputs, links."""

import shlex
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest

from fedlab_utils.course import notebook as nb
from fedlab_utils.course import outputs
from fedlab_utils.course.links import Repository, repository
from fedlab_utils.course.readme import memory, rewrite, run_time

ROOT = Path(__file__).resolve().parents[2]
REPOSITORY = Repository("o", "r")


def derive(tmp_path: Path, text: str, *, solution: bool = False) -> nb.Notebook:
    path = tmp_path / "01_x.py"
    path.write_text(text)
    return nb.derive(path, REPOSITORY, solution=solution)


def test_ids_are_stable_when_a_cell_is_inserted(tmp_path: Path) -> None:
    one = derive(tmp_path, '# %%\na\n\n# %% id="named"\nb\n\n# %%\na\n')
    two = derive(tmp_path, '# %%\nnew\n\n# %%\na\n\n# %% id="named"\nb\n\n# %%\na\n')
    ids = [cell.id for cell in one.cells]
    assert ids == [cell.id for cell in two.cells][1:]
    assert len(set(ids)) == 3 and ids[1] == "named"
    nbformat.validate(one)


def test_magic_cells_survive(tmp_path: Path) -> None:
    made = derive(tmp_path, "# %%\n# %%tff\nimport x\n\n# %%\n# %pip list\n")
    assert [cell.source for cell in made.cells] == ["%%tff\nimport x", "%pip list"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "needs BEGIN SOLUTION"),
        ("# BEGIN SOLUTION\nx = 1", "without END"),
        ("x = 1\n# END SOLUTION", "without BEGIN"),
        ("# BEGIN SOLUTION\n# BEGIN SOLUTION\n# END SOLUTION", "inside a solution"),
        ("# BEGIN SOLUTION\n# STUB: x = (\nx = 1\n# END SOLUTION", "never closed"),
    ],
)
def test_broken_exercises_are_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"here.*{message}"):
        nb.split_solution(text, "here")


def test_the_default_stub_keeps_the_indent() -> None:
    reader, solution = nb.split_solution(
        "def f(x):\n    # BEGIN SOLUTION\n    return x\n    # END SOLUTION\nf(1)", "here"
    )
    assert reader == "def f(x):\n    ...  # your turn\nf(1)"
    assert solution == "def f(x):\n    return x\nf(1)"


def test_titles_and_minutes(tmp_path: Path) -> None:
    words = " word" * 1000
    made = derive(tmp_path, f"# %% [markdown]\n# # T\n# *Q?*\n#\n# {words}\n")
    assert (nb.title(made), nb.question(made), nb.minutes_to_read(made)) == ("T", "Q?", 10)
    with pytest.raises(ValueError, match="no title"):
        nb.title(derive(tmp_path, "# %%\n1\n"))


def test_the_colab_cell_is_code_that_pip_understands() -> None:
    """First cells that nobody runs rot: parse it as IPython and pip would."""
    from IPython.core.inputtransformer2 import TransformerManager
    from pip._internal.commands import create_command

    cell = repository(ROOT).colab_cell("privacy,flower")
    code = compile(TransformerManager().transform_cell(cell), "colab", "exec")
    ran: list[list[str]] = []
    shell = SimpleNamespace(
        run_line_magic=lambda name, line: ran.append([name, *shlex.split(line)]),
        system=lambda line: ran.append(shlex.split(line)),
    )
    import sys

    exec(code, {"get_ipython": lambda: shell})
    assert ran == []  # not on Colab: nothing happens
    sys.modules["google.colab"] = sys
    try:
        exec(code, {"get_ipython": lambda: shell})
    finally:
        del sys.modules["google.colab"]
    (magic, command, *arguments), added = ran
    options, wanted = create_command(command).parse_args(arguments)
    assert magic == "pip" and command == "install" and not options.upgrade
    assert wanted == [f"fedlab-utils @ git+{repository(ROOT).address}"]
    # An extra's packages ask for versions below Colab's: pip alone would replace those.
    assert added == ["python", "-m", "fedlab_utils.course.add", "privacy", "flower"]


def test_badges_point_to_the_repository() -> None:
    badges = Repository("o", "r").badges("chapters/00_x.ipynb")
    assert "mybinder.org/v2/gh/o/r/main?urlpath=lab/tree/chapters/00_x.ipynb" in badges
    assert "colab.research.google.com/github/o/r/blob/main/chapters/00_x.ipynb" in badges


def test_a_wrong_repository_address_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname="x"\n[project.urls]\nRepository="?"')
    with pytest.raises(ValueError, match="OWNER/NAME"):
        repository(tmp_path)


def test_outputs_are_cleaned() -> None:
    out = nbformat.v4.new_output
    widget = {"application/vnd.jupyter.widget-view+json": {}}
    cell = nbformat.v4.new_code_cell(
        "x",
        metadata={"execution": {"iopub.status.busy": "t"}},
        outputs=[
            out(
                "stream", name="stderr", text="\r  0%|   | 0/9 [00:00<?]\r100%|###| 9/9 [00:01<00]"
            ),
            out("stream", name="stdout", text="a\rb\n"),
            out("stream", name="stdout", text="/r/oot/x.py /tmp/ipykernel_12/34.py:5\n"),
            out("display_data", data=widget),
            out("execute_result", data={"text/plain": "<f at 0x7f00aa11>"}, execution_count=1),
        ],
    )
    made = nbformat.v4.new_notebook(cells=[cell], metadata={"widgets": {}})
    outputs.clean(made, Path("/r/oot"))
    stream, result = made.cells[0].outputs
    assert stream.text == "b\nx.py <cell>:5\n"
    assert result.data["text/plain"] == "<f at 0x…>"
    assert "execution" not in made.cells[0].metadata and "widgets" not in made.metadata


def test_big_outputs_are_reported() -> None:
    image = nbformat.v4.new_output("display_data", data={"image/png": "A" * 200_000})
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x", outputs=[image])])
    first, second = outputs.too_big(made, "x" * 1_000_001)
    assert "cell 1" in first and "150 kB" in first and "1000" in second


def test_readme_blocks() -> None:
    text = "a\n<!-- x:begin -->\nold\n<!-- x:end -->\nb"
    assert rewrite(text, {"x": "new"}) == "a\n<!-- x:begin -->\nnew\n<!-- x:end -->\nb"
    with pytest.raises(ValueError, match="y:begin"):
        rewrite(text, {"y": "new"})
    assert (run_time(59), run_time(150), memory(10), memory(1234)) == (
        *("under 1 min", "2 min"),
        *("0.1 GB", "1.2 GB"),
    )
