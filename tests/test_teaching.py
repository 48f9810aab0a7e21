"""The pages for those who teach: links lead somewhere, minutes add up, every name is explained."""

import re
import shlex
from pathlib import Path
from urllib.parse import unquote

import matplotlib
import nbformat
import pytest
from digits import tiny

import unlearnlib as ul
from unlearnlib import card
from unlearnlib.lab import notebooks, proved, toy
from unlearnlib.lab.files import repository_root
from unlearnlib.unlearn import known_to_all

ROOT = repository_root()
FOLDER = ROOT / "notebooks"
GLOSSARY = (FOLDER / "glossary.md").read_text()
PAGES = sorted(FOLDER.rglob("*.md"))
SESSIONS = sorted((FOLDER / "coursework" / "sessions").glob("*.md"))
EACH_PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
EACH_SESSION = pytest.mark.parametrize("page", SESSIONS, ids=lambda path: path.stem)

TERMS = {
    "The promise": """epsilon, delta, Delta, sensitivity, sigma, Gaussian mechanism, C, 2C, bound,
        certificate, card, holds, useful, proved, chosen, assumed, measured, vacuous, GDP,
        composition, budget, post-processing, public, private, rho""",
    "The step": """gradient, H, Hessian, Newton step, estimate, projection, lambda, damping, M, L,
        G, mu, strongly convex, kappa, Hessian-vector product, conjugate gradient, LiSSA,
        LiSSA's scale, LiSSA's steps, LiSSA's chains, filter, residual, noise floor,
        pull of the forgotten, stationary point, refine, preconditioner""",
    "The network": """forget set, retained set, trained, unlearned, released, retrained, warm start,
        elsewhere, doing nothing, noise alone, weight decay, micro F1, features, profile, seed""",
    "The evidence": """signal, ToW, Tug-of-War, not judged, membership inference, AUC, margin,
        shadow models, U-LiRA, KLoM, audit, canary, claimed, realised, audited, ceiling, power,
        worst pair, exhaustion""",
}  # what a reader of the notebooks meets


def section(text, title):
    """The part of a page below one of its headings."""
    return re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text, re.M | re.S)[1]


def rows(text):
    """The cells of every table row, without headings."""
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return [cells for cells in lines if not set("".join(cells)) <= set("-| ")]


