"""The certified methods that the paper builds on, beside ours, on softmax regression.

    for name, method in taking_part(problem).items():
        answers = method(problem, requests, seed=0)
        row(answers, epsilon=1.0, judges=judges)

The constants of all of them are proved there. Each release is certified on its own: the definition
that all of them share. Some theorems need a strong decay, so `best` chooses the decay of each
method at each epsilon, on held-out training images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from unlearnlib import draws
from unlearnlib.evaluation.metrics import accuracy
from unlearnlib.evaluation.peers import Guo, Neel, Sekhari
from unlearnlib.evaluation.peers.convex import (
    HESSIAN_LIPSCHITZ,
    SAMPLE_GRADIENT,
    SMOOTHNESS,
    rounding,
)
from unlearnlib.evaluation.peers.neel import sensitivity, training_iterations
from unlearnlib.lab.proved import Problem
from unlearnlib.lab.seeds import generator, seed_of
from unlearnlib.lab.settings import BLUR, DELTA, DRAWS
from unlearnlib.noise import gaussian_sigma, sample_noise
from unlearnlib.objective import Objective

OURS = "refined (ours)"
DESCENT = 50  # iterations of descent-to-delete for a request
LONGEST = 3000  # iterations of its training that we wait for
EXACT = 1e-9  # the gradient that training stops at in certified removal and Sekhari et al.
KNOWN = {"L": SAMPLE_GRADIENT, "delta": DELTA, "epsilon": 1.0}

Requests = Sequence[Tensor]


def random_requests(n: int, requests: int, each: int, seed: int) -> Requests:
    """The images of each request: `each` out of n, drawn at random, none of them twice."""
    order = draws.order(n, generator("forerunners", seed))
    return order[: requests * each].split(each)


def row(answers: Answers, epsilon: float, judges: Mapping[str, Objective]) -> dict:
    """What a method releases at this epsilon after its last request, and how good that is.

    seconds     for that last request
    retrained   how many of the requests made the method train anew
    judges      name -> an objective; the row has the accuracy on each, the mean over the releases
    """
    released = answers.released(epsilon)
    weights = released.weights
    scores = {
        name: sum(accuracy(F, w) for w in weights) / len(weights) for name, F in judges.items()
    }
    return {
        "sigma": released.sigma,
        "seconds": released.seconds,
        "retrained": released.retrained,
        **scores,
    }


def best(rows: Sequence[dict]) -> list[dict]:
    """Of each method at each epsilon, the row whose decay is best on the held-out images."""
    chosen: dict[tuple, dict] = {}
    for row in rows:
        at = row["method"], row["epsilon"], row["seed"]
        if at not in chosen or row["held out"] > chosen[at]["held out"]:
            chosen[at] = row
    return list(chosen.values())


# ---- what a method ends in -----------------------------------------------------------------------


@dataclass(frozen=True)
class Released:
    """The noisy weights after the last request: several, where only the draw of the noise differs.

    seconds, retrained   as `row` has them
    """

    weights: list[Tensor]
    sigma: float
    seconds: float
    retrained: int


@dataclass(frozen=True)
class OutputNoise:
    """The last estimate of a method that adds its noise at the end: epsilon decides how much."""

    estimate: Tensor
    sensitivity: float
    seconds: float
    retrained: int
    seed: int

    def released(self, epsilon: float) -> Released:
        """DRAWS releases of the estimate, with the noise that epsilon asks for."""
        sigma = gaussian_sigma(self.sensitivity, epsilon, DELTA)
        seeds = [seed_of(f"forerunner {k}", self.seed) for k in range(DRAWS)]
        noisy = [self.estimate + sample_noise(self.estimate, sigma, seed) for seed in seeds]
        return Released(noisy, sigma, self.seconds, self.retrained)


@dataclass(frozen=True)
class ObjectiveNoise:
    """Certified removal: its noise is in the objective, so each epsilon takes another training."""

    problem: Problem
    requests: Requests
    seed: int

    def released(self, epsilon: float) -> Released:
        """Train with noise and answer all requests.

        The noise is so large that a logit moves by BLUR at most at epsilon = 1, and in proportion
        to what the mechanism asks for at another.
        """
        F = self.problem.F
        share = gaussian_sigma(1.0, epsilon, DELTA) / gaussian_sigma(1.0, 1.0, DELTA)
        sigma = BLUR * F.n * F.weight_decay * share
        method = Guo.train(
            F,
            epsilon=epsilon,
            delta=DELTA,
            sigma=sigma,
            G=EXACT,
            seed=seed_of("removal", self.seed),
        )
        answers = [method.forget(asked) for asked in self.requests]
        retrained = sum(answer.retrained for answer in answers)
        return Released([answers[-1].w], sigma, answers[-1].seconds, retrained)


Answers = OutputNoise | ObjectiveNoise


# ---- the methods ---------------------------------------------------------------------------------


def refined(problem: Problem, requests: Requests, seed: int) -> OutputNoise:
    """Ours: refine until the gradient is at most the G that suits epsilon = 1."""
    G = problem.gradient_for(1.0)
    queue = problem.queue(problem.trained(G).w, G, epsilon=1.0)
    last = [queue.forget(asked) for asked in requests][-1]
    return OutputNoise(last.estimate, problem.sensitivity(G), last.seconds, 0, seed)


def sekhari(problem: Problem, requests: Requests, seed: int) -> OutputNoise:
    """Sekhari et al. (2021): one step from stored statistics."""
    capacity = sum(map(len, requests))
    method = Sekhari.train(problem.F, M=HESSIAN_LIPSCHITZ, capacity=capacity, G=EXACT, **KNOWN)
    return _answered(method, requests, seed)


def descent(problem: Problem, requests: Requests, seed: int) -> OutputNoise:
    """Descent-to-delete (Neel et al., 2021): DESCENT steps of gradient descent a request."""
    most = max(map(len, requests))
    method = Neel.train(
        problem.F, iterations=DESCENT, per_request=most, **_geometry(problem), **KNOWN
    )
    return _answered(method, requests, seed)


def _answered(method: Neel | Sekhari, requests: Requests, seed: int) -> OutputNoise:
    answers = [method.forget(asked) for asked in requests]
    last, retrained = answers[-1], sum(answer.retrained for answer in answers)
    return OutputNoise(last.estimate, last.sensitivity, last.seconds, retrained, seed)


def _geometry(problem: Problem) -> dict[str, float]:
    """Smoothness, and the radius that holds the minimiser, as descent-to-delete asks for them."""
    return {"beta": SMOOTHNESS + problem.mu, "D": SAMPLE_GRADIENT / problem.mu}


METHODS: dict[str, Callable[[Problem, Requests, int], Answers]] = {
    OURS: refined,
    "Sekhari et al.": sekhari,
    "descent-to-delete": descent,
    "certified removal": ObjectiveNoise,
}


def taking_part(problem: Problem) -> dict[str, Callable[[Problem, Requests, int], Answers]]:
    """METHODS, without descent-to-delete where its theorem is of no use.

    Its training would take more than LONGEST steps, or its bound for one sample lies below the
    rounding of weights: at so strong a decay descent is done, and its noise would hide nothing.
    """
    known = dict(n=problem.F.n, mu=problem.mu, L=SAMPLE_GRADIENT)
    geometry = _geometry(problem)
    length = training_iterations(DESCENT, **known, **geometry)
    bound = sensitivity(DESCENT, m=1, beta=geometry["beta"], **known)
    useful = length <= LONGEST and bound >= rounding(geometry["D"])
    return {name: m for name, m in METHODS.items() if m is not descent or useful}
