"""make reproduce: what is finished is kept and skipped, what is not leaves no trace to trust."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import papermill
import psutil
import pytest

from unlearnlib import progress
from unlearnlib.lab import profiles, reproduce
from unlearnlib.lab.files import repository_root
from unlearnlib.lab.heartbeat import Heartbeat

SAVE = (
    "import os, pathlib\n"
    "folder = pathlib.Path(os.environ['UNLEARNLIB_FIGURES'], profile, '{name}')\n"
    "folder.mkdir(parents=True, exist_ok=True)\n"
    "written = (folder / 'results.json').write_text('{{}}')"
)

SLEEP = (  # and say first which process does
    "(folder / 'writing').write_text(str(os.getpid()))\n"
    "os.replace(folder / 'writing', folder / 'kernel')\n"
    "import time; time.sleep(300)"
)


class Place:
    """A folder with notebooks, a package, a cache and figures, all for one test."""

    opening = "A text."

    def __init__(self, root):
        self.root = root
        (root / "package").mkdir()
        (root / "package" / "code.py").write_text("a = 1\n")

    def write(self, name, *sources, parameters='profile = "quick"'):
        """A notebook of `sources` after a parameters cell, saving its results at the end."""
        cells = [nbformat.v4.new_markdown_cell(f"# {name}\n\n{self.opening}")]
        if parameters is not None:
            tagged = {"tags": ["parameters"]}
            cells.append(nbformat.v4.new_code_cell(parameters, metadata=tagged))
        cells += [nbformat.v4.new_code_cell(source) for source in sources]
        # No cell ids of chance: the same sources are the same file.
        for number, cell in enumerate(cells):
            cell["id"] = f"cell-{number}"
        metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
        (self.root / "notebooks").mkdir(exist_ok=True)
        path = self.root / "notebooks" / f"{name}.ipynb"
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), path)

    def write_study(self, name, source):
        """The study of a notebook, a module, or a package where the name has a slash."""
        path = self.root / "notebooks" / "studies" / f"nb{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)

    def arguments(self, *more, profile="smoke"):
        return ["--profile", profile, "--notebooks", str(self.root / "notebooks"), *more]

    def run(self, *more):
        return reproduce.main(self.arguments(*more))

    def stamp(self, name):
        return self.root / "cache" / "stamps" / "smoke" / f"{name}.json"

    def executed(self, name, profile="smoke"):
        return self.root / "cache" / "executed" / profile / f"{name}.ipynb"

    def results(self, name, profile="smoke"):
        return self.root / "figures" / profile / name / "results.json"

    def kept(self):
        """Names of all files in the cache."""
        return sorted(path.name for path in (self.root / "cache").rglob("*") if path.is_file())


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("UNLEARNLIB_FIGURES", str(tmp_path / "figures"))
    monkeypatch.setenv("UNLEARNLIB_PROGRESS", "0")
    monkeypatch.delenv("UNLEARNLIB_PROFILE", raising=False)
    monkeypatch.setattr(reproduce, "PACKAGE", tmp_path / "package")
    return Place(tmp_path)


@pytest.fixture
def runs(place, monkeypatch):
    """Papermill without a kernel: names of the notebooks run; one with "1/0" in it fails."""
    names = []

    def execute(notebook, output, **_):
        names.append(notebook.stem)
        output.write_text(notebook.read_text())
        results = (
            output.parents[3] / "figures" / output.parent.name / notebook.stem / "results.json"
        )
        results.parent.mkdir(parents=True, exist_ok=True)
        results.write_text("{}")
        if "1/0" in notebook.read_text():
            raise RuntimeError("division by zero")

    monkeypatch.setattr(papermill, "execute_notebook", execute)
    return names


def test_a_notebook_that_ran_is_kept_with_its_parameter_and_stamped(place, capfd):
    place.write("00_first", "import os\nprint(profile, os.getcwd())", SAVE.format(name="00_first"))
    assert place.run() == 0
    executed = nbformat.read(place.executed("00_first"), as_version=4)
    printed = [out.text for cell in executed.cells for out in cell.get("outputs", ())]
    assert printed == [f"smoke {place.root / 'notebooks'}\n"]
    stamp = json.loads(place.stamp("00_first").read_text())
    assert stamp["minutes"] > 0 and len(stamp["digest"]) == 64
    said = capfd.readouterr().err
    assert "[1/1] 00_first: starts, 4 cells" in said and "[1/1] 00_first: done in" in said
    assert "WARNING" not in said
    assert place.kept() == ["00_first.ipynb", "00_first.json"]


@pytest.mark.parametrize("variable", ["JUPYTER_PATH", "JUPYTER_DATA_DIR"])
def test_the_kernel_is_this_python_whatever_is_installed_under_its_name(
    place, monkeypatch, variable
):
    spec = place.root / "jupyter" / "kernels" / "python3" / "kernel.json"
    spec.parent.mkdir(parents=True)
    command = [sys.executable, "-m", "no_kernel", "{connection_file}"]
    spec.write_text(json.dumps({"argv": command, "display_name": "P", "language": "python"}))
    monkeypatch.setenv(variable, str(place.root / "jupyter"))
    place.write("00_first", "import sys\nprint(sys.executable)", SAVE.format(name="00_first"))
    assert place.run() == 0
    assert f"{sys.executable}\\n" in place.executed("00_first").read_text()


def test_a_failed_notebook_is_put_aside_and_the_next_has_its_turn(place, capfd):
    place.write("00_bad", "1/0", SAVE.format(name="00_bad"))
    place.write("01_good", SAVE.format(name="01_good"))
    assert place.run() == 1
    aside = place.root / "cache" / "executed" / "smoke" / "00_bad.failed.ipynb"
    said = capfd.readouterr().err
    assert "ZeroDivisionError" in said and str(aside) in said and "1 of 2 failed: 00_bad" in said
    assert "ZeroDivisionError" in aside.read_text()
    assert not place.stamp("00_bad").exists() and not place.executed("00_bad").exists()
    assert place.stamp("01_good").exists() and place.executed("01_good").exists()


def test_what_is_up_to_date_is_skipped_and_said_so(place, runs, capfd):
    place.write("00_first")
    place.write("01_second")
    assert place.run() == place.run() == 0
    assert runs == ["00_first", "01_second"]
    assert "[2/2] 01_second: up to date" in capfd.readouterr().err
    assert place.run("--notebook", "01_second") == 0 and len(runs) == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda place: place.write("00_first", "a = 2"),
        lambda place: place.executed("00_first").unlink(),
        lambda place: place.results("00_first").unlink(),
        lambda place: place.stamp("00_first").unlink(),
        lambda place: place.stamp("00_first").write_text(""),
        lambda place: place.stamp("00_first").write_text('{"digest": "'),
        lambda place: place.stamp("00_first").write_text("[]"),
        lambda place: (place.root / "package" / "code.py").write_text("a = 2\n"),
        lambda place: (place.root / "package" / "new.toml").write_text("a = 2\n"),
    ],
    ids=["source", "executed", "results", "stamp", "empty", "cut", "list", "package", "profile"],
)
def test_anything_changed_or_gone_is_run_again(place, runs, change):
    place.write("00_first", "a = 1")
    assert place.run() == 0
    change(place)
    assert place.run() == 0 and runs == ["00_first"] * 2
    assert place.run() == 0 and runs == ["00_first"] * 2


@pytest.mark.parametrize("file", ["01_second", "01_second/figures"], ids=["module", "package"])
def test_a_change_in_one_study_runs_its_notebook_and_no_other(place, runs, file):
    for name in ("00_first", "01_second"):
        place.write(name)
    place.write_study("00_first", "a = 1\n")
    place.write_study(file, "a = 1\n")
    assert place.run() == 0 and runs == ["00_first", "01_second"]
    place.write_study(file, "a = 2\n")
    assert place.run() == 0 and runs == ["00_first", "01_second", "01_second"]


@pytest.mark.parametrize(
    "change",
    [
        lambda place: place.write("00_first", "a = 1  # why"),
        lambda place: setattr(place, "opening", "Another.") or place.write("00_first", "a = 1"),
        lambda place: place.write_study("00_first", '"""Of a study."""\n\na = (\n    1\n)\n'),
        lambda place: (place.root / "package" / "code.py").write_text("# why\na = 1\n"),
        lambda place: (place.root / "package" / "sizes.toml").write_text("a = 1  # ours\n"),
    ],
    ids=["cell", "text", "study", "package", "profile"],
)
def test_a_comment_runs_nothing_again(place, runs, change):
    place.write("00_first", "a = 1")
    place.write_study("00_first", "a = 1\n")
    (place.root / "package" / "sizes.toml").write_text("a = 1\n")
    assert place.run() == 0
    change(place)
    assert place.run() == 0 and runs == ["00_first"]


def test_what_is_no_python_counts_as_it_stands(place, runs):
    place.write("00_first", "%time a = 1")
    assert place.run() == 0
    place.write("00_first", "%time a = 2")
    assert place.run() == 0 and runs == ["00_first"] * 2


def test_outputs_in_the_notebook_do_not_count_as_a_change(place, runs):
    place.write("00_first", "print(1)")
    assert place.run() == 0
    path = place.root / "notebooks" / "00_first.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[-1].outputs = [nbformat.v4.new_output("stream", text="1\n")]
    nbformat.write(notebook, path)
    assert place.run() == 0 and runs == ["00_first"]


def test_a_later_failure_takes_the_stamp_but_not_the_minutes(place, runs, capfd):
    place.write("00_first")
    assert place.run() == 0
    place.write("00_first", "1/0")
    assert place.run() == 1 and not place.stamp("00_first").exists()
    place.write("00_first")
    capfd.readouterr()
    assert place.run() == 0 and len(runs) == 3
    assert "starts, 2 cells, about" in capfd.readouterr().err
    assert place.kept() == ["00_first.ipynb", "00_first.json"]


def test_a_notebook_without_results_has_failed(place, monkeypatch, capfd):
    place.write("00_first")
    place.results("00_first").parent.mkdir(parents=True)
    place.results("00_first").write_text("{}")  # of an earlier run
    monkeypatch.setattr(papermill, "execute_notebook", lambda _, out, **more: out.write_text("{}"))
    assert place.run() == 1
    assert "did not write" in capfd.readouterr().err
    assert place.kept() == ["00_first.failed.ipynb"]


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ('profiel = "quick"', "does not assign 'profile' but profiel"),
        ("", "does not assign 'profile' but nothing"),
        ("%matplotlib inline", "not Python"),
        (None, "0 cells tagged 'parameters'"),
    ],
)
def test_a_parameter_that_would_not_arrive_is_refused_before_anything_runs(
    place, runs, capfd, parameters, said
):
    place.write("00_first")
    place.write("01_second", parameters=parameters)
    assert place.run() == 1
    assert said in capfd.readouterr().err
    assert runs == []


def test_a_file_that_is_no_notebook_is_refused_by_name(place, runs, capfd):
    place.write("00_first")
    (place.root / "notebooks" / "01_second.ipynb").write_text("")
    assert place.run() == 1
    assert re.search("01_second.ipynb is empty or broken.*; mend it", capfd.readouterr().err)
    assert runs == []


@pytest.mark.parametrize("variable", ["UNLEARNLIB_CACHE", "UNLEARNLIB_FIGURES"])
def test_a_place_that_cannot_be_written_is_refused_before_anything_runs(
    place, runs, monkeypatch, capfd, variable
):
    place.write("00_first")
    (place.root / "file").write_text("")
    monkeypatch.setenv(variable, str(place.root / "file"))
    assert place.run() == 1
    assert f"file cannot be written to; set {variable} to" in capfd.readouterr().err
    assert runs == []


def test_what_is_asked_for_must_be_there_and_be_the_only_word(place, runs, monkeypatch, capfd):
    assert place.run() == 1
    assert "there are: none" in capfd.readouterr().err
    place.write("00_first")
    assert place.run("--notebook", "01_second") == 1
    assert "'01_second'" in capfd.readouterr().err
    assert place.run("--profile", "tiny") == 1
    assert "'tiny'" in capfd.readouterr().err
    monkeypatch.setenv("UNLEARNLIB_PROFILE", "quick")
    assert place.run() == 1
    said = capfd.readouterr().err
    assert "UNLEARNLIB_PROFILE is 'quick'" in said and "'smoke'" in said
    assert runs == []


@pytest.mark.parametrize(("name", "profile"), [("SIGINT", "smoke"), ("SIGTERM", "quick")])
def test_a_stopped_run_leaves_no_stamp_no_notebook_and_no_kernel(place, name, profile):
    """At quick two notebooks run at once: neither leaves anything."""
    names = ["00_long", "01_long", "02_never"]
    for each in names:
        place.write(each, SAVE.format(name=each), SLEEP)
    run = started(place, profile)
    at_once = profiles.load(profile).at_once
    kernels = [place.results(each, profile).with_name("kernel") for each in names[:at_once]]
    running = [psutil.Process(int(wait_for(path, run))) for path in kernels]
    run.send_signal(getattr(signal, name))
    _, said = run.communicate(timeout=60)
    assert run.returncode == reproduce.INTERRUPTED
    assert said.count("interrupted") == 1 and "Traceback" not in said and "02_never" not in said
    assert place.kept() == []
    assert all(map(ended, running))


def test_a_run_that_is_killed_takes_its_kernels_with_it(place):
    for name in ("00_long", "01_long"):
        place.write(name, SAVE.format(name=name), SLEEP)
    run = started(place, "quick")
    paths = [place.results(name, "quick").with_name("kernel") for name in ("00_long", "01_long")]
    running = [psutil.Process(int(wait_for(path, run))) for path in paths]
    run.kill()
    assert all(map(ended, running))
    run.communicate(timeout=60)


def test_two_notebooks_run_at_once_where_the_profile_says_so(place):
    """Each waits for the other to start, which none could if they ran one after the other."""
    for name, other in (("00_first", "01_second"), ("01_second", "00_first")):
        place.write(
            name,
            SAVE.format(name=name),
            f"import time\n(folder.parent / '{name}.here').write_text('')\n"
            f"while not (folder.parent / '{other}.here').exists(): time.sleep(0.1)\n"
            "print(os.environ['UNLEARNLIB_THREADS'], os.environ['UNLEARNLIB_WORKERS'])",
        )
    place.write("02_bad", "1/0")
    run = started(place, "quick")
    _, said = run.communicate(timeout=120)
    assert run.returncode == 1 and "1 of 3 failed: 02_bad" in said
    assert "[1/3] 00_first: done" in said and "[2/3] 01_second: done" in said
    kept = place.executed("00_first", "quick").read_text()
    assert place.executed("01_second", "quick").exists() and '"1 1\\n"' in kept


def started(place, profile):
    """The command, in a process of its own."""
    # A shell that starts us in the background would have us ignore SIGINT.
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from unlearnlib.lab.reproduce import main\n"
        "if __name__ == '__main__': sys.exit(main(sys.argv[1:]))"
    )
    script = place.root / "start.py"
    script.write_text(code)
    path = os.pathsep.join([str(repository_root()), os.environ.get("PYTHONPATH", "")])
    plain = {
        k: v
        for k, v in os.environ.items()
        if k not in ("UNLEARNLIB_PROFILE", "UNLEARNLIB_THREADS", "UNLEARNLIB_WORKERS")
    }
    return subprocess.Popen(
        [sys.executable, str(script), *place.arguments(profile=profile)],
        env=plain | {"PYTHONPATH": path},
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process):
    """Whether a process that was killed is gone within ten seconds: a signal takes a moment."""
    for _ in range(100):
        try:
            if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.1)
    return False


def wait_for(path: Path, run):
    """The file's text, as soon as it is there."""
    for _ in range(600):
        if path.exists():
            return path.read_text()
        assert run.poll() is None, run.stderr.read()
        time.sleep(0.1)
    run.kill()
    raise AssertionError(f"{path} was not written within a minute")


