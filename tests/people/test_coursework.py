"""The assignments, graded end to end: solutions, student copies, and typical wrong answers."""

import itertools
import re
import shutil
from collections import defaultdict
from pathlib import Path

import nbformat
import pytest
from coursework import bundle
from coursework.course import SOURCES, Course, assignments, main
from nbgrader.validator import Validator

# what is wrong with an answer -> the function, what it does instead, and what that costs
WRONG = {
    "01_ball_and_bound": {
        "rescales what is inside too": (
            "project",
            "return w * (C / w.norm())",
            {"project-seen", "project-hidden"},
        ),
        "clips each coordinate": (
            "project",
            "return w.clamp(-C, C)",
            {"project-seen", "project-hidden"},
        ),
        "leaves the sign of the curvature out": (
            "bound",
            "return 2 * C * (M * C + lam) / (lam + abs(lam_min)) if lam != -lam_min else math.inf",
            {"bound-hidden"},
        ),
        "asks for twice the curvature": ("needed", "return 2 * M * C", {"empty-hidden"}),
        "steps up the slope": (
            "newton_step",
            "return w + torch.linalg.solve(F_r.hessian(w), F_r.gradient(w))",
            {"step-tests"},
        ),
    },
    "02_lissa": {
        "leaves the damping out": (
            "lissa",
            "x = b\n    for _ in range(steps):\n        x = b + x - hvp(x) / scale\n"
            "    return x / scale",
            {"lissa-hidden", "steps-tests"},
        ),
        "forgets to divide by the scale": (
            "lissa",
            "x = b\n    for _ in range(steps):\n        x = b + x - (hvp(x) + lam * x) / scale\n"
            "    return x",
            {"lissa-seen", "lissa-hidden", "steps-tests"},
        ),
        "asks for the whole largest eigenvalue": (
            "least_scale",
            "return float(eigenvalues.max() + lam)",
            {"scales-seen", "least-hidden"},
        ),
        "looks at the largest eigenvalue alone": (
            "steps_needed",
            "rate = float((1 - (eigenvalues.max() + lam) / scale).abs())\n"
            "    return max(0, math.ceil(math.log(tol) / math.log(rate)) - 1)",
            {"steps-tests"},
        ),
        "goes down the gradient each time": (
            "conjugate_gradient",
            "x, left, products = torch.zeros_like(b), b.clone(), 0\n"
            "    while left.norm() > tol * b.norm():\n"
            "        image = hvp(left) + lam * left\n"
            "        step = (left @ left) / (left @ image)\n"
            "        x, left, products = x + step * left, left - step * image, products + 1\n"
            "    return x, products",
            {"cg-hidden"},
        ),
    },
    "03_attack_and_audit": {
        "counts a tie as a win": (
            "auc",
            "return float((members[:, None] >= others[None, :]).double().mean())",
            {"auc-hidden"},
        ),
        "takes the share of right guesses for the chance": (
            "least_epsilon",
            "p = right / guesses\n    return max(0.0, math.log((p - delta) / (1.0001 - p)))",
            {"least-seen", "least-hidden"},
        ),
        "leaves delta out": (
            "least_epsilon",
            'p = binomtest(right, guesses, alternative="greater").proportion_ci(confidence).low\n'
            "    return max(0.0, math.log(p / (1 - p)))",
            {"least-hidden"},
        ),
        "takes half of the distance for the whole": (
            "least_epsilon_gaussian",
            'p = binomtest(right, guesses, alternative="greater").proportion_ci(confidence).low\n'
            "    return ul.gaussian_epsilon(norm.ppf(p), 1.0, delta) if p > 0.5 else 0.0",
            {"gaussian-hidden", "refuted-tests"},
        ),
        "counts in one world only": (
            "count_right",
            "return int((release(True, count, seed) > Delta / 2).sum())",
            {"right-hidden", "refuted-tests"},
        ),
        "does not use that the noise is Gaussian": (
            "refuted",
            "return {name for name, release in suspects.items()\n"
            "            if least_epsilon(count_right(release, count), 2 * count, delta, 1 - 1e-4)"
            " > epsilon}",
            {"refuted-tests"},
        ),
    },
}


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    made = Course(tmp_path_factory.mktemp("course"))
    for name in assignments():
        made.student_copy(name)
    return made


