"""An experiment is four files: one is added to a copy of the repository, and goes all the way."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from unlearnlib.lab.files import repository_root

NAME = "14_decay"
STUDY = '''"""The decay of a toy, against the distance that forgetting moves it (ours)."""

from unlearnlib import newton_update, projected_sgd
from unlearnlib.lab import toy
from unlearnlib.lab.plots import COLOURS, band, canvas


def decay_row(decay):
    """How far one Newton step moves the trained weights at one decay."""
    F, forget = toy.convex(weight_decay=decay)
    w = projected_sgd(F, F.initial(), epochs=50, lr=1.0, batch_size=F.n).w
    return {"decay": decay, "moved": float((newton_update(F, w, forget, lam=0.0) - w).norm())}


def decays(results):
    """Distance moved, by decay."""
    fig, (ax,) = canvas()
    band(ax, results.table("decays"), "decay", "moved", color=COLOURS["unlearned"])
    return fig


FIGURES = (decays,)
'''
CELLS = [
    """import numpy as np
from studies import nb14_decay as study

from unlearnlib.lab import nulls, profiles, verdicts
from unlearnlib.lab.plots import save
from unlearnlib.lab.results import Results

profile = profiles.active(profile)
results = Results("14_decay", profile)""",
    """rows = [study.decay_row(decay) for decay in (0.1, 0.3, 1.0)]
results.record("decays", rows)
save(study.decays, results)""",
    """moved = results.table("decays").moved
results.claim("a larger decay moves less", paper="not quoted", settings="smoke",
              measured={"least": min(moved)}, n=1, spread=None,
              judged=nulls.without_null(verdicts.shrinks(moved), "it is about costs"))
results.save()
results.show_claims()""",
]
RULE = '''

def shrinks(moved: Sequence[float]) -> Verdict:
    """Each is below the one before."""
    return _verdict(all(b < a for a, b in zip(moved, moved[1:], strict=False)), False), "by decay"
'''
TEST = """from studies.nb14_decay import decay_row


def test_a_larger_decay_moves_less():
    assert decay_row(1.0)["moved"] < decay_row(0.1)["moved"]
"""


def notebook():
    opening = new_markdown_cell("# 14. The decay\n\nAbout **0.1 minutes** at `quick`.")
    parameters = new_code_cell('profile = "quick"', metadata={"tags": ["parameters"]})
    code = [new_code_cell(source) for source in CELLS]
    claims, end = map(new_markdown_cell, ("## Claims", "## Exercises\n\nOne.\n\n## Next\n\nNone."))
    cells = [opening, parameters, *code[:-1], claims, code[-1], end]
    metadata = {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
        "language_info": {"name": "python"},
    }
    return new_notebook(cells=cells, metadata=metadata)


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the repository, under git, with the four files of an experiment more."""
    root = tmp_path_factory.mktemp("copy")
    for name in ("unlearnlib", "notebooks", "figures"):
        rubbish = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
        shutil.copytree(repository_root() / name, root / name, ignore=rubbish)
    for name in ("README.md", "CONTRIBUTING.md", "Makefile", "pyproject.toml", ".gitignore"):
        shutil.copy(repository_root() / name, root / name)
    (root / "tests" / "studies").mkdir(parents=True)
    for name in ("test_repo.py", "test_profiles.py", "conftest.py"):
        shutil.copy(repository_root() / "tests" / name, root / "tests" / name)
    git(root, "init", "-q")
    commit(root, "before")
    nbformat.write(notebook(), root / "notebooks" / f"{NAME}.ipynb")
    (root / "notebooks" / "studies" / f"nb{NAME}.py").write_text(STUDY)
    (root / "tests" / "studies" / f"test_nb{NAME}.py").write_text(TEST)
    with open(root / "unlearnlib" / "lab" / "verdicts.py", "a") as verdicts:
        verdicts.write(RULE)
    commit(root, "an experiment")
    return root


def git(root, *arguments):
    who = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    command = ["git", "-C", str(root), *who, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def commit(root, message):
    git(root, "add", "--all")
    git(root, "commit", "-q", "-m", message)


def run(root, module, *arguments):
    """python -m in the copy, as a reader's shell would: none of the tests' own variables."""
    mine = {k: v for k, v in os.environ.items() if not k.startswith("UNLEARNLIB_")}
    env = mine | {"PYTHONPATH": str(root), "UNLEARNLIB_PROGRESS": "0"}
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stderr


def test_it_is_four_files(copy):
    changed = git(copy, "diff", "--name-only", "HEAD~1").split()
    assert len(changed) == 4, changed


def test_its_own_tests_pass(copy):
    run(copy, "pytest", "-q", "-p", "no:cacheprovider", f"tests/studies/test_nb{NAME}.py")


def test_it_is_run_drawn_and_published(copy):
    laptop = ["--profile", "laptop", "--notebook", NAME]
    run(copy, "unlearnlib.lab.reproduce", *laptop)
    figure = copy / "figures" / "laptop" / NAME / "decays.png"
    drawn = figure.read_bytes()
    figure.unlink()
    assert "drew 1 figures" in run(copy, "unlearnlib.lab.redraw", *laptop)
    assert figure.read_bytes() == drawn
    run(copy, "unlearnlib.lab.publish", "--notebook", NAME)

    readme, results = ((copy / page).read_text() for page in ("README.md", "figures/README.md"))
    shows = "The decay of a toy, against the distance that forgetting moves it (ours)"
    assert f"| [{NAME}](notebooks/{NAME}.ipynb) | {shows} |" in readme
    assert f"[decays](laptop/{NAME}/decays.png) | Distance moved, by decay |" in results
    assert "a larger decay moves less ([14](../notebooks/14_decay.ipynb)) | not quoted |" in results
    assert f"| {NAME} | 0.1 |" in results
    cells = json.loads((copy / "notebooks" / f"{NAME}.ipynb").read_text())["cells"]
    assert cells[-2]["outputs"] and cells[-2]["execution_count"] == 4
    touched = {Path(line[3:]).parts[0] for line in git(copy, "status", "--porcelain").splitlines()}
    assert touched == {"README.md", "figures", "notebooks"}
    laws = "14_decay or documents or minutes or each_committed_figure"
    run(
        copy,
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "tests/test_repo.py",
        "tests/test_profiles.py",
        "-k",
        laws,
    )
