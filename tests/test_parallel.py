"""Side by side or one after the other: the same files in the store, and no process left behind."""

import multiprocessing
import os
import signal
import threading
import time
from dataclasses import dataclass, fields, replace
from functools import partial
from itertools import product

import numpy as np
import pytest
import torch
from PIL import Image

from unlearnlib.errors import DivergenceError, InputError
from unlearnlib.lab import parallel as module
from unlearnlib.lab import processes, profiles
from unlearnlib.lab.experiments import Experiment
from unlearnlib.lab.files import cache_root
from unlearnlib.lab.parallel import Training, each, together, train_together
from unlearnlib.lab.processes import use_threads
from unlearnlib.lab.requests import Asked
from unlearnlib.lab.store import is_stored, load_or_make

SMALL = replace(profiles.load("smoke").mlp_mnist, train=0, test=0, forget=4, epochs=2, width=0.1)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A small model of a folder of images, which workers read in no time."""
    root, draw = tmp_path_factory.mktemp("pets"), np.random.default_rng(0)
    for split, kind in product(("train", "test"), ("cat", "dog")):
        folder = root / split / kind
        folder.mkdir(parents=True)
        for k in range(20):
            pixels = draw.integers(256, size=(8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{k}.png")
    return replace(SMALL, dataset=str(root))


@pytest.fixture(scope="module")
def runs(pair):
    """One of an experiment, and one of another that was asked to forget something else."""
    return [(Experiment(pair, 0), "trained"), (Asked(pair, 1, wanted=(3, 14)), "retrained")]


def settle(patch, cache):
    patch.setenv("UNLEARNLIB_CACHE", str(cache))
    patch.setenv("UNLEARNLIB_WORKERS", "2")
    patch.delenv("UNLEARNLIB_THREADS", raising=False)
    patch.delenv("WORLD_SIZE", raising=False)
    patch.setattr(module, "WORTH_IT", dict.fromkeys(module.WORTH_IT, 1))


@pytest.fixture(autouse=True)
def two_workers(tmp_path, monkeypatch):
    settle(monkeypatch, tmp_path)


@pytest.fixture
def alone(monkeypatch):
    """No process may be started."""
    monkeypatch.setattr(module, "in_processes", lambda *a: pytest.fail("processes were started"))


@dataclass(frozen=True)
class Note:
    """A job that keeps who made it, and takes so long, or fails once so many others are done."""

    number: int
    seconds: float = 0.0
    fails_after: int = 0

    def stored(self):
        return is_stored("notes", {"number": self.number})

    def work(self):
        return 1.0

    def make(self):
        while len(files()) < self.fails_after:
            time.sleep(0.05)
        if self.fails_after:
            raise DivergenceError(f"job {self.number} diverged")
        use_threads("allcnn")
        time.sleep(self.seconds)
        info = {"process": os.getpid(), "threads": torch.get_num_threads()}
        load_or_make("notes", {"number": self.number}, lambda: ({}, info))


def files(kind="*"):
    found = (cache_root() / "store").glob(f"{kind}/*.safetensors")
    return {str(path.relative_to(cache_root())) for path in found}


@pytest.fixture(scope="module")
def beside(runs, tmp_path_factory):
    """Two trainings and a note in two processes; then one job fails, and one is far from done."""
    with pytest.MonkeyPatch.context() as patch:
        cache = tmp_path_factory.mktemp("beside")
        settle(patch, cache)
        jobs = [Training(replace(d), name, d.key(name), d.F.n) for d, name in runs]
        torch.set_num_threads(2)
        started = time.perf_counter()
        with pytest.raises(DivergenceError, match="^job 1 diverged$"):
            together([*jobs, Note(0), Note(1, fails_after=3), Note(2, seconds=600)], "models")
        seconds, threads = time.perf_counter() - started, torch.get_num_threads()
        torch.set_num_threads(1)
        left = multiprocessing.active_children()
        return {"cache": cache, "seconds": seconds, "threads": threads, "left": left}


def test_the_store_holds_the_same_bits_as_without_processes(runs, beside, monkeypatch):
    alone = [getattr(replace(d), name) for d, name in runs]
    made = files("*trained")
    monkeypatch.setenv("UNLEARNLIB_CACHE", str(beside["cache"]))
    assert files("*trained") == made and len(made) == 2
    monkeypatch.setattr(Experiment, "train", lambda *a, **k: pytest.fail("trained again"))
    for (d, name), one in zip(runs, alone, strict=True):
        other = getattr(replace(d), name)
        assert one.w.equal(other.w) and one.history == other.history


def test_workers_have_one_thread_each_and_the_parent_keeps_its_own(beside, monkeypatch):
    monkeypatch.setenv("UNLEARNLIB_CACHE", str(beside["cache"]))
    info = load_or_make("notes", {"number": 0}, pytest.fail).info
    assert info["threads"] == 1 and info["process"] != os.getpid()
    assert beside["threads"] == 2


def test_a_failure_ends_the_others_and_leaves_no_process_behind(beside, monkeypatch):
    monkeypatch.setenv("UNLEARNLIB_CACHE", str(beside["cache"]))
    assert len(files("notes")) == 1 and beside["seconds"] < 500 and not beside["left"]


def test_a_run_in_common_is_made_once_and_warm_starts_come_last(pair, monkeypatch):
    started = []
    jobs_of = lambda calls: [call.__self__ for call in calls]  # noqa: E731
    monkeypatch.setattr(module, "in_processes", lambda calls, *a: started.append(jobs_of(calls)))
    ds = [Experiment(pair, 0), Asked(pair, 0, wanted=(3, 14))]
    train_together(ds, ("trained", "retrained", "elsewhere", "warm", "again"), "models")
    assert [[job.name for job in jobs] for jobs in started] == [
        ["trained", "retrained", "elsewhere", "retrained", "elsewhere"],
        ["warm", "again", "warm", "again"],
    ]
    for job in started[0] + started[1]:
        assert vars(job.d).keys() == {field.name for field in fields(job.d)}  # no images travel


@pytest.fixture
def interruptible():
    """Ctrl-C is heard, as a job in the background of a shell does not."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_leaves_no_process_behind():
    """Sent while they start."""

    def interrupt():
        while len(multiprocessing.active_children()) < 2:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        together([Note(0, seconds=60), Note(1, seconds=60)], "notes")
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("why", ["one worker", "torchrun", "one job", "little work", "all stored"])
def test_no_process_is_started_where_none_would_help(why, alone, monkeypatch):
    jobs = [Note(0), Note(1)]
    if why == "one worker":
        monkeypatch.setenv("UNLEARNLIB_WORKERS", "1")
    if why == "torchrun":
        monkeypatch.setenv("WORLD_SIZE", "2")
    if why == "little work":
        monkeypatch.setattr(Note, "work", lambda self: 0.5)
    if why == "all stored":
        for job in jobs:
            job.make()
    together(jobs[:1] if why == "one job" else jobs, "notes")
    assert why == "all stored" or not files()  # whoever asks makes it


