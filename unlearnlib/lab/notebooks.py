"""The notebooks there are, and the study of each: found by their names, so that none is listed.

The study of notebooks/07_local_convexity_ablation.ipynb is studies/nb07_local_convexity_ablation
beside it, a module or a package. It has FIGURES, and its docstring says what the notebook shows.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable
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
    """The notebook of that name, or all where none is given. InputError lists those there are."""
    paths = all_in(folder)
    known = ", ".join(path.stem for path in paths) or "none"
    if name:
        paths = [path for path in paths if path.stem == name.removesuffix(".ipynb")]
    require(paths != [], f"no notebook {name!r} in {folder}; there are: {known}", InputError)
    return paths


def read_notebook(path: Path, remedy: str) -> NotebookNode:
    """A notebook in nbformat 4. DataError names the file and the remedy where it holds none."""
    read_json(path, remedy)  # nbformat refuses it too, but names no file
    try:
        return nbformat.read(path, as_version=4)
    except Exception as error:  # of nbformat or its schema, each with a class of its own
        raise DataError(f"{path} is not a notebook ({error}); {remedy}.") from error


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """The code cells, without the one that papermill put in."""
    return [
        cell
        for cell in notebook.cells
        if cell.cell_type == "code" and "injected-parameters" not in cell.metadata.get("tags", [])
    ]


def study_files(folder: Path, notebook: str) -> list[Path]:
    """The files of a notebook's study; none where it has no study, as one of your own may."""
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
    """Of "07_local_convexity_ablation": "nb07_local_convexity_ablation"; "benchmarks" stays."""
    return f"nb{notebook}" if notebook[0].isdigit() else notebook


def all_studies(folder: Path) -> list[str]:
    """Names of what has results: the notebooks, and studies without one, such as "benchmarks"."""
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


def without_comments(source: str) -> str:
    """Python code as what it does: without comments, docstrings and layout.

    What is not Python, such as a cell with a magic command, stays as it is.
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
