"""The repository holds together: files that must agree, and the form of each notebook."""

import ast
import os
import re
import shutil
import subprocess
import sys
from html import unescape
from pathlib import Path

import matplotlib
import nbformat
import numpy
import PIL.Image
import pytest
import yaml

from unlearnlib.lab import notebooks, plots, profiles, publish, redraw, results
from unlearnlib.lab.files import repository_root

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = repository_root()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MAKEFILE = (ROOT / "Makefile").read_text()
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
EACH_NOTEBOOK = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
LONGEST_CELL = 25
ROUNDING = 8  # levels of a pixel, of 255, that another processor may round otherwise


def read(path):
    return nbformat.read(path, as_version=4)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def headings(notebook):
    """Titles of the second level, in order."""
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    return re.findall(r"^## +(.+?) *$", text, re.MULTILINE)


# Installation


def test_conda_and_make_install_the_same():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert environment["name"] == PROJECT["name"]
    conda = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    pip = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert conda == ["python" + PROJECT["requires-python"], "pip"]
    extras = ",".join(sorted(PROJECT["optional-dependencies"]))
    assert pip == [[f"-e .[{extras}]"]]
    assert re.findall(r"--editable '(.+)'", MAKEFILE) == 2 * [f".[{extras}]"]


def test_each_dependency_has_a_range_and_a_reason():
    text = (ROOT / "pyproject.toml").read_text()
    lines = re.findall(r'^    "([\w-]+)(.*?)",? *(#.*)?$', text, re.MULTILINE)
    named = {name: (rest, reason) for name, rest, reason in lines}
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    for requirement in sum(groups, []):
        name = re.match(r"[\w-]+", requirement).group()
        rest, reason = named[name]
        assert ">=" in rest, f"{name} has no lowest version"
        assert reason or name == "pytest", f"{name} has no reason"


def test_the_version_is_one():
    import unlearnlib

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert unlearnlib.__version__ == PROJECT["version"] == citation["version"]
    assert citation["license"] == PROJECT["license"] == "MIT"
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")


def test_every_folder_of_code_is_installed():
    folders = {path.parent for path in (ROOT / "unlearnlib").rglob("*.py")}
    assert len(folders) >= 2
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []


# Make


def test_help_lists_every_target():
    phony = re.search(r"^\.PHONY: ((?:.*\\\n)*.*)$", MAKEFILE, re.MULTILINE).group(1)
    phony = phony.replace("\\", " ").split()
    said = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert {"help", "env", "reproduce", "figures", "test", "bench", "publish"} <= set(phony)
    listed = re.findall(r"^  ([\w-]+) +\S", said, re.MULTILINE)
    assert sorted(listed) == sorted(phony)
    assert all(name in said for name in profiles.names())


FAKE_PYTHON = """#!/bin/sh
case "$*" in
    "-m venv"*) mkdir -p .venv/bin && cp "$0" .venv/bin/python && echo venv >> log ;;
    "-m pip"*) echo pip >> log; exec test -e installable ;;
    *) exec {python} "$@" ;;
esac
"""


@pytest.fixture
def make_env(tmp_path):
    """make_env() runs `make env` in an empty folder, with a Python that installs nothing."""
    (tmp_path / "Makefile").write_text(MAKEFILE)
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "python").write_text(FAKE_PYTHON.format(python=sys.executable))
    (tmp_path / "python").chmod(0o755)
    command = ["make", "env", "PYTHON=./python"]
    return lambda: subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)


def test_an_interrupted_installation_is_not_taken_for_a_finished_one(tmp_path, make_env):
    for _ in range(2):
        assert make_env().returncode != 0
        assert (tmp_path / ".venv").exists() and not (tmp_path / ".venv" / ".ready").exists()
    (tmp_path / "installable").touch()
    for _ in range(2):
        assert make_env().returncode == 0
    assert (tmp_path / "log").read_text().split() == ["venv", "pip"] * 3


