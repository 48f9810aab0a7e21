"""Find the notebooks and their studies by their file names, so that no list has to be kept.

The study of notebooks/NN_name.ipynb is notebooks/studies/nbNN_name, a module or a package. It has
FIGURES, and its docstring says what the notebook shows.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

import nbformat
from matplotlib.figure import Figure
from nbformat import NotebookNode

from ..errors import DataError, InputError, require
from .files import read_json, repository_root
from .results import Saved


def default_folder() -> Path:
    """The notebooks of this repository."""
    return repository_root() / "notebooks"


def all_in(folder: Path) -> list[Path]:
    """The notebooks of a folder, in the order of their numbers."""
    return sorted(folder.resolve().glob("[0-9][0-9]_*.ipynb"))


def named(folder: Path, name: str) -> list[Path]:
    """The notebook of that name, or all if the name is empty; InputError lists those there are."""
    paths = all_in(folder)
    known = ", ".join(path.stem for path in paths) or "none"
    if name:
        paths = [path for path in paths if path.stem == name.removesuffix(".ipynb")]
    require(paths != [], f"no notebook {name!r} in {folder}; there are: {known}", InputError)
    return paths


def read_notebook(path: Path, remedy: str) -> NotebookNode:
    """Read a notebook in nbformat 4; DataError names the file and the remedy if it is none."""
    read_json(path, remedy)  # nbformat refuses it too, but names no file
    try:
        return nbformat.read(path, as_version=4)
    except Exception as error:  # of nbformat or its schema, each with a class of its own
        raise DataError(f"{path} is not a notebook ({error}); {remedy}.") from error


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """The code cells, without the one that papermill added."""
    return [
        cell
        for cell in notebook.cells
        if cell.cell_type == "code" and not _tagged(cell, "injected-parameters")
    ]


def is_panel(cell: NotebookNode) -> bool:
    """Whether a cell shows formulae under sliders, and no result (panels.py)."""
    return _tagged(cell, "panel")


def _tagged(cell: NotebookNode, tag: str) -> bool:
    return tag in cell.metadata.get("tags", [])


def study_files(folder: Path, notebook: str) -> list[Path]:
    """The files of a notebook's study; none if it has no study, as your own notebook may."""
    at = folder / "studies" / study_name(notebook)
    return [at.with_suffix(".py")] if at.with_suffix(".py").exists() else sorted(at.glob("*.py"))


def study(folder: Path, notebook: str) -> ModuleType | None:
    """The study of a notebook, imported from beside it; None where there is none."""
    if not study_files(folder, notebook):
        return None
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    return import_module(f"studies.{study_name(notebook)}")


def study_name(notebook: str) -> str:
    """The study of a notebook, by name: "nbNN_name" for "NN_name"; "benchmarks" stays."""
    return f"nb{notebook}" if notebook[0].isdigit() else notebook


def all_studies(folder: Path) -> list[str]:
    """Names of all that has results: notebooks, and studies without one, as "benchmarks"."""
    names = {path.stem for path in all_in(folder)}
    others = {
        path.stem for path in (folder / "studies").glob("*") if study_files(folder, path.stem)
    }
    return sorted(names) + sorted(others - {"__init__"} - {study_name(name) for name in names})


def planned_minutes(notebook: NotebookNode) -> float | None:
    """The minutes at `quick` that the first cell names; None where it names none."""
    match = re.search(r"About \*\*([\d.]+) minutes?\*\* at `quick`", notebook.cells[0].source)
    return float(match[1]) if match else None


def figures(study: ModuleType | None) -> tuple[Callable[[Saved], Figure], ...]:
    """What draws each figure of a study, in the order in which the notebook shows them."""
    return getattr(study, "FIGURES", ())


@cache  # the same files are looked at for every notebook
def without_comments(source: str) -> str:
    """Return Python code in a form without comments, docstrings and layout, to be compared.

    Text that is not Python, such as a cell with a magic command, is returned unchanged.
    """
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return source
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, owners) and ast.get_docstring(node) is not None:
            del node.body[0]
    return ast.dump(tree)


def first_sentence(thing: ModuleType | Callable) -> str:
    """The first paragraph of a docstring, on one line and without its full stop."""
    return " ".join((thing.__doc__ or "").strip().split("\n\n")[0].split()).removesuffix(".")
