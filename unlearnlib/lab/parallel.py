"""Train several models side by side: several processes make what is not yet in the store.

    train_together([Experiment(pair, s) for s in pair.seeds], ("trained", "retrained"), "seeds")
    Experiment(pair, seed).trained      as before; it comes from the store now

Nothing else changes. Keys, and the bits of the MLP, are those of training one after the other. A
convolutional network trains on one thread here and on two alone, which may change its last bits.
The seconds that a run notes are those with a busy neighbour.

Measured on two cores, in seconds, one process with one thread, with two threads, and two processes
with one each: 0.44, -, 0.29 for 4 MLPs (n = 4,000, 3 epochs); 3.64, 2.30, 2.18 for 2 quarter-width
AllCNNs (n = 640, 1 epoch); 0.73, 0.49, 0.53 for 32 MLPs stacked into one (n = 4,000,
1 epoch). If other work shares the cores, two threads that wait for each other are twenty times
slower, and two processes twice as slow.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from ..errors import require
from ..progress import PROGRESS, bar
from .device import device
from .experiments import Experiment
from .processes import sleep_while_waiting, use_threads
from .store import is_stored

T = TypeVar("T")
VARIABLE = "UNLEARNLIB_WORKERS"
WARM = ("warm", "again")

# Sample gradients in about twenty seconds of one core. Less is not worth starting processes for,
# each of which imports torch and loads the data.
WORTH_IT = {"mlp": 2_000_000, "allcnn": 7_000, "resnet18": 7_000}


class Job(Protocol):
    """Work whose result is kept in the store; it is sent to a worker by pickle.

    stored()   whether it is there
    work()     what making it takes, 1 for about twenty seconds
    make()     make it and keep it
    """

    def stored(self) -> bool: ...
    def work(self) -> float: ...
    def make(self) -> None: ...


@dataclass(frozen=True)
class Training:
    """The run of that name of an experiment, such as "trained" or "retrained".

    d      a new copy that holds no results yet: the worker makes them, images too
    key    d.key(name)
    n      its training images
    """

    d: Experiment
    name: str
    key: dict
    n: int

    def stored(self) -> bool:
        return is_stored(self.name, self.key)

    def work(self) -> float:
        return self.d.pair.epochs * self.n / WORTH_IT[self.d.pair.model]

    def make(self) -> None:
        getattr(self.d, self.name)


def train_together(experiments: Iterable[Experiment], names: Sequence[str], what: str) -> None:
    """Put these runs of all experiments into the store; WARM ones start where "trained" ended."""
    if workers() == 1:
        return
    jobs = {}
    for d in map(replace, experiments):
        for name in names:
            job = Training(replace(d), name, d.key(name), d.n)
            # Experiments that differ in what they forget alone have their trained model in common.
            jobs.setdefault(repr((name, job.key)), job)
    together([job for job in jobs.values() if job.name not in WARM], what)
    together([job for job in jobs.values() if job.name in WARM], f"{what}, warm starts")


def together(jobs: Sequence[Job], what: str) -> None:
    """Make what is not in the store yet, in as many processes as `workers` says.

    Where more processes would gain nothing, this does nothing, and a result is made when it is
    first asked for. That is so with one worker, one job, little work, in a process of another pool,
    and under torchrun, which has started its processes already.

    The first job that fails ends all others, and its error is raised here. Ctrl-C
    ends them too.
    A script that calls this needs the usual `if __name__ == "__main__":`.
    """
    if workers() == 1 or len(jobs) < 2:
        return
    missing = [job for job in jobs if not job.stored()]
    count = min(workers(), len(missing))
    if count > 1 and sum(job.work() for job in missing) > 1:
        in_processes([job.make for job in missing], count, what, _begin)


def workers() -> int:
    """Processes to use: UNLEARNLIB_WORKERS, else the cores that this process may run on.

    One in a worker, under torchrun, and where a GPU does the work.
    """
    if "WORLD_SIZE" in os.environ or multiprocessing.parent_process() is not None:
        return 1
    if device().type != "cpu":  # it works through all by itself, and its memory is one
        return 1
    asked = os.environ.get(VARIABLE) or str(cores())
    require(
        asked.isdecimal() and int(asked) >= 1,
        f"{VARIABLE} is {asked!r}; it must be a whole number, 1 for no processes but this one.",
    )
    return int(asked)


def each(calls: Sequence[Callable[[], T]], what: str) -> list[T]:
    """What each call returns, made in as many processes as `workers` says.

    Calls are sent by pickle. With one worker, or one call, they are made here, one by one.
    """
    if workers() == 1 or len(calls) < 2:
        return [call() for call in bar(calls, what)]
    return in_processes(calls, min(workers(), len(calls)), what, _begin)


def in_processes(
    calls: Sequence[Callable[[], T]], count: int, what: str, begin: Callable[[], None]
) -> list[T]:
    """What each call returns, made in `count` processes that each start with `begin()`.

    The first call that raises ends all, and its error is raised here. Ctrl-C ends them too, and so
    does whatever ends this process.
    """
    sleep_while_waiting()
    others = set(multiprocessing.active_children())
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, spawn, initializer=_start, initargs=[begin])
    try:
        made = [pool.submit(call) for call in calls]
        finished = as_completed(made)
        for _ in bar(range(len(calls)), what):
            next(finished).result()
    except BaseException:
        left = set(multiprocessing.active_children()) - others
        for worker in left:
            worker.terminate()
        pool.shutdown(cancel_futures=True)  # its thread waits for them first: two at once may fail
        for worker in left:
            worker.join()
        raise
    pool.shutdown()
    return [one.result() for one in made]


def _begin() -> None:
    """Set up a process that trains: one thread, without progress bar and warnings."""
    use_threads("mlp")
    os.environ[PROGRESS] = "0"
    warnings.simplefilter("ignore")


def _start(begin: Callable[[], None]) -> None:
    """Set up a process that ends with its parent, and leaves Ctrl-C to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets it too, and ends us
    threading.Thread(target=_end_with_parent, daemon=True).start()
    begin()


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)


def cores() -> int:
    """The cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