def anchors(path):
    """What may follow # in a link: as JupyterLab has it for a notebook, as GitHub for a page."""
    if path.suffix == ".ipynb":
        cells = nbformat.read(path, as_version=4).cells
        text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
        return {title.replace(" ", "-") for title in re.findall(r"^#+ +(.+?) *$", text, re.M)}
    titles = re.findall(r"^#+ +(.+?) *$", path.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def broken(page, link):
    """Whether a link of this page leads to no file, or to no heading of it."""
    name, _, anchor = unquote(link).partition("#")
    path = page.parent / name if name else page
    return not path.exists() or bool(anchor) and anchor not in anchors(path)


@EACH_PAGE
def test_links_lead_to_a_file_and_a_heading(page):
    links = re.findall(r"\]\((?!\w+://)([^)\s]+)\)", page.read_text())
    assert links
    assert sorted({link for link in links if broken(page, link)}) == []


def test_a_link_to_no_heading_is_found():
    assert broken(FOLDER / "glossary.md", "00_start_here.ipynb#6.-Not-there")
    assert broken(FOLDER / "glossary.md", "#not-there")


def test_the_first_notebook_and_the_coursework_lead_to_the_pages():
    first = nbformat.read(FOLDER / "00_start_here.ipynb", as_version=4).cells[0].source
    assert "](glossary.md)" in first
    coursework = (FOLDER / "coursework" / "README.md").read_text()
    assert "](../glossary.md)" in coursework
    assert len(SESSIONS) == 3
    assert all(f"](sessions/{page.name})" in coursework for page in SESSIONS)


# Sessions


@EACH_SESSION
def test_the_minutes_of_a_session_are_ninety(page):
    plan = rows(section(page.read_text(), "Plan"))[1:]
    assert sum(int(cells[0]) for cells in plan) == 90


@EACH_SESSION
def test_a_session_says_what_its_notebooks_take(page):
    text = section(page.read_text(), "What to have ready")
    said = {re.search(r"\((.+)\)", cells[0])[1]: float(cells[1]) for cells in rows(text)[1:]}
    read = {link: nbformat.read(page.parent / link, as_version=4) for link in said}
    assert said == {link: notebooks.planned_minutes(notebook) for link, notebook in read.items()}
    commands = [shlex.split(line) for line in text.splitlines() if "NOTEBOOK=" in line]
    named = [word.partition("=")[2] for words in commands for word in words if "NOTEBOOK" in word]
    assert named and [name for name in named if not (FOLDER / f"{name}.ipynb").exists()] == []


@EACH_SESSION
def test_every_question_of_a_session_has_a_folded_answer(page):
    checkpoints = section(page.read_text(), "Checkpoints")
    questions = re.findall(r"^\*\*\d\. ", checkpoints, re.M)
    answer = r"^<details><summary>Answer</summary>\n\n.+?\n\n</details>$"
    answers = re.findall(answer, checkpoints, re.M | re.S)
    assert len(questions) == len(answers) >= 4


@EACH_SESSION
def test_a_figure_that_a_question_names_is_one_of_its_notebook(page):
    checkpoints = section(page.read_text(), "Checkpoints")
    for question in re.split(r"^\*\*\d\. ", checkpoints, flags=re.M)[1:]:
        named = re.match(r"Before the figures? ((?:\"\w+\"(?: and )?)+)", question)
        notebook = Path(re.search(r"/(\w+)\.ipynb", question)[1])
        for figure in re.findall(r"\"(\w+)\"", named[1]) if named else []:
            assert (ROOT / "figures" / "laptop" / notebook / f"{figure}.png").exists(), figure


@EACH_SESSION
def test_the_code_of_a_session_runs(page):
    matplotlib.use("agg")
    examples = re.findall(r"```python\n(.*?)```", page.read_text(), re.S)
    assert len(examples) == 1
    exec(examples[0], {})


# Glossary


@pytest.mark.parametrize("group", TERMS)
def test_the_glossary_has_every_term(group):
    table = rows(section(GLOSSARY, group))[1:]
    explained = ", ".join(cells[0] for cells in table)
    names = {name.strip("$ ") for name in re.split(r"[,()]", explained.replace("\\", ""))}
    assert {" ".join(term.split()) for term in TERMS[group].split(",")} - names == set()
    for cells in table:
        assert len(cells) == 3 and re.match(r"\[\d\d.*\]\(\d\d_\w+\.ipynb", cells[2]), cells


def printed_names():
    """What stands first in a line of any card: in a ball, strongly convex, of a proved model."""
    F, forget = toy.convex()
    constants = toy.proved_constants(F)
    w = ul.refine(F, F.initial(), gradient=constants.G.value).w
    terms = {"constants": constants, "delta": 1e-5, "sigma": 1.0, "seed": 0}
    in_a_ball = ul.unlearn(F, w, forget, C=1.0, lam=0.0, **terms)
    convex = ul.unlearn_strongly_convex(F, w, forget, **terms)
    names = set()
    for release in (in_a_ball, convex):
        shown = release.certificate
        parts = card.verdict(shown), card.rows(shown), card.private_rows(shown)
        names |= {row[0] for part in parts for row in part}
    for problem in (proved.softmax(tiny()), proved.network(tiny(), 0, width=8)):
        names |= set(known_to_all(problem.F, problem.known))
    return names | set(ul.Constants().named()) | {"sigma"}


def test_the_glossary_has_every_name_that_a_card_prints():
    explained = set(re.findall(r"`(.+?)`", section(GLOSSARY, "On the card")))
    names = printed_names()
    assert {"M", "tol", "Newton steps", "width", "public buffers", "sample_gradient"} <= names
    assert explained == names


def test_the_readers_of_a_card_are_told_its_words():
    words = {cells[0] for cells in rows(section(GLOSSARY, "The promise"))}
    assert "proved, chosen, assumed, measured" in words
    for verdict in ("proved", "conditional", "void"):
        assert f"*{verdict}*" in section(GLOSSARY, "The promise")
