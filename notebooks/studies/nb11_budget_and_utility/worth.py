"""What a proved certificate costs: accuracy by epsilon, and seconds and real error by request.

    offer = proved_offer(entry.row, problem, seed=0)
    price_row(offer, epsilon=1.0, draw=0)
    for name, forget in requests(problem, w, forget=1000, seed=0).items():
        request_row(problem, prepared, forget, seed=0)

Accuracy is that of the weights that are released, noise included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from unlearnlib import draws
from unlearnlib.bounds import trivial_bound
from unlearnlib.evaluation.metrics import accuracy, distance
from unlearnlib.evidence import RETAINED_GRADIENT
from unlearnlib.lab.experiments import Experiment
from unlearnlib.lab.proved import Prepared, Problem
from unlearnlib.lab.seeds import generator, seed_of
from unlearnlib.lab.settings import DELTA
from unlearnlib.lab.verdicts import TIMES
from unlearnlib.noise import gaussian_sigma, with_noise
from unlearnlib.objective import Objective
from unlearnlib.planner import plan
from unlearnlib.strongly_convex import StronglyConvexUnlearner
from unlearnlib.verify import verify

PAPER = "paper's network, 2C"
ONE, AS_PAPER, TENTH = TIMES  # random requests, by how many images they name

# ---- the price of an epsilon ---------------------------------------------------------------------


@dataclass(frozen=True)
class Offer:
    """A trained model that may be released, and the sensitivity Delta that is proved for it.

    about   its pair and model: what its rows begin with
    """

    about: dict[str, str]
    seed: int
    F_test: Objective
    w: Tensor
    Delta: float


def paper_offer(d: Experiment) -> Offer:
    """The paper's network. The only Delta that is proved for it is 2C."""
    about = {"pair": d.pair.name, "model": PAPER}
    return Offer(about, d.seed, d.F_test, d.w, trivial_bound(d.pair.C))


def proved_offer(about: dict[str, str], problem: Problem, seed: int) -> Offer:
    """A model with a proof, trained to the gradient G that suits epsilon = 1."""
    G = problem.gradient_for(1.0)
    w = problem.trained(G).w
    return Offer(about, seed, problem.F_test, w, problem.sensitivity(G))


def price_row(offer: Offer, epsilon: float, draw: int) -> dict:
    """The noise that epsilon asks for, and the test accuracy under one draw of it."""
    sigma = gaussian_sigma(offer.Delta, epsilon, DELTA)
    noisy = with_noise(offer.w, sigma, seed_of(f"price {draw}", offer.seed))
    return {
        **offer.about,
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


def requests(problem: Problem, w: Tensor, forget: int, seed: int) -> dict[str, Tensor]:
    """Positions of the images that each request names, by what it asks for.

    forget   how many the paper's request has: as many are drawn, or those of largest loss taken
    """
    F, n, last = problem.F, problem.F.n, len(problem.images.classes) - 1
    order = draws.order(n, generator("sizes", seed))
    loss = torch.cat([cross_entropy(F.outputs(w, x), y, reduction="none") for x, y in F.passes()])
    return {
        ONE: order[:1],
        AS_PAPER: order[:forget],
        TENTH: order[: n // 10],
        "those of largest loss": loss.topk(forget).indices.sort().values,
        "all of one class": (F.y == last).nonzero().flatten(),
    }


def request_row(problem: Problem, prepared: Prepared | None, forget: Tensor, seed: int) -> dict:
    """Unlearn these images from the trained model at epsilon = 1, and compare with retraining.

    nothing    what is certified of w itself, if nothing is done
    moved      distance of w to a model that is retrained from zero weights
    error      the same distance of the unlearned model; Delta bounds it
    retrain    seconds of that retraining, to the same G by the same solver
    steps      Newton steps until the gradient allowed a release; 0 where it did at once
    gradients  the work, in gradients, a Hessian product as two
    """
    G = problem.gradient_for(1.0)
    run, rows = problem.trained(G), forget.tolist()
    with_these = {"prepared": prepared, "whole": run.slope}
    release = problem.unlearn(
        run.w, rows, G, epsilon=1.0, seed=seed_of("noise", seed), **with_these
    )
    again = problem.trained(G, without=rows)
    card, F_u = release.certificate, problem.F.only(rows)
    return {
        "seed": seed,
        "n_u": len(rows),
        "holds": card.holds,
        "verified": verify(problem.F, run.w, rows, release).confirmed,
        "Delta": card.sensitivity.value,
        "nothing": card.doing_nothing,
        "error": distance(release.estimate, again.w),
        "moved": distance(run.w, again.w),
        "seconds": release.seconds,
        "retrain": again.seconds,
        "steps": len(release.solution.history) - 1,
        "retrain steps": len(again.history) - 1,
        "gradients": release.solution.gradients,
        "retrain gradients": again.gradients,
        "test": accuracy(problem.F_test, release.w),
        "test, retrained": accuracy(problem.F_test, again.w),
        "forgotten, trained": accuracy(F_u, run.w),
        "forgotten": accuracy(F_u, release.w),
        "forgotten, retrained": accuracy(F_u, again.w),
    }


# ---- a sequence of requests ----------------------------------------------------------------------


def planned_queue(problem: Problem, count: int, seed: int) -> StronglyConvexUnlearner:
    """A queue whose releases cost epsilon = 1 together, with noise as small as one of them needs.

    Training and refining go down to a gradient that is sqrt(count) times smaller.
    """
    G = problem.gradient_for(1.0, requests=count)
    sigma = plan(count, problem.sensitivity(G), 1.0, DELTA).sigma
    run, noise = problem.trained(G), seed_of("noise", seed)
    prepared = problem.prepared(G)
    return problem.queue(run.w, G, prepared, sigma=sigma, seed=noise, whole=run.slope)


def random_requests(problem: Problem, count: int, each: int, seed: int) -> Sequence[Tensor]:
    """The images of each request: `each` of them, drawn at random, none of them twice."""
    order = draws.order(problem.F.n, generator("turns", seed))
    return order[: count * each].split(each)


def queued_row(
    problem: Problem, queue: StronglyConvexUnlearner, asked: Tensor, checked: bool
) -> dict:
    """Let the queue answer its next request.

    asked      positions in problem.F; the certificate counts among those that are still there
    checked    whether the certificate is checked a second time, which takes longer than the request
    gradient   ||grad F_r|| where the request starts, on what it leaves
    """
    now, before = problem.F.only(queue.kept), queue.w
    positions = torch.searchsorted(queue.kept, asked)
    release = queue.forget(asked)
    return {
        "seconds": release.seconds,
        "holds": release.certificate.holds,
        "verified": verify(now, before, positions, release).confirmed if checked else None,
        "test": accuracy(problem.F_test, release.w),
        "gradient": release.certificate.measurements[RETAINED_GRADIENT],
        "gradients": release.solution.gradients,
    }


def prepare_again(problem: Problem, queue: StronglyConvexUnlearner) -> None:
    """Make the queue's preconditioner anew from what is left: it forgets what was forgotten."""
    queue.preconditioner = problem.prepare(problem.F.only(queue.kept), queue.w)