def test_one_missing_job_is_left_to_whoever_asks(alone):
    Note(0).make()
    together([Note(0), Note(1)], "notes")


def test_processes_are_started_where_they_would_help(alone):
    with pytest.raises(pytest.fail.Exception, match="processes were started"):
        together([Note(0), Note(1)], "notes")


def test_a_small_training_is_not_worth_a_process(monkeypatch):
    monkeypatch.undo()
    smoke, laptop = (profiles.load(name).mlp_mnist for name in ("smoke", "laptop"))
    small, large = (
        Training(Experiment(pair, 0), "trained", {}, n).work()
        for pair, n in ((smoke, 600), (laptop, 60_000))
    )
    assert 20 * small < 1 < 2 * large


@pytest.mark.parametrize("asked", ["0", "two", "-1", "1.5"])
def test_a_number_of_workers_that_is_none_is_refused(asked, monkeypatch):
    monkeypatch.setenv("UNLEARNLIB_WORKERS", asked)
    with pytest.raises(InputError, match=f"UNLEARNLIB_WORKERS is '{asked}'; it must be a whole"):
        together([Note(0), Note(1)], "notes")


def test_a_gpu_works_alone_and_a_worker_s_threads_sleep_while_they_wait(monkeypatch):
    monkeypatch.setenv(module.VARIABLE, "4")
    assert module.workers() == 4
    monkeypatch.setattr(module, "device", lambda: torch.device("cuda", 0))
    assert module.workers() == 1
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    processes.sleep_while_waiting()
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    processes.sleep_while_waiting()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"


def test_each_call_returns_here_or_elsewhere_and_in_its_place(monkeypatch):
    calls = [os.getpid, os.getpid, partial(round, 2.5)]
    here, too, two = each(calls, "calls")
    assert os.getpid() not in (here, too) and two == 2
    monkeypatch.setenv(module.VARIABLE, "1")
    assert each(calls, "calls") == [os.getpid(), os.getpid(), 2]


def test_one_call_alone_is_worth_no_process(alone):
    assert each([os.getpid], "calls") == [os.getpid()]