def read(path):
    return nbformat.read(path, as_version=4)


def answered(name, function, body, path):
    """The solutions, but for one function that has another body."""
    notebook = read(SOURCES / f"{name}.ipynb")
    for cell in notebook.cells:
        before, found, after = cell.source.partition(f"def {function}(")
        if found and bundle.role_of(cell).solution:
            head, _, rest = after.partition("### BEGIN SOLUTION")
            _, _, tail = rest.partition("### END SOLUTION")
            cell.source = f"{before}{found}{head}{body}{tail}"
    nbformat.write(notebook, path)
    return path


def possible(name):
    """The points of each cell that tests grade."""
    roles = map(bundle.role_of, read(SOURCES / f"{name}.ipynb").cells)
    return {role.grade_id: role.points for role in roles if role.grade and not role.solution}


def by_tests(points, name):
    return {cell: points[cell] for cell in possible(name)}


@pytest.mark.parametrize("name", assignments())
def test_every_solution_gets_full_marks(course, name):
    points = course.graded(SOURCES / f"{name}.ipynb", name, "solution")
    assert by_tests(points, name) == possible(name)
    by_hand = [cell for cell in points if cell not in possible(name)]
    assert by_hand and all(points[cell] is None for cell in by_hand)  # a person reads them


@pytest.mark.parametrize("name", assignments())
def test_nbgrader_validates_the_solutions_and_no_student_copy(course, name):
    assert Validator().validate(str(SOURCES / f"{name}.ipynb")) == {}
    found = Validator().validate(str(course.folder / "release" / name / f"{name}.ipynb"))
    assert set(found) == {"failed"}  # and nothing that students may not change has changed


@pytest.mark.parametrize("name", assignments())
def test_a_student_copy_fails_exactly_at_its_stubs_and_gives_nothing_away(course, name):
    copy = course.folder / "release" / name / f"{name}.ipynb"
    points = course.graded(copy, name, "stubs")
    assert not any(by_tests(points, name).values())
    text = copy.read_text()
    assert "SOLUTION" not in text and "HIDDEN" not in text
    source = read(SOURCES / f"{name}.ipynb")
    stubs = sum(cell.source.count("### BEGIN SOLUTION") for cell in source.cells)
    left = text.count("raise NotImplementedError()") + text.count('"YOUR ANSWER HERE"')
    assert left == stubs


@pytest.mark.parametrize(
    ("name", "what"), [(name, what) for name, wrongs in WRONG.items() for what in wrongs]
)
def test_a_typical_wrong_answer_loses_the_points_that_it_should(course, name, what, tmp_path):
    function, body, lost = WRONG[name][what]
    path = answered(name, function, body, tmp_path / "answer.ipynb")
    points = by_tests(course.graded(path, name, what.replace(" ", "-")), name)
    assert {cell for cell, most in possible(name).items() if points[cell] < most} == lost


@pytest.mark.parametrize("name", assignments())
def test_each_assignment_has_its_wrong_answers(name):
    wrong = {function for function, _, _ in WRONG[name].values()}
    solved = [c.source for c in read(SOURCES / f"{name}.ipynb").cells if bundle.role_of(c).solution]
    cells = [names for text in solved if (names := set(re.findall(r"^def (\w+)\(", text, re.M)))]
    assert len(WRONG[name]) >= 5
    assert [names for names in cells if not names & wrong] == [], "no wrong answer to these"


