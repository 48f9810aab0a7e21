"""Put a finished laptop run where readers look: outputs in the notebooks, tables in the README.

Run as `make publish`, after `make reproduce PROFILE=laptop` and `make bench`. Everything it writes
comes from the executed notebooks and from figures/laptop/*/results.json.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from ..errors import DataError, UnlearnError, require
from . import benchmarks
from .heartbeat import say
from .results import VERDICTS, Saved, load, worded
from .store import cache_root, read_json, repository_root, write_whole

PROFILE = "laptop"
COLUMNS = ("claim", "the paper", "measured here", "verdict", "why")


def main() -> int:
    """Publish every notebook and the table; 1, and nothing is written, where one is not ready."""
    root = repository_root()
    sources = sorted((root / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    try:
        notebooks = {path: published(path) for path in sources}
        found = [load(path.stem, PROFILE) for path in sources]
        for results in found:
            _refuse_unknown_source(results)
        readme = (root / "README.md").read_text(encoding="utf-8")
        readme = between(readme, "claims", claims_table(found))
        timed = load(benchmarks.NAME, PROFILE)
        _refuse_unknown_source(timed)
        readme = between(readme, "bench", benchmarks.table(timed))
        readme = between(readme, "scale", benchmarks.scale_table(timed))
    except UnlearnError as error:
        say(str(error))
        return 1
    for path, notebook in notebooks.items():
        write_whole(path, nbformat.writes(notebook) + "\n")
    write_whole(root / "README.md", readme)
    say(f"published {len(notebooks)} notebooks and {sum(len(r.claims) for r in found)} claims")
    return 0


def published(source: Path) -> NotebookNode:
    """The notebook with the outputs of its last laptop run, cleaned of the run's metadata.

    Raises DataError where it was not run, or its code changed since: outputs must belong to what
    one reads.
    """
    executed = cache_root() / "executed" / PROFILE / source.name
    remedy = f"run `make reproduce PROFILE={PROFILE} NOTEBOOK={source.stem}`"
    require(executed.exists(), f"{source.name} has no {PROFILE} run yet: {remedy}", DataError)
    run = read_notebook(executed, f"delete it and {remedy}")
    notebook = read_notebook(source, "check it out anew")
    before, after = _code(notebook), _code(run)
    require(
        [c.source for c in before] == [c.source for c in after],
        f"the code of {source.name} changed since its {PROFILE} run: {remedy} again",
        DataError,
    )
    for count, (cell, ran) in enumerate(zip(before, after, strict=True), 1):
        cell.outputs = [_cleaned(output, count) for output in ran.outputs if _is_read(output)]
        cell.execution_count = count
    nbformat.validate(notebook)
    return notebook


def read_notebook(path: Path, remedy: str) -> NotebookNode:
    """A notebook in nbformat 4. DataError names the file and the remedy where it holds none."""
    read_json(path, remedy)  # nbformat refuses it too, but names no file
    return nbformat.read(path, as_version=4)


def _code(notebook: NotebookNode) -> list[NotebookNode]:
    """The code cells, without the one that papermill put in."""
    return [
        cell
        for cell in notebook.cells
        if cell.cell_type == "code" and "injected-parameters" not in cell.metadata.get("tags", [])
    ]


def _is_read(output: NotebookNode) -> bool:
    """Progress bars and warnings name places on the machine they ran on."""
    return output.get("name") != "stderr"


def _cleaned(output: NotebookNode, count: int) -> NotebookNode:
    if "metadata" in output:
        output.metadata = {}
    if "execution_count" in output:
        output.execution_count = count
    return output


def claims_table(found: list[Saved]) -> str:
    """All claims as one table in Markdown, each beside the notebook that answers it."""
    verdicts = [claim["verdict"] for results in found for claim in results.claims.values()]
    counts = ", ".join(f"{verdicts.count(v)} {v}" for v in VERDICTS if v in verdicts)
    rows = [
        f"{len(verdicts)} claims: {counts}. {_made(found)}",
        "",
        "| " + " | ".join(COLUMNS) + " |",
        "|---" * len(COLUMNS) + "|",
    ]
    for results in found:
        rows += [_row(results.notebook, name, its) for name, its in results.claims.items()]
    return "\n".join(rows)


def _row(notebook: str, claim: str, its: dict) -> str:
    link = f"[{notebook[:2]}](notebooks/{notebook}.ipynb)"
    runs = f"n = {its['n']}" + ("" if its["spread"] is None else f", {worded(its['spread'])}")
    measured = worded(its["measured"])
    cells = f"{claim} ({link})", its["paper"], f"{measured} ({runs})", its["verdict"], its["why"]
    return "| " + " | ".join(text.replace("|", "\\|") for text in cells) + " |"


def _made(found: list[Saved]) -> str:
    """When, with what and from which commits the results were made."""
    made = [results.provenance for results in found]
    days = sorted({p["finished"][:10] for p in made})
    versions = dict.fromkeys(f"torch {p['packages']['torch']}" for p in made)
    devices = dict.fromkeys(p["machine"]["device"] for p in made)
    cores = sorted({p["machine"]["cores"] for p in made})
    commits = dict.fromkeys(p["git"]["commit"][:7] for p in made)
    return (
        f"Made {' to '.join(dict.fromkeys((days[0], days[-1])))} at `{PROFILE}`, "
        f"{', '.join(versions)}, {', '.join(devices)}, {' or '.join(map(str, cores))} cores, from "
        f"{', '.join(commits)}."
    )


def _refuse_unknown_source(results: Saved) -> None:
    git = results.provenance["git"]
    require(
        git["dirty"] is False,
        f"the results of {results.notebook} come from sources that no commit holds (commit "
        f"{git['commit'][:7]}, dirty: {git['dirty']}): commit, then run it again",
        DataError,
    )


def between(text: str, name: str, new: str) -> str:
    """`text` with what stands between <!-- name --> and <!-- /name --> replaced."""
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
