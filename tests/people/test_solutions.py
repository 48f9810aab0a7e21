"""Each exercise of a numbered notebook has a solution: with its minutes, folded, and it runs."""

import re

import nbformat
import pytest
from nbclient import NotebookClient

from unlearnlib.lab.files import repository_root

FOLDER = repository_root() / "notebooks"
NUMBERED = re.compile(r"^\d+\. .*", re.MULTILINE)
MINUTES = re.compile(r"\(\d+ minutes\)")
FOLDED = re.compile(r"^<details><summary>Answer</summary>\n\n.*\n\n</details>$", re.DOTALL)
HIDDEN = {"jupyter": {"source_hidden": True, "outputs_hidden": True}, "tags": ["hide-cell"]}
LONGEST_CELL = 25
LARGEST_IMAGE = 60_000  # bytes


def read(path):
    return nbformat.read(path, as_version=4)


def exercises(path):
    """The cell of a notebook that asks its exercises, up to the next heading; "" without any."""
    sources = [cell.source for cell in read(path).cells if cell.cell_type == "markdown"]
    asked = [re.search(r"^## Exercises\n(.*?)(?=^## |\Z)", s, re.M | re.S) for s in sources]
    return "".join(found.group(1) for found in asked if found)


ASKING = [path for path in sorted(FOLDER.glob("[0-9][0-9]_*.ipynb")) if exercises(path)]
EACH = pytest.mark.parametrize("path", ASKING, ids=lambda path: path.stem)


def solutions(path):
    return path.parent / "solutions" / path.name


def solved(path):
    """The cells of each exercise in the solutions to a notebook: a list a heading."""
    parts = []
    for cell in read(solutions(path)).cells:
        if cell.cell_type == "markdown" and re.match(r"## \d+\. \S", cell.source):
            parts.append([])
        if parts:
            parts[-1].append(cell)
    return parts


def test_there_are_notebooks_with_exercises():
    assert ASKING


@EACH
def test_each_exercise_says_its_minutes_and_the_solutions_are_linked(path):
    asked = NUMBERED.findall(exercises(path))
    assert asked and [line for line in asked if not MINUTES.search(line[-14:])] == []
    link = f"Solutions, folded: [solutions/{path.stem}](solutions/{path.name})."
    assert exercises(path).rstrip().endswith(link)


@EACH
def test_each_exercise_has_one_folded_answer_with_the_same_minutes(path):
    asked, parts = NUMBERED.findall(exercises(path)), solved(path)
    assert len(parts) == len(asked)
    for number, (exercise, part) in enumerate(zip(asked, parts, strict=True), 1):
        assert part[0].source.startswith(f"## {number}. ")
        assert MINUTES.findall(part[0].source) == MINUTES.findall(exercise)
        answers = [c for c in part if c.cell_type == "markdown" and FOLDED.match(c.source)]
        assert len(answers) == 1, part[0].source


@EACH
def test_its_code_is_hidden_and_short_and_its_outputs_are_there_and_small(path):
    codes = [cell for part in solved(path) for cell in part if cell.cell_type == "code"]
    for cell in codes:
        assert {name: cell.metadata.get(name) for name in HIDDEN} == HIDDEN
        assert len(cell.source.splitlines()) <= LONGEST_CELL, cell.source
        assert cell.execution_count, "not run"
        for output in cell.outputs:
            image = output.get("data", {}).get("image/png", "")
            assert output.output_type != "error" and len(image) * 3 / 4 < LARGEST_IMAGE


@EACH
def test_it_opens_with_its_title_and_runs_on_any_python_kernel(path):
    notebook = read(solutions(path))
    assert notebook.cells[0].source.startswith(f"# Solutions to {path.stem[:2]}: ")
    assert notebook.metadata.kernelspec.name == "python3"
    assert set(notebook.metadata) == {"kernelspec", "language_info"}


@EACH
def test_it_runs_and_what_it_asserts_is_true(path, tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("UNLEARNLIB_FIGURES", str(tmp_path / "figures"))
    where = {"metadata": {"path": str(solutions(path).parent)}}
    NotebookClient(read(solutions(path)), timeout=300, resources=where).execute()
