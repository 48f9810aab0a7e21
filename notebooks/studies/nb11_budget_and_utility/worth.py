"""What a proved certificate costs: accuracy by epsilon, and seconds and real error by request.

    offer = proved_offer(problem, seed=0)
    price_row(offer, epsilon=1.0, draw=0)
    request_row(problem, offer.w, size=10, seed=0)

Accuracy is that of the weights that are released, noise included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unlearnlib import draws
from unlearnlib.bounds import trivial_bound
from unlearnlib.evaluation.metrics import accuracy, distance
from unlearnlib.evidence import RETAINED_GRADIENT
from unlearnlib.lab.experiments import Experiment
from unlearnlib.lab.proved import Problem
from unlearnlib.lab.seeds import generator, seed_of
from unlearnlib.lab.settings import DELTA
from unlearnlib.noise import gaussian_sigma, with_noise
from unlearnlib.objective import Objective
from unlearnlib.planner import plan
from unlearnlib.strongly_convex import StronglyConvexUnlearner
from unlearnlib.verify import verify

# ---- the price of an epsilon ---------------------------------------------------------------------


@dataclass(frozen=True)
class Offer:
    """A trained model that may be released, and the sensitivity Delta that is proved for it."""

    method: str
    seed: int
    F_test: Objective
    w: Tensor
    Delta: float


def paper_offer(d: Experiment) -> Offer:
    """The paper's MLP. The only Delta that is proved for it is 2C."""
    return Offer("paper's MLP, 2C", d.seed, d.F_test, d.w, trivial_bound(d.pair.C))


def proved_offer(problem: Problem, seed: int) -> Offer:
    """A model with a proof, trained to the gradient G that suits epsilon = 1."""
    G = problem.gradient_for(1.0)
    w = problem.trained(G).w
    return Offer(problem.name, seed, problem.F_test, w, problem.sensitivity(G))


def price_row(offer: Offer, epsilon: float, draw: int) -> dict:
    """The noise that epsilon asks for, and the test accuracy under one draw of it."""
    sigma = gaussian_sigma(offer.Delta, epsilon, DELTA)
    noisy = with_noise(offer.w, sigma, seed_of(f"price {draw}", offer.seed))
    return {
        "method": offer.method,
        "seed": offer.seed,
        "epsilon": epsilon,
        "Delta": offer.Delta,
        "sigma": sigma,
        "draw": draw,
        "test": accuracy(offer.F_test, noisy),
    }


def unnoised(problem: Problem) -> float:
    """The test accuracy of the trained model itself, before any noise."""
    return accuracy(problem.F_test, problem.trained(problem.gradient_for(1.0)).w)


# ---- one request ---------------------------------------------------------------------------------


def request_row(problem: Problem, w: Tensor, size: int, seed: int) -> dict:
    """Unlearn `size` random images from the trained w at epsilon = 1, and compare with retraining.

    nothing    what is certified of w itself, if nothing is done
    moved      distance of w to a model that is retrained from zero weights
    error      the same distance of the unlearned model; Delta bounds it
    retrain    seconds of that retraining, to the same G
    steps      Newton steps until the gradient allowed a release; 0 where it did at once
    """
    G = problem.gradient_for(1.0)
    forget = _random_images(problem, size, "sizes", seed).tolist()
    release = problem.unlearn(w, forget, G, epsilon=1.0, seed=seed_of("noise", seed))
    again = problem.trained(G, without=forget)
    card, F_u = release.certificate, problem.F.only(forget)
    return {
        "model": problem.name,
        "seed": seed,
        "n_u": size,
        "holds": card.holds,
        "verified": verify(problem.F, w, forget, release).confirmed,
        "Delta": card.sensitivity.value,
        "nothing": card.doing_nothing,
        "error": distance(release.estimate, again.w),
        "moved": distance(w, again.w),
        "seconds": release.seconds,
        "retrain": again.seconds,
        "steps": len(release.solution.history) - 1,
        "retrain steps": len(again.history) - 1,
        "gradients": release.solution.gradients,
        "retrain gradients": again.gradients,
        "test": accuracy(problem.F_test, release.w),
        "test, retrained": accuracy(problem.F_test, again.w),
        "forgotten, trained": accuracy(F_u, w),
        "forgotten": accuracy(F_u, release.w),
        "forgotten, retrained": accuracy(F_u, again.w),
    }


# ---- a sequence of requests ----------------------------------------------------------------------


def planned_queue(problem: Problem, requests: int, seed: int) -> StronglyConvexUnlearner:
    """A queue whose noise is planned so that all `requests` releases together cost epsilon = 1."""
    G = problem.gradient_for(1.0)
    sigma = plan(requests, problem.sensitivity(G), 1.0, DELTA).sigma
    return problem.queue(problem.trained(G).w, G, sigma=sigma, seed=seed_of("noise", seed))


def random_requests(problem: Problem, requests: int, each: int, seed: int) -> Sequence[Tensor]:
    """The images of each request: `each` of them, drawn at random, none of them twice."""
    return _random_images(problem, requests * each, "turns", seed).split(each)


def queued_row(problem: Problem, queue: StronglyConvexUnlearner, asked: Tensor) -> dict:
    """Let the queue answer its next request, and check the certificate a second time.

    asked      positions in problem.F; the certificate counts among those that are still there
    gradient   ||grad F_r|| where the request starts, on what it leaves
    """
    now, before = problem.F.only(queue.kept), queue.w
    positions = torch.searchsorted(queue.kept, asked)
    release = queue.forget(asked)
    return {
        "seconds": release.seconds,
        "holds": release.certificate.holds,
        "verified": verify(now, before, positions, release).confirmed,
        "test": accuracy(problem.F_test, release.w),
        "gradient": release.certificate.measurements[RETAINED_GRADIENT],
    }


def _random_images(problem: Problem, count: int, purpose: str, seed: int) -> Tensor:
    return draws.order(problem.F.n, generator(purpose, seed))[:count]
