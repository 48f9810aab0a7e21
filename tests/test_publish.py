"""Publishing: outputs go with the sources they came from, claims with the results."""

import json
import re
import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from unlearnlib import InputError
from unlearnlib.lab import documents, profiles, publish
from unlearnlib.lab.nulls import Judged
from unlearnlib.lab.results import Results, results_path

README = "".join(
    f"<!-- {name} -->\nold\n<!-- /{name} -->\n" for name in ("notebooks", "results", "profiles")
)
FIGURES = (
    "before\n"
    + "".join(
        f"<!-- {name} -->\nold\n<!-- /{name} -->\n"
        for name in ("claims", "minutes", "figures", "speed")
    )
    + "after\n"
)
HEADLINE = "more than 10x faster than retraining"
STUDY = '''"""A start, for whom it may concern (Section 1).

More of it.
"""


def rise(results):
    """How it rises, and
    falls (Table 1).

    More of it.
    """


FIGURES = (rise,)
'''
BENCH = '''"""How fast."""
FIGURES = ()
TABLES = {"speed": lambda results: f"of {results.notebook}"}
PAGES = {"which.md": {"choices": lambda results: f"by {results.notebook}"}}
'''


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A repository of one notebook with its study, run at laptop, and a study without notebook."""
    monkeypatch.setattr(publish, "repository_root", lambda: tmp_path)
    monkeypatch.setenv("UNLEARNLIB_CACHE", str(tmp_path / ".cache"))
    monkeypatch.setenv("UNLEARNLIB_FIGURES", str(tmp_path / "figures"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in [n for n in sys.modules if n.partition(".")[0] == "studies"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "studies", None)  # so that it is gone again afterwards
    del sys.modules["studies"]
    (tmp_path / "README.md").write_text(README)
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "README.md").write_text(FIGURES)
    (tmp_path / "figures" / "which.md").write_text("<!-- choices -->\n<!-- /choices -->\n")
    write(tmp_path / "notebooks" / "00_start.ipynb", cells())
    write(tmp_path / ".cache" / "executed" / "laptop" / "00_start.ipynb", executed(cells()))
    studies = tmp_path / "notebooks" / "studies"
    studies.mkdir()
    (studies / "__init__.py").touch()
    (studies / "nb00_start.py").write_text(STUDY)
    (studies / "timed.py").write_text(BENCH)
    results = Results("00_start", profiles.load("laptop"))
    null = {"doing nothing": "not reproduced"}
    claim(results, "a | b", "not quoted", {"x": 0.25}, 3, [0.1, 0.4], Judged("partly", "why", null))
    claim(results, "another", "470x", {"y": 12}, 1, None, Judged("not judged", "so", "none"))
    times = {"MLP": 7.0, "AllCNN": 8.0, "ResNet-18": 9.0}
    claim(results, HEADLINE, "10x", times, 5, [1, 2], Judged("partly", "why", "none"))
    results.save()
    results_path("00_start", results.profile).with_name("rise.png").touch()
    Results("timed", profiles.load("laptop")).save()
    stamp(tmp_path, {"commit": "0123456789ab", "dirty": False})
    return tmp_path


def claim(results, text, paper, measured, n, spread, judged):
    results.claim(
        text, paper=paper, settings="small", measured=measured, n=n, spread=spread, judged=judged
    )


def cells():
    sources = [
        "# 00. A start\n\nAbout **1.5 minutes** at `quick`.",
        'profile = "quick"',
        "print(1)",
    ]
    made = [new_markdown_cell(sources[0]), *map(new_code_cell, sources[1:])]
    made[1].metadata["tags"] = ["parameters"]
    return made


def executed(its):
    """As papermill leaves it: a cell more, times, a progress bar, and a count that starts at 1."""
    injected = new_code_cell('profile = "laptop"', metadata={"tags": ["injected-parameters"]})
    outputs = [
        new_output("stream", name="stderr", text="training: 50%"),
        new_output("stream", name="stdout", text="1\n"),
        new_output("execute_result", {"text/plain": "7"}, execution_count=3, metadata={"at": "x"}),
    ]
    last = new_code_cell(its[2].source, outputs=outputs, execution_count=3)
    last.metadata["papermill"] = {"duration": 1.0}
    return [its[0], new_code_cell(its[1].source, execution_count=1), injected, last]


def write(path, its):
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=its), path)


def stamp(root, git):
    for path in root.glob("figures/laptop/*/results.json"):
        found = json.loads(path.read_text())
        found["provenance"]["git"] = git
        path.write_text(json.dumps(found))


def test_outputs_come_without_what_belongs_to_the_run(root):
    assert publish.main([]) == 0
    before, after = cells(), nbformat.read(root / "notebooks" / "00_start.ipynb", 4).cells
    assert [c.source for c in after] == [c.source for c in before]
    assert [c.metadata for c in after] == [c.metadata for c in before]
    assert [c.execution_count for c in after[1:]] == [1, 2]
    assert [out.output_type for out in after[2].outputs] == ["stream", "execute_result"]
    assert after[2].outputs[0].text == "1\n" and after[2].outputs[1].execution_count == 2
    assert after[2].outputs[1].metadata == {}
    nbformat.validate(nbformat.read(root / "notebooks" / "00_start.ipynb", 4))


def test_prose_may_be_mended_after_the_run(root):
    its = cells()
    its[0].source = "# 00. A better start"
    write(root / "notebooks" / "00_start.ipynb", its)
    assert publish.main([]) == 0
    after = nbformat.read(root / "notebooks" / "00_start.ipynb", 4).cells
    assert after[0].source == "# 00. A better start" and after[2].outputs


def pages(root):
    return [root / "README.md", root / "figures" / "README.md", root / "notebooks/00_start.ipynb"]


def table(page, name):
    """What stands between the markers, as rows of cells."""
    between = page.read_text().partition(f"<!-- {name} -->\n")[2].partition(f"\n<!-- /{name}")[0]
    return [
        [cell.strip() for cell in line.replace("\\|", "/").strip("|").split("|")]
        for line in between.splitlines()
        if not line.startswith("|---")
    ]


def test_publishing_twice_changes_nothing(root):
    publish.main([])
    once = [path.read_bytes() for path in pages(root)]
    assert publish.main([]) == 0 and [path.read_bytes() for path in pages(root)] == once


def with_a_panel(code):
    made = [*cells(), new_code_cell(code)]
    made[-1].metadata["tags"] = ["panel"]
    return made


def test_a_panel_needs_no_run_and_keeps_the_outputs_of_one(root):
    page = root / "notebooks" / "00_start.ipynb"
    write(page, with_a_panel("import os; print(os.environ['UNLEARNLIB_PROGRESS'])"))
    assert publish.main([]) == 0
    *_, of_run, still = nbformat.read(page, 4).cells
    assert [output.get("text") for output in of_run.outputs] == ["1\n", None]
    assert [output.text for output in still.outputs] == ["0\n"] and still.execution_count == 3
    changed = nbformat.read(page, 4)
    changed.cells[-1].source = "print('another still')"
    nbformat.write(changed, page)
    assert publish.main(["--panels"]) == 0
    *_, of_run, still = nbformat.read(page, 4).cells
    assert [output.get("text") for output in of_run.outputs] == ["1\n", None]
    assert still.outputs[0].text == "another still\n"


def test_each_claim_stands_with_both_sides(root):
    publish.main([])
    page = root / "figures" / "README.md"
    assert page.read_text().startswith("before\n") and page.read_text().endswith("after\n")
    said, _, columns, *rows = table(page, "claims")
    assert said[0].startswith(
        "2 claims of the paper: 1 partly, 1 not judged. 1 of ours: 1 partly. Made "
    )
    assert "0123456" in said[0]
    link = "([00](../notebooks/00_start.ipynb))"
    assert columns == [*documents.CLAIM_COLUMNS]
    measured = "x: 0.25 (n = 3, 0.1 to 0.4). small"
    why = "why. Null test: doing nothing: not reproduced"
    assert rows[0] == [f"a / b {link}", "not quoted", measured, "partly", why]
    last = [f"another {link}", "470x", "y: 12 (n = 1). small", "not judged", "so. Null test: none"]
    assert rows[1] == last


def test_models_from_another_device_are_owned_up_to(root):
    path = results_path("00_start", "laptop")
    told = json.loads(path.read_text())
    machine, packages = told["provenance"]["machine"], told["provenance"]["packages"]
    here = f"{machine['device']}, torch {packages['torch']}"
    for makers, said in (
        ([f"{here}+cu130", here, "not recorded"], "0123456."),
        (["a GPU, torch 2.11", here], "Some of the stored models were made on a GPU, torch 2.11."),
    ):
        told["provenance"]["models_made_on"] = makers
        path.write_text(json.dumps(told))
        publish.main([])
        (summary,) = table(root / "figures" / "README.md", "claims")[0]
        assert summary.endswith(said)


def test_the_readme_lists_notebooks_headlines_and_profiles(root):
    publish.main([])
    page = root / "README.md"
    assert table(page, "notebooks")[1:] == [
        ["[00_start](notebooks/00_start.ipynb)", "A start, for whom it may concern (Section 1)"]
    ]
    asked, link = documents.HEADLINES[HEADLINE][0], "([00](notebooks/00_start.ipynb))"
    assert table(page, "results")[1:] == [[f"{asked} {link}", "7x, 8x and 9x (n = 5)", "partly"]]
    assert [row[0] for row in table(page, "profiles")[1:]] == [
        "`smoke`",
        "`quick`",
        "`laptop`",
        "`paper`",
    ]


def test_figures_minutes_and_a_studys_own_tables_are_listed(root):
    publish.main([])
    page = root / "figures" / "README.md"
    assert ["[rise](laptop/00_start/rise.png)", "How it rises, and falls (Table 1)"] in table(
        page, "figures"
    )
    assert "### 00_start\n\nA start, for whom it may concern (Section 1) (" in page.read_text()
    assert table(page, "minutes")[1][:2] == ["00_start", "1.5"]
    assert table(page, "speed") == [["of timed"]]


def test_a_study_may_have_a_page_of_its_own(root):
    publish.main([])
    assert table(root / "figures" / "which.md", "choices") == [["by timed"]]


def test_a_notebook_that_was_not_run_yet_is_listed_without_results(root):
    write(root / "notebooks" / "01_next.ipynb", cells())
    assert publish.main(["--notebook", "00_start"]) == 0
    rows = table(root / "figures" / "README.md", "minutes")
    assert rows[2] == ["01_next", "1.5", "not run yet"] and rows[3][:2] == ["all", "3.0"]
    assert publish.main(["--notebook", "01_next"]) == 1


def test_one_notebook_is_published_without_the_others(root):
    write(root / "notebooks" / "01_next.ipynb", cells())
    Results("01_next", profiles.load("laptop")).save()
    stamp(root, {"commit": "0123456789ab", "dirty": False})
    before = (root / "notebooks" / "01_next.ipynb").read_bytes()
    assert publish.main([]) == 1  # it was not run here
    assert publish.main(["--notebook", "00_start"]) == 0
    assert nbformat.read(root / "notebooks" / "00_start.ipynb", 4).cells[2].outputs
    assert (root / "notebooks" / "01_next.ipynb").read_bytes() == before
    assert publish.main(["--notebook", "02_gone"]) == 1


def test_the_documents_are_written_without_any_run_of_this_machine(root):
    (root / ".cache/executed/laptop/00_start.ipynb").unlink()
    notebook = (root / "notebooks" / "00_start.ipynb").read_bytes()
    assert publish.main([]) == 1
    assert publish.main(["--documents"]) == 0
    assert len(table(root / "README.md", "notebooks")) == 2
    assert (root / "notebooks" / "00_start.ipynb").read_bytes() == notebook


def test_a_comment_in_the_code_may_be_mended_after_the_run(root):
    its = cells()
    its[2].source = "print(1)  # one"
    write(root / "notebooks" / "00_start.ipynb", its)
    assert publish.main([]) == 0
    after = nbformat.read(root / "notebooks" / "00_start.ipynb", 4).cells
    assert after[2].source == "print(1)  # one" and after[2].outputs


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            lambda root: write(root / "notebooks" / "00_start.ipynb", cells()[:2]),
            "code of 00_start",
        ),
        (lambda root: (root / ".cache/executed/laptop/00_start.ipynb").unlink(), "no laptop run"),
        (
            lambda root: (root / ".cache/executed/laptop/00_start.ipynb").write_text("{"),
            r"executed/laptop/00_start.ipynb is empty or broken .*; delete it and run `make",
        ),
        (lambda root: (root / "figures/laptop/00_start/results.json").unlink(), "does not exist"),
        (
            lambda root: (root / "figures/laptop/00_start/results.json").write_text(""),
            r"00_start/results.json is empty or broken .* `make reproduce",
        ),
        (
            lambda root: (root / "figures/laptop/00_start/results.json").write_text("{}"),
            r"00_start/results.json lacks, .*claims, .* `make reproduce",
        ),
        (lambda root: stamp(root, {"commit": "0123", "dirty": True}), "no commit holds"),
        (lambda root: stamp(root, {"commit": "unknown", "dirty": "unknown"}), "no commit holds"),
        (lambda root: (root / "README.md").write_text("no markers"), "0 places"),
    ],
)
def test_what_is_not_ready_is_refused_whole(root, spoil, said, capsys):
    spoil(root)
    before = [path.read_bytes() for path in pages(root)]
    assert publish.main([]) == 1
    assert re.search(said, capsys.readouterr().err)
    assert [path.read_bytes() for path in pages(root)] == before


def test_markers_that_stand_twice_are_refused():
    twice = 2 * "<!-- claims -->\n<!-- /claims -->\n"
    with pytest.raises(InputError, match="2 places between <!-- claims -->"):
        publish.between(twice, "claims", "new")
