"""Publishing: outputs go with the sources they came from, claims with the results."""

import json
import re

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from unlearnlib import InputError
from unlearnlib.lab import profiles, publish
from unlearnlib.lab.results import Results


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A repository of one notebook, run at laptop."""
    monkeypatch.setattr(publish, "repository_root", lambda: tmp_path)
    monkeypatch.setenv("UNLEARNLIB_CACHE", str(tmp_path / ".cache"))
    monkeypatch.setenv("UNLEARNLIB_FIGURES", str(tmp_path / "figures"))
    (tmp_path / "README.md").write_text(
        "before\n<!-- claims -->\nold\n<!-- /claims -->\nafter\n<!-- bench -->\n<!-- /bench -->\n"
        "<!-- scale -->\n<!-- /scale -->\n"
    )
    write(tmp_path / "notebooks" / "00_start.ipynb", cells())
    write(tmp_path / ".cache" / "executed" / "laptop" / "00_start.ipynb", executed(cells()))
    results = Results("00_start", profiles.load("laptop"))
    results.claim("a | b", "not quoted", {"x": 0.25}, 3, [0.1, 0.4], "partly", "why")
    results.claim("another", "470x", 12, 1, None, "not reproduced", "so")
    results.save()
    timed = Results("benchmarks", profiles.load("laptop"))
    row = {"task": "solve", "contender": "ours", "seconds": 2.0, "times faster": 1.0}
    timed.record("timings", [row])
    terms = {"flop a second": 1e9, "gradients a product": 2.0}
    timed.record("scale", [{"processes": 8, "request, hours": 3.0, **terms}])
    timed.save()
    stamp(tmp_path, {"commit": "0123456789ab", "dirty": False})
    return tmp_path


def cells():
    sources = ["# 00. A start", 'profile = "quick"', "print(1)"]
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
    assert publish.main() == 0
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
    assert publish.main() == 0
    after = nbformat.read(root / "notebooks" / "00_start.ipynb", 4).cells
    assert after[0].source == "# 00. A better start" and after[2].outputs


def test_publishing_twice_changes_nothing(root):
    publish.main()
    paths = [root / "README.md", root / "notebooks" / "00_start.ipynb"]
    once = [path.read_bytes() for path in paths]
    assert publish.main() == 0 and [path.read_bytes() for path in paths] == once


def test_the_readme_gets_each_claim_with_both_sides(root):
    publish.main()
    before, _, after = (root / "README.md").read_text().partition("<!-- claims -->")
    after, between, timings = after.partition("<!-- /claims -->\nafter\n")
    assert before == "before\n" and between
    assert "1 timings" in timings and "| solve | ours | reference |" in timings
    assert "1 GFLOP a second" in timings and "| 8 | 3 |" in timings
    assert "2 claims: 1 partly, 1 not reproduced." in after and "from 0123456" in after
    rows = [line for line in after.splitlines() if line.startswith("| ")]
    assert len(rows) == 3
    link = "([00](notebooks/00_start.ipynb))"
    assert rows[1] == (
        f"| a \\| b {link} | not quoted | x: 0.25 (n = 3, 0.1 to 0.4) | partly | why |"
    )
    assert rows[2] == f"| another {link} | 470x | 12 (n = 1) | not reproduced | so |"


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
    paths = [root / "README.md", root / "notebooks" / "00_start.ipynb"]
    before = [path.read_bytes() for path in paths]
    assert publish.main() == 1
    assert re.search(said, capsys.readouterr().err)
    assert [path.read_bytes() for path in paths] == before


def test_markers_that_stand_twice_are_refused():
    twice = 2 * "<!-- claims -->\n<!-- /claims -->\n"
    with pytest.raises(InputError, match="2 places between <!-- claims -->"):
        publish.between(twice, "claims", "new")
