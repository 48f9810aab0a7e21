"""The methods that the paper builds on, beside ours, on one problem and the same requests.

Softmax regression, where the constants of all are proved. Each release is certified on its own, the
definition that all of them share. The decay of each method is chosen for each epsilon on held-out
training images: some theorems need a large one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from unlearnlib.evaluation.metrics import accuracy
from unlearnlib.evaluation.peers import Answer, Guo, Neel, Sekhari
from unlearnlib.evaluation.peers.convex import HESSIAN_LIPSCHITZ, SAMPLE_GRADIENT, SMOOTHNESS
from unlearnlib.evaluation.peers.neel import training_iterations
from unlearnlib.lab import proved
from unlearnlib.lab.data import Images
from unlearnlib.lab.proved import Problem
from unlearnlib.lab.seeds import generator, seed_of
from unlearnlib.lab.settings import BLUR, DELTA, DRAWS
from unlearnlib.noise import gaussian_sigma, sample_noise
from unlearnlib.objective import Objective
from unlearnlib.progress import bar

OURS = "refined (ours)"
DESCENT = 50  # iterations of descent-to-delete for a request
LONGEST = 3000  # iterations of its training that we wait for
EXACT = 1e-9  # the gradient that training stops at in certified removal and Sekhari et al.


def compared(
    images: Images, decays: Sequence[float], epsilons: Sequence[float], requests: int, each: int,
    seed: int,
) -> list[dict]:  # fmt: skip
    """By method, decay and epsilon, after the last of `requests` requests for `each` images.

    test, held out   accuracy of the noisy model, mean over DRAWS of the noise where it is output
                     noise; "held out" are training images that no method saw
    seconds          for that last request
    retrained        how many of the requests made the method train anew
    """
    few = images.validation()
    asked = torch.randperm(len(few.y_train), generator=generator("forerunners", seed))
    asked = asked[: requests * each].split(each)
    rows = []
    for decay in bar(decays, "decays"):
        problem = proved.softmax(few, decay)
        judges = {
            "held out": problem.F_test,
            "test": problem.objective(images.x_test, images.y_test),
        }
        for method, answer in _methods(problem, asked, judges, seed).items():
            for epsilon in epsilons:
                row = {"method": method, "decay": decay, "epsilon": epsilon, "seed": seed}
                rows.append(row | answer(epsilon))
    return rows


def best(rows: Sequence[dict]) -> list[dict]:
    """Of each method at each epsilon, the row whose decay is best on the held-out images."""
    chosen: dict[tuple, dict] = {}
    for row in rows:
        at = row["method"], row["epsilon"], row["seed"]
        if at not in chosen or row["held out"] > chosen[at]["held out"]:
            chosen[at] = row
    return list(chosen.values())


Judges = dict[str, Objective]
Priced = Callable[[float], dict]


def _methods(
    problem: Problem, asked: Sequence[Tensor], judges: Judges, seed: int
) -> dict[str, Priced]:
    """Each method as a function of epsilon: what does not depend on epsilon is done once."""
    F, mu = problem.F, problem.mu
    G = problem.gradient_for(1.0)
    queue = problem.queue(problem.trained(G).w, G, epsilon=1.0)
    last = [queue.forget(rows) for rows in asked][-1]
    methods = {OURS: _priced(last.estimate, problem.sensitivity(G), last.seconds, 0, judges, seed)}

    known = {"L": SAMPLE_GRADIENT, "delta": DELTA, "epsilon": 1.0}
    capacity = sum(map(len, asked))
    stored = Sekhari.train(F, M=HESSIAN_LIPSCHITZ, capacity=capacity, G=EXACT, **known)
    methods["Sekhari et al."] = _output_noise(stored, asked, judges, seed)
    reach = {"beta": SMOOTHNESS + mu, "D": SAMPLE_GRADIENT / mu}
    length = training_iterations(DESCENT, n=F.n, mu=mu, L=SAMPLE_GRADIENT, **reach)
    if length <= LONGEST:
        descent = Neel.train(
            F, iterations=DESCENT, per_request=max(map(len, asked)), **reach, **known
        )
        methods["descent-to-delete"] = _output_noise(descent, asked, judges, seed)
    methods["certified removal"] = lambda epsilon: _removal(F, asked, epsilon, judges, seed)
    return methods


def _output_noise(
    method: Neel | Sekhari, asked: Sequence[Tensor], judges: Judges, seed: int
) -> Priced:
    answers = [method.forget(rows) for rows in asked]
    last, again = answers[-1], sum(answer.retrained for answer in answers)
    return _priced(last.estimate, last.sensitivity, last.seconds, again, judges, seed)


def _priced(
    estimate: Tensor, Delta: float, seconds: float, retrained: int, judges: Judges, seed: int
) -> Priced:
    def answer(epsilon: float) -> dict:
        sigma = gaussian_sigma(Delta, epsilon, DELTA)
        noisy = [estimate + sample_noise(estimate, sigma, seed_of(f"forerunner {k}", seed))
                 for k in range(DRAWS)]  # fmt: skip
        scores = {name: sum(accuracy(F, w) for w in noisy) / DRAWS for name, F in judges.items()}
        return {"sigma": sigma, "seconds": seconds, "retrained": retrained, **scores}

    return answer


def _removal(
    F: Objective, asked: Sequence[Tensor], epsilon: float, judges: Judges, seed: int
) -> dict:
    """Certified removal, its noise in the objective so large that a logit moves by BLUR at most at
    epsilon = 1, and in proportion to what the mechanism asks at another."""
    share = gaussian_sigma(1.0, epsilon, DELTA) / gaussian_sigma(1.0, 1.0, DELTA)
    sigma = BLUR * F.n * F.weight_decay * share
    method = Guo.train(
        F, epsilon=epsilon, delta=DELTA, sigma=sigma, G=EXACT, seed=seed_of("removal", seed)
    )
    answers: list[Answer] = [method.forget(rows) for rows in asked]
    scores = {name: accuracy(F_j, answers[-1].w) for name, F_j in judges.items()}
    again = sum(answer.retrained for answer in answers)
    return {"sigma": sigma, "seconds": answers[-1].seconds, "retrained": again, **scores}