@pytest.mark.parametrize("name", assignments())
def test_the_points_that_are_announced_are_those_that_are_given(name):
    cells = read(SOURCES / f"{name}.ipynb").cells
    given = [
        (bundle.role_of(cell).get("points", 0) if bundle.role_of(cell).grade else 0)
        for cell in cells
    ]
    tested = sum(possible(name).values())
    written = sum(given) - tested
    head = f"{sum(given):g} points** ({tested:g} by tests, {written:g} for what you write)"
    assert head in cells[0].source
    row = f"| {sum(given):g}: {tested:g} by tests, {written:g} by hand |"
    page = (SOURCES / "README.md").read_text()
    assert row in next(line for line in page.splitlines() if line.startswith(f"| [{name}]"))
    starts = [i for i, cell in enumerate(cells) if cell.source.startswith("## ")] + [len(cells)]
    for start, end in itertools.pairwise(starts):
        said = re.search(r"^## .*\((\d+) points\)", cells[start].source)
        assert sum(given[start:end]) == (int(said[1]) if said else 0), cells[start].source[:60]


@pytest.mark.parametrize("name", assignments())
def test_the_number_of_a_student_survives_grading(course, name, tmp_path):
    notebook = read(course.folder / "release" / name / f"{name}.ipynb")
    number = next(cell for cell in notebook.cells if cell.source.startswith("student = "))
    assert number.metadata.get("editable", True)
    number.source = 'student = "s4711"'
    nbformat.write(notebook, tmp_path / "mine.ipynb")
    course.graded(tmp_path / "mine.ipynb", name, "numbered")
    kept = read(course.folder / "autograded" / "numbered" / name / f"{name}.ipynb")
    assert number.source in [cell.source for cell in kept.cells]


# The same by otter-grader


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """What `make coursework` writes."""
    assert main([str(out := tmp_path_factory.mktemp("coursework"))]) == 0
    assert sorted(path.stem for path in (out / "student").iterdir()) == assignments()
    return out


@pytest.fixture(params=assignments())
def bundled(request, written):
    return request.param, written / "otter" / request.param


def by_question(points, name):
    """The points of cells, added for each question: what stands before the tests of a cell."""
    question, total = None, defaultdict(float)
    for role in map(bundle.role_of, read(SOURCES / f"{name}.ipynb").cells):
        question = role.grade_id if role.solution else question
        if role.grade and not role.solution:
            total[question] += points[role.grade_id]
    return dict(total)


def signed(submission, name, folder):
    """The submission as otter wants it: without nbgrader's tests, with the assignment's name."""
    notebook = read(submission)
    tests = possible(name)
    notebook.cells = [c for c in notebook.cells if bundle.role_of(c).grade_id not in tests]
    notebook.metadata["otter"] = {"assignment_name": name}
    path = folder / f"signed {Path(submission).name}"
    nbformat.write(notebook, path)
    return path


def test_otter_gives_the_points_that_nbgrader_gives(course, bundled, tmp_path):
    name, out = bundled
    what, (function, body, _) = next(iter(WRONG[name].items()))
    wrong = answered(name, function, body, tmp_path / "wrong.ipynb")
    points = by_tests(course.graded(wrong, name, "otter"), name)
    for submission, expected in (
        (signed(SOURCES / f"{name}.ipynb", name, tmp_path), possible(name)),
        (signed(wrong, name, tmp_path), points),
        (out / "student" / f"{name}.ipynb", dict.fromkeys(points, 0)),
    ):
        found = bundle.graded(submission, out / bundle.AUTOGRADER)
        assert found == by_question(expected, name)


def test_otters_student_copy_gives_nothing_away(bundled):
    name, out = bundled
    text = (out / "student" / f"{name}.ipynb").read_text()
    for cell in read(SOURCES / f"{name}.ipynb").cells:
        for mark in (bundle.SOLUTION, bundle.HIDDEN):
            _, secret, _ = bundle.cut(cell.source, mark)
            assert not any(len(line) > 20 and line in text for line in secret.splitlines())


# The lecturer's page


def test_the_commands_of_the_page_run(tmp_path, monkeypatch):
    blocks = re.findall(r"```python\n(.*?)```", (SOURCES / "README.md").read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(SOURCES / f"{assignments()[0]}.ipynb", "submission.ipynb")
    names = {}
    for block in blocks:
        exec(block.replace("/tmp", str(tmp_path)), names)
    assert len(blocks) == 3 and (tmp_path / "course" / "gradebook.db").exists()
    assert (tmp_path / "otter" / bundle.AUTOGRADER).exists()
