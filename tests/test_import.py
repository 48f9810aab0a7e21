"""The public face, the floors of the house, and how much the first floor may hold."""

import ast
import importlib.util
import inspect
import io
import re
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

import unlearnlib as ul

PACKAGE = Path(ul.__file__).parent
NOTEBOOKS = PACKAGE.parent / "notebooks"  # the package tested is that of the repository
FLOORS = {
    "studies": 3,
    "command": 3,
    "__main__": 3,
    "lab": 2,
    "evaluation": 1,
}  # everything else in the package: 0
MODULES = sorted(PACKAGE.rglob("*.py"))
STUDIES = sorted((NOTEBOOKS / "studies").rglob("*.py"))
LIMIT = 2500


# ---- what an import brings along ----------------------------------------------------------------


def test_the_algorithms_load_nothing_that_only_notebooks_need():
    heavy = {"torchvision", "sklearn", "seaborn", "matplotlib", "pandas", "mlxtend", "papermill"}
    code = "import sys, unlearnlib; print(*{name.split('.')[0] for name in sys.modules})"
    path = [str(PACKAGE.parent), *sys.path]
    run = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {path!r}; {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(run.stdout.split())
    assert {"torch", "unlearnlib"} <= loaded and not loaded & heavy


# ---- the public face ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ul.__all__)
def test_every_public_name_exists_and_is_explained(name):
    assert (inspect.getdoc(getattr(ul, name)) or "").strip()


def test_public_names_are_listed_once():
    assert len(ul.__all__) == len(set(ul.__all__))


FACE = {
    "Objective": "model x y loss weight_decay center",
    "Objective.value": "w",
    "Objective.gradient": "w",
    "Objective.hvp": "w v",
    "Objective.ggn": "w v",
    "Objective.hessian": "w",
    "Objective.module": "w",
    "Objective.without": "rows",
    "Objective.only": "rows",
    "projected_sgd": "F w0 C epochs lr until_gradient generator",
    "lissa": "F w b lam scale steps chains batch_size generator",
    "conjugate_gradient": "F w b lam tol",
    "Solution": "x residual history steps scale seconds",
    "newton_update": "F w forget lam solver gradient",
    "Constants": "M L lam_min G",
    "unlearn": "F w forget C lam constants delta epsilon sigma solver",
    "Release": "w certificate estimate solution seconds",
    "SequentialUnlearner": "F w C",
    "SequentialUnlearner.forget": "indices",
    "SequentialUnlearner.budget": "delta",
    "bounds.newton_bound": "C M lam lam_min",
    "bounds.lissa_bound": "C M lam lam_min L dim rho G",
    "bounds.lissa_steps": "B lam lam_min",
    "bounds.lissa_filter": "eigenvalue scale steps",
    "gaussian_sigma": "sensitivity epsilon delta mechanism",
    "gaussian_epsilon": "sensitivity sigma delta mechanism",
    "gaussian_delta": "sensitivity sigma epsilon",
    "compose_epsilon": "sensitivities sigmas delta",
}


def found(path):
    thing = ul
    for name in path.split("."):
        thing = getattr(thing, name)
    return thing


@pytest.mark.parametrize("path", FACE)
def test_the_public_face_takes_what_the_design_says(path):
    has, wanted = inspect.signature(found(path)).parameters, FACE[path].split()
    assert set(wanted) <= set(has) and path.split(".")[0] in ul.__all__
    in_order = [name for name in wanted if has[name].kind is not inspect.Parameter.KEYWORD_ONLY]
    assert [name for name in has if name in in_order] == in_order


DEFAULTS = [
    ("gaussian_sigma", "mechanism", "analytic"),
    ("bounds.lissa_bound", "G", 0.0),
    ("newton_update", "gradient", "retained"),
    ("lissa", "scale", "auto"),
    ("unlearn", "seed", None),
    ("Objective", "center", None),
]


@pytest.mark.parametrize(("path", "name", "default"), DEFAULTS)
def test_the_defaults_are_the_papers_reading_and_secret_noise(path, name, default):
    assert inspect.signature(found(path)).parameters[name].default == default


@pytest.mark.parametrize(
    "path",
    ["Objective.n", "Objective.p", "Solution.converged", "Run.history", "Release.certificate"],
)
def test_attributes_are_documented(path):
    owner, name = path.split(".")
    described = getattr(getattr(ul, owner), name, None)
    assert inspect.getdoc(described) or re.search(rf"\b{name}\b", getattr(ul, owner).__doc__)


# ---- the floors: imports point down -------------------------------------------------------------


def floor(module):
    """Of a dotted name inside the package, such as lab.data, or of a study."""
    return FLOORS.get(module.split(".")[0], 0)


def imports(file):
    """What a file imports at any depth of its code: names inside the package, and studies."""
    root = NOTEBOOKS if file.is_relative_to(NOTEBOOKS) else PACKAGE
    package = ".".join([*["unlearnlib"] * (root == PACKAGE), *file.relative_to(root).parent.parts])
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = "." * node.level + (node.module or "")
            start = importlib.util.resolve_name(start, package) if node.level else start
            names = [start] + [f"{start}.{alias.name}" for alias in node.names]
        yield from (name[11:] for name in names if name.startswith("unlearnlib."))
        yield from (name for name in names if name.split(".")[0] == "studies")


@pytest.mark.parametrize("file", MODULES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_module_imports_only_from_its_floor_and_below(file):
    own = floor(".".join(file.relative_to(PACKAGE).parts))
    assert not [name for name in imports(file) if floor(name) > own]


@pytest.mark.parametrize("file", STUDIES, ids=lambda file: str(file.relative_to(NOTEBOOKS)))
def test_a_study_imports_no_other_study(file):
    """What two of them share is in the lab, so that each can be read, or left out, by itself."""
    own = file.relative_to(NOTEBOOKS).parts[1].removesuffix(".py")
    others = [name for name in imports(file) if name.startswith("studies.")]
    assert not [name for name in others if name.split(".")[1] != own]


def test_that_check_sees_through_relative_imports(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "evaluation" / "bad.py").write_text("def f():\n    from ..lab import data\n")
    (tmp_path / "worse.py").write_text("from . import lab\nimport unlearnlib.lab.data\n")
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "upwards.py").write_text("import studies.nb04_utility\n")
    assert floor("studies") > floor("lab") > floor("evaluation") > floor("bounds")
    assert {floor(name) for name in imports(tmp_path / "lab" / "upwards.py")} == {3}
    assert set(imports(tmp_path / "evaluation" / "bad.py")) == {"lab", "lab.data"}
    assert {floor(name) for name in imports(tmp_path / "worse.py")} == {2}


def test_that_check_sees_one_study_in_another(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "NOTEBOOKS", tmp_path)
    study = tmp_path / "studies" / "nb11"
    study.mkdir(parents=True)
    (study / "rows.py").write_text("from . import figures\nfrom ..nb04 import dots\n")
    own, other = "studies.nb11", "studies.nb04"
    assert set(imports(study / "rows.py")) == {own, f"{own}.figures", other, f"{other}.dots"}


# ---- the first floor stays small ----------------------------------------------------------------

SILENT = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}


def code_lines(text):
    """Lines that hold code: no blanks, no comments, no docstrings."""
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in SILENT:
            lines.update(range(token.start[0], token.end[0] + 1))
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, owners) and ast.get_docstring(node) is not None:
            lines.difference_update(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return len(lines)


def test_counting_leaves_out_blanks_comments_and_docstrings():
    text = '"""Doc."""\n\n# why\nx = """two\nlines"""\n\n\n'
    text += 'def f():\n    """A\n    b."""\n    return x\n'
    assert code_lines(text) == 4


def test_the_algorithms_floor_stays_small():
    files = [file for file in PACKAGE.glob("*.py") if file.name != "__main__.py"]
    sizes = {file.name: code_lines(file.read_text(encoding="utf-8")) for file in files}
    assert 0 < sum(sizes.values()) <= LIMIT, sizes
