"""The same assignments for otter-grader, made from nbgrader's source.

write("01_ball_and_bound", out)              out/student/, out/autograder/
points = graded(notebook, out / AUTOGRADER)  the points of each question of a submission

A question is what students write, with all tests up to the next one. An nbgrader cell of tests is
one hidden test with the points of that cell, and a test without points that students see, if it
shows them anything.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_raw_cell
from otter.api import grade_submission
from otter.assign import main as assign

SOURCES = Path(__file__).parent
AUTOGRADER = Path("autograder", "autograder.zip")
SOLUTION, HIDDEN = "SOLUTION", "HIDDEN TESTS"


def write(name: str, out: Path) -> None:
    """Write student copy and autograder; the solutions have to pass on the way."""
    source = nbformat.read(SOURCES / f"{name}.ipynb", as_version=4)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        master = Path(folder) / f"{name}.ipynb"
        nbformat.write(in_otters_form(name, source), master)
        assign(str(master), str(out), no_pdfs=True)
    made = next(out.glob("autograder/*.zip"))  # otter names it by the time
    made.replace(out / AUTOGRADER)


def graded(notebook: Path, autograder: Path) -> dict[str, float]:
    """The points of each question that tests grade. It runs here, not in a container."""
    found = grade_submission(str(notebook), str(autograder), quiet=True)
    return {name: result.score for name, result in found.results.items()}


def in_otters_form(name: str, source: NotebookNode) -> NotebookNode:
    """The notebook with otter's raw cells around each question."""
    config = f"# ASSIGNMENT CONFIG\nname: {name}\nexport_cell:\n  pdf: false"
    cells, tests = [new_raw_cell(config)], _tests(source)
    for cell in source.cells:
        role = role_of(cell)
        if role.solution:
            cells += _question(cell, tests[role.grade_id])
        elif not role.grade:
            cells.append(cell)
    return new_notebook(cells=cells, metadata=source.metadata)


def _tests(source: NotebookNode) -> dict[str, list[NotebookNode]]:
    """The cells of tests of each question: those up to the next one."""
    found = {}
    for cell in source.cells:
        role = role_of(cell)
        if role.solution:
            latest = found[role.grade_id] = []
        elif role.grade:
            latest.append(cell)
    return found


def role_of(cell: NotebookNode) -> NotebookNode:
    """What nbgrader has a cell for: nothing, where it knows none, as that of the number."""
    return cell.metadata.get("nbgrader", NotebookNode(grade=False, solution=False, grade_id=None))


def _question(cell: NotebookNode, tests: list[NotebookNode]) -> list[NotebookNode]:
    role = role_of(cell)
    asked, answer, _ = cut(cell.source, SOLUTION)
    if cell.cell_type == "markdown":
        made = [new_markdown_cell(asked.strip())]
        made += _between("SOLUTION", [new_markdown_cell(answer.strip())])
        return _between("QUESTION", made, name=role.grade_id, manual=True, points=role.points)
    made = _between("SOLUTION", [new_code_cell(cell.source.replace("### ", "# "))])
    made += _between("TESTS", [case for test in tests for case in _cases(test)])
    return _between("QUESTION", made, name=role.grade_id)


def _cases(test: NotebookNode) -> list[NotebookNode]:
    """What students see, without points if more is hidden; then all of it, with its points."""
    points, (before, hidden, after) = role_of(test).points, cut(test.source, HIDDEN)
    if not hidden:
        return [_case(test.source, points, hidden=False)]
    seen = before + after
    shown = [_case(seen, 0, hidden=False)] if "assert" in seen else []
    return [*shown, _case(before + hidden + after, points, hidden=True)]


def _case(code: str, points: float, *, hidden: bool) -> NotebookNode:
    config = f'""" # BEGIN TEST CONFIG\npoints: {points}\nhidden: {str(hidden).lower()}\n'
    return new_code_cell(f'{config}""" # END TEST CONFIG\n{code}')


def _between(block: str, cells: list[NotebookNode], **config: object) -> list[NotebookNode]:
    lines = [f"# BEGIN {block}", *(f"{key}: {value}" for key, value in config.items())]
    return [new_raw_cell("\n".join(lines)), *cells, new_raw_cell(f"# END {block}")]


def cut(text: str, mark: str) -> tuple[str, str, str]:
    """What is before, between and after the marks; all of it before where there are none."""
    before, _, rest = text.partition(f"### BEGIN {mark}\n")
    between, _, after = rest.partition(f"### END {mark}")
    return before, between, after