def test_a_new_requirement_is_installed(tmp_path, make_env):
    (tmp_path / "installable").touch()
    assert make_env().returncode == 0
    ready = (tmp_path / ".venv" / ".ready").stat().st_mtime
    os.utime(tmp_path / "pyproject.toml", (ready + 9, ready + 9))
    assert make_env().returncode == 0
    assert (tmp_path / "log").read_text().split() == ["venv", "pip"] * 2


def test_an_old_python_is_refused_before_anything_is_made(tmp_path, make_env):
    (tmp_path / "python").write_text(
        f"#!{sys.executable}\nimport sys\nsys.version_info = (3, 9, 1)\nexec(sys.argv[2])\n"
    )
    run = make_env()
    assert run.returncode != 0 and not (tmp_path / ".venv").exists()
    assert "Python 3.10 or newer is needed, ./python is 3.9" in run.stderr


def test_the_lowest_versions_are_tested_as_the_newest_are_with_results_of_their_own(tmp_path):
    (tmp_path / "Makefile").write_text(MAKEFILE)
    said = {}
    for target, venv in (("test", ".venv"), ("test-lowest", ".venv-lowest")):
        for name in ("bin/python", ".ready"):
            write(tmp_path / venv / name)
        (tmp_path / venv / "bin" / "python").write_text('#!/bin/sh\necho "$@"\nenv\n')
        (tmp_path / venv / "bin" / "python").chmod(0o755)
        command = ["make", "-s", "--old-file", "pyproject.toml", target]
        run = subprocess.run(
            command, cwd=tmp_path, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True
        )
        told = re.findall(r"^(?:-m pytest|UNLEARNLIB_|O\w+=).*$", run.stdout, re.MULTILINE)
        said[target] = {line.replace(f".cache/{target}", ".cache/") for line in told}
    assert said["test"] == said["test-lowest"] and len(said["test"]) == 11
    assert {"UNLEARNLIB_CACHE=.cache/", "UNLEARNLIB_DATA=.cache//data"} <= said["test"]


def test_clean_keeps_data_environment_and_the_committed_figures(tmp_path):
    (tmp_path / "Makefile").write_text(MAKEFILE)
    for name in profiles.names():
        write(tmp_path / "unlearnlib" / "lab" / "sizes" / f"{name}.toml")
        write(tmp_path / "figures" / name / "00_start_here" / "results.json")
    kept = ["figures/README.md", "site/index.md", ".cache/data/MNIST/raw/images", ".venv/.ready"]
    gone = [".cache/store/trained/x", ".cache/stamps/quick/x", ".cache/executed/x", ".cache/test/x"]
    gone += ["site/html/index.html", "site/jupyter_execute/x"]
    for name in kept + gone:
        write(tmp_path / name)
    for _ in range(2):
        subprocess.run(["make", "clean"], cwd=tmp_path, capture_output=True, check=True)
    assert [name for name in kept if not (tmp_path / name).exists()] == []
    assert [name for name in gone if (tmp_path / name).exists()] == []
    figures = tmp_path / "figures"
    assert [p.name for p in figures.iterdir() if p.is_dir()] == ["laptop"]
    assert (figures / "laptop" / "00_start_here" / "results.json").exists()


