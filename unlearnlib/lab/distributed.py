"""Answer one request with several processes, and print how long each solver takes.

    torchrun --nproc-per-node 4 -m unlearnlib.lab.distributed --profile quick

The notebooks can run in the same way:

    torchrun --nproc-per-node 4 -m unlearnlib.lab.reproduce --profile laptop

What the processes share is in lab/processes.py.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial

from ..cg import conjugate_gradient
from ..errors import UnlearnError
from ..lissa import lissa
from ..newton import Solver
from ..unlearn import Release, unlearn
from . import profiles
from .experiments import Experiment
from .processes import first, processes
from .seeds import generator
from .settings import CHAINS, DELTA, SIGMA


def main(argv: list[str] | None = None) -> int:
    """Answer one request by either solver. Returns 0, or 1 after an error."""
    parser = argparse.ArgumentParser(prog="distributed", description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default="quick", help="one of " + ", ".join(profiles.names()))
    parser.add_argument("--pair", default="mlp_mnist", choices=profiles.PAIRS)
    arguments = parser.parse_args(argv)
    try:
        for name, release in _releases(arguments.profile, arguments.pair):
            if first():
                print(_line(name, release), flush=True)
    except UnlearnError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


def _releases(profile: str, pair: str):
    """The pair's request answered by conjugate gradient, then by ten chains of LiSSA."""
    d = Experiment(profiles.load(profile).pair(pair), seed=0)
    F = d.F_trained
    solvers: dict[str, Solver] = {
        "conjugate gradient": conjugate_gradient,
        "LiSSA, 10 chains": partial(lissa, chains=CHAINS, generator=generator("hessian", d.seed)),
    }
    for name, solver in solvers.items():
        yield (
            name,
            unlearn(
                F,
                d.w,
                d.forget,
                C=d.pair.C,
                lam=d.pair.lam,
                delta=DELTA,
                sigma=SIGMA,
                solver=solver,
                tol=1e-2,
            ),
        )


def _line(name: str, release: Release) -> str:
    solution = release.solution
    size = processes()
    return (
        f"{name}: {solution.seconds:.2f} s for {solution.steps} steps on {size} "
        f"process{'' if size == 1 else 'es'}, relative residual {solution.residual:.2e} "
        f"({solution.status}); {release.seconds:.2f} s from request to release"
    )


if __name__ == "__main__":
    sys.exit(main())
