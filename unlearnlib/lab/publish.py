"""Publish finished laptop runs: outputs into the notebooks, tables into the documents.

Run as `make publish`, after `make reproduce PROFILE=laptop`; with NOTEBOOK=... for one of them, and
the others stay as they are. README.md and figures/README.md get every table that follows from the
committed results. All of it comes from executed notebooks and figures/laptop/*/results.json, but
for the stills of panels (panels.py), which show no result: `--panels` draws them without a run.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook

from ..errors import DataError, UnlearnError, require
from ..progress import PROGRESS
from . import documents
from .files import cache_root, repository_root, write_whole
from .heartbeat import say
from .notebooks import code_cells, is_panel, named, read_notebook, without_comments
from .results import command, load

PROFILE = documents.PROFILE
REMEDY = "check it out anew"  # of a notebook that can't be read


def main(argv: list[str] | None = None) -> int:
    """Publish all notebooks, or one, and the documents; if one is not ready, none, and return 1."""
    parser = argparse.ArgumentParser(prog="publish", description=__doc__.splitlines()[0])
    parser.add_argument("--notebook", default="", help="publish this one only")
    parser.add_argument("--documents", action="store_true", help="write the tables alone")
    parser.add_argument("--panels", action="store_true", help="draw the stills of panels alone")
    arguments = parser.parse_args(argv)
    root = repository_root()
    try:
        sources = [] if arguments.documents else named(root / "notebooks", arguments.notebook)
        made = with_new_stills if arguments.panels else published
        texts = {path: nbformat.writes(made(path)) + "\n" for path in sources}
        texts |= written(root)
    except UnlearnError as error:
        say(str(error))
        return 1
    for path, text in texts.items():
        write_whole(path, text)
    say(f"published {', '.join(path.stem for path in sources) or 'the documents'}")
    return 0


def written(root: Path) -> dict[Path, str]:
    """Return README.md and figures/README.md with all tables from the committed results."""
    texts = {}
    for path, tables in documents.tables(root / "notebooks").items():
        text = (root / path).read_text(encoding="utf-8")
        for name, table in tables.items():
            text = between(text, name, table)
        texts[root / path] = text
    return texts


def published(source: Path) -> NotebookNode:
    """The notebook with the outputs of its last laptop run, cleaned of the run's metadata.

    Raises DataError if it was not run, or if its code has changed since: the outputs must belong
    to the code beside them, and to results that are there.
    """
    load(source.stem, PROFILE)
    executed = cache_root() / "executed" / PROFILE / source.name
    remedy = f"run `{command(source.stem, PROFILE)}`"
    require(executed.exists(), f"{source.name} has no {PROFILE} run yet: {remedy}", DataError)
    run = read_notebook(executed, f"delete it and {remedy}")
    notebook = read_notebook(source, REMEDY)
    before, after = results_cells(notebook), results_cells(run)
    require(
        [without_comments(c.source) for c in before] == [without_comments(c.source) for c in after],
        f"the code of {source.name} changed since its {PROFILE} run: {remedy} again",
        DataError,
    )
    for cell, ran in zip(before, after, strict=True):
        cell.outputs = ran.outputs
    return _with_stills(notebook, source.parent)


def results_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """The code cells whose outputs belong to a run: all but panels."""
    return [cell for cell in code_cells(notebook) if not is_panel(cell)]


def with_new_stills(source: Path) -> NotebookNode:
    """The notebook as it is, with the stills of its panels drawn anew."""
    return _with_stills(read_notebook(source, REMEDY), source.parent)


def _with_stills(notebook: NotebookNode, folder: Path) -> NotebookNode:
    """The notebook with the stills of its panels, each drawn in a process that ran nothing else.

    Cells are numbered from 1, and outputs come without what only a run needs.
    """
    for cell in filter(is_panel, notebook.cells):
        alone = new_notebook(cells=[new_code_cell(cell.source)], metadata=notebook.metadata)
        client = NotebookClient(alone, resources={"metadata": {"path": folder}})
        client.execute(env=os.environ | {PROGRESS: "0"})
        cell.outputs = alone.cells[0].outputs
    for count, cell in enumerate(code_cells(notebook), 1):
        cell.outputs = [_cleaned(output, count) for output in cell.outputs if _is_read(output)]
        cell.execution_count = count
    nbformat.validate(notebook)
    return notebook


def _is_read(output: NotebookNode) -> bool:
    """Whether to publish an output: not progress bars and warnings, which name local paths."""
    return output.get("name") != "stderr"


def _cleaned(output: NotebookNode, count: int) -> NotebookNode:
    if "metadata" in output:
        output.metadata = {}
    if "execution_count" in output:
        output.execution_count = count
    return output


def between(text: str, name: str, new: str) -> str:
    """Return `text` with all between <!-- name --> and <!-- /name --> replaced by `new`."""
    pattern = rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)"
    changed, count = re.subn(
        pattern, lambda m: f"{m.group(1)}{new}\n{m.group(2)}", text, flags=re.DOTALL
    )
    require(
        count == 1,
        f"there are {count} places between <!-- {name} --> and <!-- /{name} -->; it must be one",
    )
    return changed


if __name__ == "__main__":
    sys.exit(main())