def write(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("kept?")


def test_ci_runs_the_tests():
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111 == 0o111
    assert script.read_text().rstrip().splitlines()[-2:] == ["make test", "make test-people"]


# Profiles


@pytest.mark.parametrize("name", profiles.names())
def test_each_value_of_a_profile_has_its_source_beside_it(name):
    text = (profiles.FOLDER / f"{name}.toml").read_text()
    tables = text[text.index("[mlp_mnist]") :]
    values = [line for line in tables.splitlines() if " = " in line]
    assert len(values) >= len(profiles.load(name).pairs) * 15
    for line in values:
        source = line.partition("  # ")[2]
        assert re.match(r"(paper|released code|a later paper|ours: \w)", source), line


def test_the_readme_says_the_minutes_that_are_planned():
    text = (ROOT / "README.md").read_text()
    planned = [profiles.load(name).minutes for name in ("quick", "smoke")]
    said = re.findall(r"`(quick|smoke)` \(about (\d+) minutes", text)
    assert said == [("quick", f"{planned[0]:g}"), ("smoke", f"{planned[1]:g}")]


# What is committed of the laptop run


@pytest.fixture
def committed(monkeypatch):
    """The results of every notebook that was run, as committed, by its path."""
    monkeypatch.setenv("UNLEARNLIB_FIGURES", "figures")
    run = [p for p in NOTEBOOKS if results.results_path(p.stem, publish.PROFILE).exists()]
    return {path: results.load(path.stem, publish.PROFILE) for path in run}


@pytest.mark.parametrize("page", ["README.md", "figures/README.md"])
def test_the_documents_say_what_the_committed_results_do(committed, page):
    assert publish.written(ROOT)[ROOT / page] == (ROOT / page).read_text()


def test_each_notebook_shows_the_claims_of_its_committed_results(committed):
    for path in NOTEBOOKS:
        if awaits_its_run(path):
            continue
        its = committed[path]
        shown = [out for cell in code(read(path)) for out in cell.outputs if "data" in out]
        table = unescape([out.data["text/html"] for out in shown if "text/html" in out.data][-1])
        for claim, entry in its.claims.items():
            assert claim in table and entry["why"] in table, (path.name, claim)


def test_the_committed_results_say_where_they_come_from(committed):
    for its in committed.values():
        made = its.provenance
        assert its.profile == made["profile"]["name"] == publish.PROFILE
        assert (
            re.fullmatch(r"[0-9a-f]{40}", made["git"]["commit"]) and made["git"]["dirty"] is False
        )
        assert {"torch", "unlearnlib"} <= set(made["packages"]) and made["machine"]["threads"] >= 1
        assert all(re.search(r"[0-9a-f]{8}", d) for d in its.datasets.values())


def test_each_committed_figure_is_explained_and_belongs_to_a_notebook():
    every = {str(p.relative_to(ROOT / "figures")) for p in ROOT.glob("figures/laptop/*/*.png")}
    known = {f"laptop/{path.stem}/" for path in NOTEBOOKS if not awaits_its_run(path)}
    figures = {figure for figure in every if figure.startswith((*known, "laptop/benchmarks/"))}
    linked = re.findall(r"\]\((laptop/[^)]+\.png)\)", (ROOT / "figures/README.md").read_text())
    assert figures and set(linked) >= figures and set(linked) <= every
    saved = {
        f"laptop/{path.stem}/{name}.png"
        for path in NOTEBOOKS
        if not awaits_its_run(path)
        for cell in code(read(path))
        for name in re.findall(r"^save\(\w+\.(\w+), results\)$", cell.source, re.MULTILINE)
    }
    assert figures == saved | {"laptop/benchmarks/speed.png"}


@pytest.mark.parametrize("name", notebooks.all_studies(ROOT / "notebooks"))
def test_the_committed_figures_are_those_of_the_committed_results(name, tmp_path, monkeypatch):
    if name[0].isdigit() and awaits_its_run(ROOT / "notebooks" / f"{name}.ipynb"):
        pytest.skip("its code is newer than the committed results")
    committed = ROOT / "figures" / publish.PROFILE / name
    kept = {path.name: PIL.Image.open(path) for path in committed.glob("*.png")}
    for picture in kept.values():
        drawn_with = re.match(r"Matplotlib version(\d+\.\d+)", picture.info["Software"])[1]
        if not matplotlib.__version__.startswith(f"{drawn_with}."):
            pytest.skip(f"drawn with matplotlib {drawn_with}: another one draws other pixels")
    shutil.copytree(committed, tmp_path / publish.PROFILE / name)
    for path in tmp_path.rglob("*.png"):
        path.unlink()
    monkeypatch.setenv("UNLEARNLIB_FIGURES", str(tmp_path))
    assert redraw.draw(ROOT / "notebooks", name, publish.PROFILE) == len(kept)
    for file, picture in kept.items():
        again = PIL.Image.open(tmp_path / publish.PROFILE / name / file)
        assert again.size == picture.size, file
        apart = numpy.asarray(again, dtype=int) - numpy.asarray(picture, dtype=int)
        assert abs(apart).max() <= ROUNDING, file


@pytest.mark.parametrize(
    "name",
    [
        "04_utility",
        "05_membership_inference",
        "06_efficiency",
        "07_local_convexity_ablation",
        "08_norm_constraint_ablation",
    ],
)
def test_without_the_optional_pairs_every_figure_is_drawn_but_their_own(
    name, tmp_path, monkeypatch, capsys
):
    if awaits_its_run(ROOT / "notebooks" / f"{name}.ipynb"):
        pytest.skip("its code is newer than the committed results")
    monkeypatch.setenv("UNLEARNLIB_FIGURES", "figures")
    fewer = results.load(name, publish.PROFILE)
    for number in fewer.numbers.values():
        if isinstance(number["value"], list):
            number["value"] = [row for row in number["value"] if not of_an_optional_pair(row)]
    monkeypatch.setenv("UNLEARNLIB_FIGURES", str(tmp_path))
    for draw in notebooks.figures(notebooks.study(ROOT / "notebooks", name)):
        theirs, figure = draw.__name__.endswith(profiles.OPTIONAL), plots.save(draw, fewer)
        assert (figure is None) == theirs != bool(list(tmp_path.rglob(f"{draw.__name__}.png")))
        assert capsys.readouterr().out.startswith(f"no {draw.__name__}: " if theirs else "")


def awaits_its_run(path):
    """Whether a notebook carries no outputs: its code is newer than the last run that counts."""
    return not any(cell.outputs for cell in code(read(path)))


def of_an_optional_pair(row):
    return isinstance(row, dict) and row.get("pair") in profiles.OPTIONAL


# Notebooks


def test_there_are_notebooks():
    assert [path.stem[:2] for path in NOTEBOOKS][:1] == ["00"]


@EACH_NOTEBOOK
def test_a_notebook_runs_on_any_python_kernel(path):
    metadata = read(path).metadata
    assert metadata.kernelspec.name == "python3"
    assert metadata.language_info.name == "python"
    assert set(metadata) == {"kernelspec", "language_info"}


@EACH_NOTEBOOK
def test_its_parameters_are_one_cell_of_literals(path):
    tagged = [c for c in read(path).cells if "parameters" in c.metadata.get("tags", [])]
    assert len(tagged) == 1 and tagged[0].cell_type == "code"
    statements = ast.parse(tagged[0].source).body
    assert statements
    for statement in statements:
        assert isinstance(statement, ast.Assign), ast.unparse(statement)
        ast.literal_eval(statement.value)
    assert any(target.id == "profile" for s in statements for target in s.targets)


@EACH_NOTEBOOK
def test_it_opens_with_its_title_and_the_time_it_takes(path):
    first = read(path).cells[0]
    assert first.cell_type == "markdown"
    assert re.match(r"# \d\d\. \S", first.source)
    assert first.source.split()[1] == path.stem[:2] + "."
    assert notebooks.planned_minutes(read(path)) > 0


@EACH_NOTEBOOK
def test_it_has_its_study_beside_it_and_imports_no_other(path):
    assert notebooks.study_files(path.parent, path.stem)
    sources = "\n".join(cell.source for cell in code(read(path)))
    named = set(re.findall(r"^from studies(?: import |\.)(\w+)", sources, re.MULTILINE))
    assert named == {notebooks.study_name(path.stem)}


@EACH_NOTEBOOK
def test_its_cells_are_short(path):
    for cell in code(read(path)):
        assert 0 < len(cell.source.splitlines()) <= LONGEST_CELL, cell.source


@EACH_NOTEBOOK
def test_it_asks_for_a_pair_that_a_profile_may_leave_out_only_where_it_is_there(path):
    for cell in code(read(path)):
        for pair in profiles.OPTIONAL:
            if f"profile.{pair}" in cell.source:
                assert f'if "{pair}" in profile.pairs:' in cell.source


@EACH_NOTEBOOK
def test_its_outputs_are_of_one_whole_run_or_none(path):
    cells = code(read(path))
    counts = [cell.execution_count for cell in cells]
    if any(cell.outputs for cell in cells) or any(counts):
        assert counts == list(range(1, len(cells) + 1))
    for cell in cells:
        assert not [out for out in cell.outputs if out.output_type == "error"]


@EACH_NOTEBOOK
def test_it_ends_with_claims_exercises_and_the_next(path):
    assert headings(read(path))[-3:] == ["Claims", "Exercises", "Next"]


@EACH_NOTEBOOK
def test_it_names_itself_rightly(path):
    """The name in Results decides where figures go; a copied notebook keeps the old one."""
    sources = "\n".join(cell.source for cell in code(read(path)))
    named = re.findall(r"""Results\(\s*["'](.+?)["']""", sources)
    assert named == [path.stem]


# Texts


def test_no_file_names_a_place_on_one_machine():
    ends = {".py", ".toml", ".yml", ".md", ".cff", ".ipynb", ".json"}
    folders = [ROOT / name for name in ("unlearnlib", "notebooks", "figures", "site", "tests")]
    files = [p for folder in folders for p in folder.rglob("*") if p.suffix in ends]
    files += [p for p in ROOT.iterdir() if p.is_file()]
    assert len(files) > 20
    own = re.compile(r"/(home|Users|root|work)/\w+")
    named = {str(p.relative_to(ROOT)): own.findall(p.read_text(encoding="utf-8")) for p in files}
    assert {name: found for name, found in named.items() if found} == {}


def test_links_between_our_files_lead_somewhere():
    pages = [*ROOT.glob("*.md"), *ROOT.glob("figures/*.md"), *ROOT.glob("site/*.md")]
    texts = {path: path.read_text(encoding="utf-8") for path in pages}
    for path in NOTEBOOKS:
        texts[path] = "\n".join(c.source for c in read(path).cells if c.cell_type == "markdown")
    links = [
        (path, Path(link.partition("#")[0]))
        for path, text in texts.items()
        for link in re.findall(r"\]\(([^)\s]+)\)", text)
        if "://" not in link and not link.startswith(("#", "attachment:"))
    ]
    assert links
    broken = [f"{path.name}: {link}" for path, link in links if not (path.parent / link).exists()]
    assert broken == []


def test_the_readme_is_one_page_that_names_files_that_are_there():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 150
    for page in (text, (ROOT / "CONTRIBUTING.md").read_text()):
        paths = re.findall(r"`((?:unlearnlib|notebooks|tests|figures)/[\w./]*)", page)
        to_be = re.compile(r"NN|14_name|quick/$")  # made by the reader, not here
        named = [path for path in paths if not to_be.search(path)]
        assert named and [path for path in named if not (ROOT / path).exists()] == []


def test_every_variable_is_explained_once():
    table = re.findall(r"^\| `(UNLEARNLIB_\w+)` \|", (ROOT / "CONTRIBUTING.md").read_text(), re.M)
    sources = [path.read_text() for path in (ROOT / "unlearnlib").rglob("*.py")]
    read_there = set(re.findall(r"\"(UNLEARNLIB_[A-Z_]+)\"", "".join(sources)))
    assert sorted(table) == sorted(read_there)


def test_the_examples_of_the_readme_run(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNLIB_CACHE", str(tmp_path))
    examples = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    names = {}
    for example in examples:
        exec(example, names)
    assert capsys.readouterr().out.count("certified unlearning") == len(examples) == 2
    assert names["published"](names["x"]).shape == (600, 3)
    assert names["release"].certificate.holds == "proved" and names["release"].certificate.useful
    assert names["queue"].forget([7]).certificate.holds == "proved"
