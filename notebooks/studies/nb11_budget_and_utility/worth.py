"""What a proved certificate costs: accuracy by epsilon, and time by request.

Accuracy is that of released, noisy weights, over `DRAWS` draws of the noise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from unlearnlib.bounds import trivial_bound
from unlearnlib.evaluation import audit
from unlearnlib.evaluation.metrics import accuracy, distance
from unlearnlib.evidence import RETAINED_GRADIENT
from unlearnlib.lab.data import Images
from unlearnlib.lab.experiments import Experiment
from unlearnlib.lab.proved import Problem
from unlearnlib.lab.seeds import generator, seed_of
from unlearnlib.lab.settings import DELTA, DRAWS
from unlearnlib.noise import gaussian_sigma, with_noise
from unlearnlib.objective import Objective
from unlearnlib.planner import plan
from unlearnlib.progress import bar
from unlearnlib.verify import verify

from .audits import guessed


def prices(
    name: str, F_test: Objective, w: Tensor, Delta: float, epsilons: Iterable[float], seed: int
) -> list[dict]:
    """By epsilon: sigma for this Delta, and the test accuracy of w with such noise."""
    rows = []
    for epsilon in epsilons:
        sigma = gaussian_sigma(Delta, epsilon, DELTA)
        row = {"method": name, "seed": seed, "epsilon": epsilon, "Delta": Delta, "sigma": sigma}
        for draw in range(DRAWS):
            noisy = with_noise(w, sigma, seed_of(f"price {draw}", seed))
            rows.append(row | {"draw": draw, "test": accuracy(F_test, noisy)})
    return rows


def ball(d: Experiment, epsilons: Iterable[float]) -> list[dict]:
    """The paper's MLP, whose only proved Delta is 2C."""
    return prices("paper's MLP, 2C", d.F_test, d.w, trivial_bound(d.pair.C), epsilons, d.seed)


def refined(problem: Problem, epsilons: Iterable[float], seed: int) -> list[dict]:
    """A proved model, its G that of epsilon = 1 for every epsilon."""
    G = problem.gradient_for(1.0)
    w = problem.trained(G).w
    return prices(problem.name, problem.F_test, w, problem.sensitivity(G), epsilons, seed)


def unnoised(problem: Problem) -> float:
    """Test accuracy of the trained model itself."""
    return accuracy(problem.F_test, problem.trained(problem.gradient_for(1.0)).w)


def forget_sets(problem: Problem, sizes: Sequence[int], seed: int) -> list[dict]:
    """By size of the request at epsilon = 1: seconds against retraining, real error, accuracy.

    retrain    seconds from zero weights to the same G
    steps      Newton steps until the gradient allowed a release; 0 where it did at once
    error      distance of the estimate to a model retrained from zero, which Delta bounds
    """
    G = problem.gradient_for(1.0)
    w, order = problem.trained(G).w, torch.randperm(problem.F.n, generator=generator("sizes", seed))
    rows = []
    for size in bar(sizes, f"requests to the {problem.name}"):
        forget = order[:size].tolist()
        release = problem.unlearn(w, forget, G, epsilon=1.0, seed=seed_of("noise", seed))
        again = problem.trained(G, without=forget)
        card = release.certificate
        rows.append({
            "model": problem.name, "seed": seed, "n_u": size, "holds": card.holds,
            "verified": verify(problem.F, w, forget, release).confirmed,
            "Delta": card.sensitivity.value, "nothing": card.doing_nothing,
            "error": distance(release.estimate, again.w), "moved": distance(w, again.w),
            "seconds": release.seconds, "retrain": again.seconds,
            "steps": len(release.solution.history) - 1, "retrain steps": len(again.history) - 1,
            "gradients": release.solution.gradients, "retrain gradients": again.gradients,
            "test": accuracy(problem.F_test, release.w),
            "test, retrained": accuracy(problem.F_test, again.w),
            "forgotten": accuracy(problem.F.only(forget), release.w),
            "forgotten, retrained": accuracy(problem.F.only(forget), again.w),
        })  # fmt: skip
    return rows


def sequence(problem: Problem, requests: int, each: int, seed: int) -> list[dict]:
    """Request by request at epsilon = 1 for all of them together: accuracy, seconds, history."""
    G = problem.gradient_for(1.0)
    w, order = problem.trained(G).w, torch.randperm(problem.F.n, generator=generator("turns", seed))
    sigma = plan(requests, problem.sensitivity(G), 1.0, DELTA).sigma
    queue = problem.queue(w, G, sigma=sigma, seed=seed_of("noise", seed))
    rows = []
    for k, rows_asked in enumerate(bar(order[: requests * each].split(each), "sequence"), 1):
        now, before = problem.F.only(queue.kept), queue.w
        asked = torch.searchsorted(queue.kept, rows_asked)
        release = queue.forget(rows_asked)
        rows.append({
            "model": problem.name, "seed": seed, "request": k, "seconds": release.seconds,
            "holds": release.certificate.holds,
            "verified": verify(now, before, asked, release).confirmed,
            "test": accuracy(problem.F_test, release.w),
            "gradient": release.certificate.measurements[RETAINED_GRADIENT],
        })  # fmt: skip
    budget = queue.budget(DELTA)
    spent = zip(rows, budget.each, budget.history, strict=True)
    return [row | {"each": one, "history": all_} for row, one, all_ in spent]


# ---- an audit of a proved release ----------------------------------------------------------------


def audited(
    images: Images, build: Callable[[Images], Problem], canaries: int, epsilon: float, seed: int
) -> dict:
    """Claimed, realised and audited epsilon of one release of a proved model.

    The last `canaries` training images get labels drawn at random. A random half of them is trained
    on with all other images, then forgotten as one request; an attacker guesses which half it was.
    """
    g = generator("proved canaries", seed)
    y, n = images.y_train.clone(), len(images.y_train)
    y[n - canaries :] = torch.randint(len(images.classes), (canaries,), generator=g)
    problem = build(replace(images, y_train=y))
    coins = torch.rand(canaries, generator=g) < 0.5
    planted = torch.arange(n - canaries, n)
    G, never = problem.gradient_for(epsilon), planted[~coins].tolist()
    w = problem.trained(G, without=never).w
    retrained = problem.trained(G, without=planted.tolist()).w

    F = problem.F.without(never)
    forget = range(n - canaries, F.n)  # those trained on are the last of F
    release = problem.unlearn(w, forget, G, on=F, epsilon=epsilon, seed=seed_of("noise", seed))
    card, asked = release.certificate, problem.F.only(planted)
    found, before = (guessed(asked, model, coins) for model in (release.w, w))
    said = audit.confront(epsilon, found, holds=card.holds, rests_on=card.sensitivity.source)
    away = distance(release.estimate, retrained)
    return {
        "model": problem.name, "seed": seed, "sigma": card.sigma, "claimed": epsilon,
        "outcome": said, "realised": audit.realised_epsilon(away, card.sigma, DELTA),
        "audited": found.bound, "ceiling": found.ceiling, "distance": away, "holds": card.holds,
        "verified": verify(F, w, forget, release).confirmed,
        "before": before.bound, "right before": before.counts["right"], **found.counts,
    }  # fmt: skip
