"""What the benchmarks share: the pairs of the profile, trained, and a row for each timing.

Run them by `make bench`. A timing counts only beside the others of its task in the same run: what
is published are ratios of medians, and each row carries the accuracy that its contender reached.
"""

import os
from statistics import median
from types import SimpleNamespace

import pytest
import torch

import unlearnlib as ul
from unlearnlib.lab import profiles
from unlearnlib.lab.clock import now, seconds_of
from unlearnlib.lab.experiments import Experiment
from unlearnlib.lab.seeds import generator

PROFILE = os.environ.get("UNLEARNLIB_PROFILE", "laptop")


@pytest.fixture(scope="session")
def profile():
    return profiles.load(PROFILE)


@pytest.fixture(scope="session")
def system(profile):
    """system(pair): (H + lam I) x = b at the trained w, over the retained samples."""
    made = {}

    def of(pair):
        if pair not in made:
            d = Experiment(profile.pair(pair), profile.pair(pair).seeds[0])
            F = d.F_trained.without(d.forget)
            made[pair] = SimpleNamespace(
                d=d, F=F, w=d.w, b=F.gradient(d.w), lam=d.pair.lam, threads=torch.get_num_threads()
            )
        torch.set_num_threads(made[pair].threads)
        return made[pair]

    return of


@pytest.fixture
def row(benchmark):
    """row(task, contender, job, reached=...): the median of `rounds`, with what was reached.

    `beside` is timed before each round, and the ratio is to that: a machine's pace drifts.
    """

    def timed(task, contender, job, *, rounds=5, reached=None, beside=None, **facts):
        def in_turn():
            if beside:
                turns.append(seconds_of(beside, 1))

        def done():
            result = job()
            now()  # waits for a GPU
            return result

        benchmark.group, turns = task, []
        warm = int(rounds > 1)
        found = benchmark.pedantic(done, setup=in_turn, rounds=rounds, warmup_rounds=warm)
        facts |= {"beside": median(turns[warm:])} if beside else {}
        facts |= reached(found) if reached else {}
        facts |= {"steps": found.steps} if isinstance(found, ul.Solution) else {}
        threads = torch.get_num_threads()
        benchmark.extra_info.update(task=task, contender=contender, threads=threads, **facts)
        return found

    return timed


def residual(F, w, b, lam):
    """What tells the true relative residual of a solution, on all samples of F."""

    def of(found):
        x = getattr(found, "x", found)
        return {"residual": float((F.hvp(w, x) + lam * x - b).norm() / b.norm())}

    return of


def some(F, count):
    """A fixed sample of F."""
    return F.only(torch.randperm(F.n, generator=generator("benchmark", 0))[: min(count, F.n)])
