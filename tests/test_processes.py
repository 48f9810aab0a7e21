"""Several processes do what one does: real ones, meeting over gloo. See ranks.py for their part."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import papermill
import pytest
import torch
from ranks import computed
from safetensors import safe_open
from safetensors.torch import load_file

from unlearnlib.errors import InputError, RankLostError
from unlearnlib.lab import files, heartbeat, processes, reproduce
from unlearnlib.lab.processes import Ranks, first, ranks, use_threads
from unlearnlib.reduce import ALONE

PROGRAM = Path(__file__).with_name("ranks.py")
EXACT = {"rtol": 1e-10, "atol": 1e-10}


def launch(command, folder, sizes=(), launcher=(), **more):
    """Run tests/ranks.py: by itself for these sizes, or by a launcher."""
    more = {"OMP_NUM_THREADS": "1", "UNLEARNLIB_CACHE": str(folder / "cache")} | more
    return subprocess.run(
        [sys.executable, *launcher, PROGRAM, command, folder, *map(str, sizes)],
        env=os.environ | more,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    done = launch("compute", folder, sizes=(2, 4))
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(params=[2, 4])
def several(request, made):
    """The files that so many processes left, in order."""
    size = request.param
    return [made / f"{rank} of {size}.safetensors" for rank in range(size)]


@pytest.fixture(scope="module")
def one():
    return computed(ALONE)


def test_all_compute_what_one_does(several, one):
    for file in several:
        found = load_file(file)
        for name, wanted in one.items():
            torch.testing.assert_close(found[name], wanted, **EXACT, msg=lambda m, n=name: n + m)


def test_all_have_the_same_bits_secret_noise_and_draws_included(several):
    found = [load_file(file) for file in several]
    for other in found[1:]:
        for name, tensor in found[0].items():
            assert torch.equal(tensor, other[name]), name
    assert not torch.equal(found[0]["secret"], found[0]["released"])
    assert found[0]["agreed"] == 0 and not found[0]["truth"]


def test_the_store_is_the_first_process_s(several):
    found = load_file(several[-1])
    assert found["whose"].tolist() == [0, 0] and found["fresh"].tolist() == [True, False]
    cache = several[0].with_name(f"cache {len(several)}")
    assert len([path for path in cache.rglob("*") if path.is_file()]) == 1


def test_other_calls_and_too_few_chains_are_refused_by_name(several):
    for rank, file in enumerate(several):
        with safe_open(file, "pt") as opened:
            said = opened.metadata()
        assert f"Rank {rank} of {len(several)}" in said["shapes"]
        assert f"different calls; here it is the sum of shape ({2 + rank},)" in said["shapes"]
        assert ("sum" if rank else "agreement") + " of shape (3,)" in said["calls"]
        assert f"chains is 1 for {len(several)} processes" in said["chains"]
        for name in ("forget", "order", "C", "w", "y", "convex"):
            held = name if name in ("C", "w", "y") else "forget"
            assert f"hold different values of {held}; give all of them the same" in said[name]


def assert_lost(done, folder):
    assert done.returncode != 0
    assert "error: Rank 0 of 2 noticed that a process was lost" in done.stderr
    assert "Nothing was released or kept" in done.stderr and "the same command" in done.stderr
    assert not list(folder.rglob("*.safetensors"))


def test_a_process_that_dies_ends_the_run_and_leaves_nothing(tmp_path):
    # an eye that is slow to see a death leaves the others time to speak
    torchrun = "-m torch.distributed.run --standalone --monitor-interval 2 --nproc-per-node 2"
    assert_lost(launch("die", tmp_path, launcher=torchrun.split()), tmp_path)


def test_a_process_that_hangs_ends_the_run_when_time_is_up(tmp_path):
    assert_lost(launch("hang", tmp_path, sizes=[2], UNLEARNLIB_TIMEOUT="3"), tmp_path)


@pytest.mark.parametrize(("n", "size"), [(10, 4), (3, 4), (12, 4), (1, 1), (60_000, 7)])
def test_shares_are_adjacent_disjoint_whole_and_even(n, size):
    items = range(5, 5 + n)
    parts = [Ranks(rank, size).share(items) for rank in range(size)]
    assert [item for part in parts for item in part] == list(items)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.fixture
def under_torchrun(monkeypatch):
    """under_torchrun(rank, of) sets what torchrun would; nobody is there to meet."""
    ranks.cache_clear()

    def environment(rank, of):
        for name, value in {"RANK": rank, "WORLD_SIZE": of, "LOCAL_WORLD_SIZE": of}.items():
            monkeypatch.setenv(name, str(value))

    yield environment
    ranks.cache_clear()


def test_without_torchrun_or_with_one_process_there_is_nothing_to_share(under_torchrun):
    assert ranks() is ALONE and first()
    under_torchrun(0, of=1)
    ranks.cache_clear()
    assert ranks() is ALONE and first()


def test_an_environment_that_is_not_torchruns_is_named(under_torchrun, monkeypatch):
    under_torchrun(1, of=2)
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(RankLostError, match="(?s)Rank 1 of 2 did not meet.*torchrun"):
        ranks()
    monkeypatch.setenv("WORLD_SIZE", "two")
    with pytest.raises(InputError, match="WORLD_SIZE is 'two'"):
        ranks()


def test_processes_divide_the_cores(under_torchrun, monkeypatch):
    asked = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.delenv("UNLEARNLIB_THREADS", raising=False)
    for size in (1, 2, 4, 8):
        under_torchrun(0, of=size)
        use_threads("allcnn")
    assert asked == [2, 2, 1, 1]


@pytest.mark.parametrize("most, model, wanted", [(1, "allcnn", 1), (3, "allcnn", 3), (3, "mlp", 1)])
def test_a_busy_machine_can_ask_for_fewer_threads(monkeypatch, most, model, wanted):
    asked = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setenv("UNLEARNLIB_THREADS", str(most))
    use_threads(model)
    assert asked == [wanted]


def test_only_the_first_writes_and_speaks(under_torchrun, tmp_path, capsys):
    for rank in (1, 0):
        under_torchrun(rank, of=2)
        files.write_whole(tmp_path / f"{rank}", "text")
        heartbeat.say(f"rank {rank}")
    heartbeat.say("an error", everyone=True)
    assert os.listdir(tmp_path) == ["0"] and capsys.readouterr().err == "rank 0\nan error\n"


def test_the_others_run_each_notebook_too_and_keep_nothing(
    under_torchrun, tmp_path, monkeypatch, capsys
):
    """The environment of a kernel names its notebook, so that meetings do not mix."""
    monkeypatch.setenv("UNLEARNLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("UNLEARNLIB_FIGURES", str(tmp_path / "figures"))
    monkeypatch.setenv("UNLEARNLIB_PROGRESS", "0")
    monkeypatch.setenv(processes.MEETING_VARIABLE, "")
    monkeypatch.delenv("UNLEARNLIB_PROFILE", raising=False)
    cell = nbformat.v4.new_code_cell('profile = "quick"', metadata={"tags": ["parameters"]})
    for name in ("00_first", "01_second"):
        notebook = nbformat.v4.new_notebook(cells=[cell])
        nbformat.write(notebook, tmp_path / f"{name}.ipynb")
    met = []

    def execute(notebook, output, **_):
        met.append((notebook.stem, output, os.environ[processes.MEETING_VARIABLE]))

    monkeypatch.setattr(papermill, "execute_notebook", execute)
    under_torchrun(1, of=2)
    assert reproduce.main(["--profile", "smoke", "--notebooks", str(tmp_path)]) == 0
    assert met == [(name, None, name) for name in ("00_first", "01_second")]
    assert not (tmp_path / "cache").exists() and capsys.readouterr().err == ""