def test_the_heartbeat_says_where_and_how_long():
    def line(minutes, expected, later=0.0):
        heartbeat = Heartbeat("[2/3] 01_norm", cells=20, expected=expected, later=later)
        heartbeat.began -= 60 * minutes
        for _ in range(7):
            heartbeat.next_cell(cell=None, cell_index=0)
        return heartbeat.line()

    assert line(1.3, None) == "[2/3] 01_norm: cell 7 of 20, 1.3 min so far"
    assert line(1.3, 3.3) == "[2/3] 01_norm: cell 7 of 20, 1.3 min so far, about 2.0 min left"
    assert line(0.5, 1.0) == "[2/3] 01_norm: cell 7 of 20, 30 s so far, about 30 s left"
    assert line(3, 2).endswith("3.0 min so far, longer than the 2.0 min expected")
    assert line(1.3, 3.3, later=7).endswith("about 2.0 min left (all: 9.0 min)")
    assert line(3, 2, later=7).endswith("longer than the 2.0 min expected (all: 7.0 min)")


def test_the_heartbeat_says_what_the_bars_inside_the_notebook_say(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNLIB_PROGRESS", "0")
    heartbeat = Heartbeat("[1/1] 04", cells=9, expected=None)
    with heartbeat.beating():
        folder = heartbeat.bars
        for _ in progress.bar(range(2), "seeds"):
            left = progress.bar(range(7, 15), "training", done=7)
            left.start_t -= 60  # a bar of less than two seconds is not shown
            left.mininterval = 0
            for epoch in left:
                if epoch == 9:
                    progress.note(left, {"test": 0.71, "history": []})
                    left.refresh()
                    said = heartbeat.line()
    assert "; training 9/15 [01:00<" in said and said.endswith(", test 0.710]")
    assert not folder.exists() and progress.FOLDER not in os.environ


@pytest.fixture
def began(monkeypatch):
    """What each heartbeat was told, as it began."""
    told = []
    monkeypatch.setattr(
        reproduce, "Heartbeat", lambda *a, **k: told.append(k) or Heartbeat(*a, **k)
    )
    return told


def test_the_time_left_is_what_the_first_cell_says_until_it_is_measured(
    place, runs, began, monkeypatch
):
    monkeypatch.setattr(reproduce, "cores", lambda: 1)  # one after the other, in this process
    for name, minutes in (("00_first", "3 minutes"), ("01_second", "0.5 minutes"), ("02_own", "")):
        place.opening = f"About **{minutes}** at `quick`" if minutes else "Nobody knows."
        place.write(name, SAVE.format(name=name))
    assert place.run("--profile", "quick") == 0
    assert [(k["expected"], k["later"]) for k in began] == [(3.0, 0.5), (0.5, 0.0), (None, 0.0)]
    place.write("00_first", "1 + 1", SAVE.format(name="00_first"))
    assert place.run("--profile", "quick") == 0
    assert began[-1]["expected"] < 1 and began[-1]["later"] == 0  # measured; the others are done


def test_the_time_left_is_that_of_committed_results_where_there_are_some(place, runs, began):
    place.write("00_first")
    place.results("00_first").parent.mkdir(parents=True)
    place.results("00_first").write_text('{"provenance": {"seconds": 90.0}}')
    assert place.run() == 0 and began[0]["expected"] == 1.5
