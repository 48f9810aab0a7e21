"""All unlearning methods by name, tuned by one rule, so that they can be compared.

    method = METHODS["fine-tuning"]
    best = tune(profile.mlp_mnist, method)             # on held-out training images, once
    result = contender(d, method.name, best.setting)   # result.w, result.scores, result.seconds

**The rule.** Each method has one knob and four settings of it. Each setting is tried once, on an
experiment of its own (seed 1000, a fifth of the training images held out), and the one whose
Tug-of-War against retraining is largest is kept for every seed; retraining's scores are the mean
of two, from two starts, since one alone is noisy. No method may spend more than a tenth of the
sample gradients that training took, a Hessian product counting as one. Outside of that allowance
are one gradient over all retained images, LiSSA's scale, and forward passes. The test images play
no part.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial

import torch
from torch import Tensor

from .. import draws
from ..errors import DivergenceError, NegativeCurvatureError, require
from ..evaluation.baselines import fine_tune, negative_gradient, neggrad_plus
from ..evaluation.fisher import fisher_forgetting
from ..evaluation.lcodec import lcodec
from ..evaluation.metrics import accuracy, tug_of_war
from ..lissa import SCALE_MARGIN, lissa
from ..noise import sample_noise
from ..objective import Objective
from ..progress import bar
from ..solution import Solution
from ..spectrum import minibatch_curvature
from .experiments import Experiment
from .parallel import train_together
from .profiles import Pair
from .seeds import generator, seed_of
from .settings import BATCH, CHAINS, LISSA_STEPS, SCORED, SIGMA, TUNING_SEED
from .step import projected_step, solve_on
from .store import load_or_make

TENTH = 10
CG_STEPS = 16  # and one product more for the true residual
FISHER_SAMPLES = 1000


@dataclass(frozen=True)
class Contender:
    """The result of a method for a request.

    w         (p,), the model that the method would publish
    scores    accuracy (micro F1) on the "forgotten", "retained" and "test" images
    seconds   from request to w, when it was first made; measure again to compare times
    setting   of the method's knob; None for a reference
    """

    w: Tensor
    scores: dict[str, float]
    seconds: float
    setting: float | None


@dataclass(frozen=True)
class Method:
    """A way to forget, with the one knob that is tuned.

    run(d, setting) -> w; `settings(pair)` are the values of `knob` to try, mildest first.
    """

    name: str
    knob: str
    settings: Callable[[Pair], tuple[float, ...]]
    run: Callable[[Experiment, float], Tensor]


@dataclass(frozen=True)
class Tuned:
    """The setting chosen, and the trials: each {"setting", "ToW"} or {"setting", "refused"}."""

    setting: float
    trials: list[dict]


# ---- the methods -----------------------------------------------------------------------------


def epochs_allowed(d: Experiment) -> int:
    """A tenth of training's epochs, at least one."""
    return max(1, round(d.pair.epochs / TENTH))


def _training(d: Experiment, lr: float, purpose: str) -> dict:
    """The arguments of a baseline's training: the pair's own, for a tenth of its epochs."""
    names = ("C", "momentum", "optimizer", "batch_size")
    return {name: getattr(d.pair, name) for name in names} | {
        "lr": lr,
        "epochs": epochs_allowed(d),
        "generator": generator(purpose, d.seed),
    }


def training_sample(d: Experiment, gradients: int = 1) -> tuple[Objective, range]:
    """Return an objective on all forgotten and some retained images, and where the forgotten are.

    It has as many retained images as the allowance pays for.

    gradients   what a retained image costs in each epoch
    """
    count = max(1, min(d.F_r.n, allowance(d) // (epochs_allowed(d) * gradients)))
    retained = d.F_r.rows[draws.order(d.F_r.n, generator("few", d.seed))[:count]]
    return d.F_trained.only(torch.cat([d.forget, retained])), range(len(d.forget))


def _fine_tuning(d: Experiment, lr: float) -> Tensor:
    F, forget = training_sample(d)
    return fine_tune(F, d.w, forget, **_training(d, lr, "fine-tuning"))


def _negative_gradient(d: Experiment, lr: float) -> Tensor:
    F, forget = training_sample(d)
    return negative_gradient(F, d.w, forget, **_training(d, lr, "negative gradient"))


def _neggrad_plus(d: Experiment, alpha: float) -> Tensor:
    F, forget = training_sample(d, gradients=2)
    training = _training(d, d.pair.lr, "NegGrad+")
    return neggrad_plus(F, d.w, forget, alpha=alpha, **training)


def _fisher(d: Experiment, alpha: float) -> Tensor:
    samples, g = min(FISHER_SAMPLES, allowance(d)), generator("Fisher", d.seed)
    return fisher_forgetting(
        d.F_trained, d.w, d.forget, alpha=alpha, C=d.pair.C, samples=samples, generator=g
    )


def _lcodec(d: Experiment, lam: float) -> Tensor:
    return lcodec(
        d.F_trained,
        d.w,
        d.forget,
        lam=lam,
        C=d.pair.C,
        max_steps=CG_STEPS,
        hessian_on=allowed_sample(d),
        generator=generator("L-CODEC", d.seed),
    )


def estimate_by(solver: Callable, d: Experiment, lam: float) -> Tensor:
    """The Newton estimate inside the ball, without noise."""
    return projected_step(
        d.F_trained, d.w, d.forget, C=d.pair.C, lam=lam, solver=partial(solver, d)
    )


def _certified(solver: Callable, d: Experiment, lam: float) -> Tensor:
    """The paper's release: the estimate with the released code's noise.

    Only the step is made as for a certificate: with this sigma, epsilon is too large to protect.
    """
    w = estimate_by(solver, d, lam)
    return w + sample_noise(w, SIGMA, seed_of("noise", d.seed))


def solve_by_cg(d: Experiment, F_r: Objective, w: Tensor, b: Tensor, *, lam: float) -> Solution:
    """At most 16 steps of conjugate gradient, on the sample that both solvers see."""
    return solve_on(allowed_sample(d), tol=1e-2, max_steps=CG_STEPS)(F_r, w, b, lam=lam)


def solve_by_lissa(d: Experiment, F_r: Objective, w: Tensor, b: Tensor, *, lam: float) -> Solution:
    """LiSSA with the paper's chains and batches, and as many steps as a tenth of training pays."""
    steps = max(1, min(LISSA_STEPS, allowance(d) // (CHAINS * BATCH)))
    return lissa(
        allowed_sample(d),
        w,
        b,
        lam=lam,
        scale=SCALE_MARGIN * largest_curvature(d) + lam,
        steps=steps,
        chains=CHAINS,
        batch_size=BATCH,
        checks=1,
        generator=generator("hessian", d.seed),
    )


def largest_curvature(d: Experiment) -> float:
    """The largest of eight minibatch curvatures at w, which sets LiSSA's scale: stored.

    It depends on w alone, not on the request, so it can be computed when training ends.
    """

    def measure() -> tuple[dict[str, Tensor], dict]:
        g = generator("curvature", d.seed)
        F = d.F_trained
        sampled = minibatch_curvature(F, d.w, BATCH, batches=8, iterations=8, generator=g)
        return {}, {"curvature": float(sampled.max())}

    return load_or_make("curvature", d.identity, measure).info["curvature"]


def allowance(d: Experiment) -> int:
    """Sample gradients that a tenth of training takes."""
    return max(1, d.pair.epochs * d.F_r.n // TENTH)


def allowed_sample(d: Experiment) -> Objective:
    """A fixed sample of retained images for the Hessian: the allowance pays 17 products on it."""
    size = min(d.F_r.n, max(BATCH, allowance(d) // (CG_STEPS + 1)))
    F_r = d.F_trained.without(d.forget)
    return F_r.only(draws.order(F_r.n, generator("look", d.seed))[:size])


def _rates(*factors: float) -> Callable[[Pair], tuple[float, ...]]:
    return lambda pair: tuple(factor * pair.lr for factor in factors)


def _dampings(pair: Pair) -> tuple[float, ...]:
    return pair.dampings[::-1]


METHODS = {
    method.name: method
    for method in (
        Method("certified (CG)", "lam", _dampings, partial(_certified, solve_by_cg)),
        Method("certified (LiSSA)", "lam", _dampings, partial(_certified, solve_by_lissa)),
        Method("fine-tuning", "lr", _rates(0.3, 1, 3, 10), _fine_tuning),
        Method("negative gradient", "lr", _rates(0.03, 0.1, 0.3, 1), _negative_gradient),
        Method("NegGrad+", "alpha", lambda pair: (0.999, 0.99, 0.95, 0.8), _neggrad_plus),
        Method("Fisher forgetting", "alpha", lambda pair: (3e-4, 1e-3, 3e-3, 1e-2), _fisher),
        Method("L-CODEC", "lam", _dampings, _lcodec),
    )
}
REFERENCES = ("trained", "retrained", "elsewhere", "warm")


# ---- running them ----------------------------------------------------------------------------


def contender(d: Experiment, name: str, setting: float | None = None) -> Contender:
    """Return the result of a method at a setting, or one of REFERENCES; computed once, then stored.

    Raises NegativeCurvatureError or DivergenceError if the method refuses the setting; a refusal
    is stored too.
    """
    key = {**d.identity, "without": d.forget.tolist(), "name": name, "setting": setting}
    kept = load_or_make("methods", key, lambda: _made(d, name, setting))
    if "refused" in kept.info:
        raise REFUSALS[kept.info["refused"]](kept.info["why"])
    return Contender(kept.tensors["w"], kept.info["scores"], kept.info["seconds"], setting)


REFUSALS = {error.__name__: error for error in (NegativeCurvatureError, DivergenceError)}


def _made(d: Experiment, name: str, setting: float | None) -> tuple[dict[str, Tensor], dict]:
    if name in REFERENCES:
        run = getattr(d, name)
        return {"w": run.w}, {"scores": contender_scores(d, run.w), "seconds": run.seconds}
    try:
        w, seconds = timed(d, name, setting)
    except tuple(REFUSALS.values()) as error:
        return {}, {"refused": type(error).__name__, "why": str(error)}
    return {"w": w}, {"scores": contender_scores(d, w), "seconds": seconds}


def timed(d: Experiment, name: str, setting: float) -> tuple[Tensor, float]:
    """Run a method: return w and the seconds, without those for LiSSA's scale, made before."""
    largest_curvature(d)
    started = time.perf_counter()
    w = METHODS[name].run(d, setting)
    return w, time.perf_counter() - started


def contender_scores(d: Experiment, w: Tensor) -> dict[str, float]:
    """Accuracy on the forgotten, on at most 1,000 of the retained, and on the test images."""
    rows = draws.order(d.F_r.n, generator("scored", d.seed))[:SCORED]
    sets = {"forgotten": d.F_u, "retained": d.F_r.only(rows), "test": d.F_test}
    publish = d.published(w)
    return {name: accuracy(publish(F), w) for name, F in sets.items()}


@cache
def tune(pair: Pair, method: Method) -> Tuned:
    """Return the setting with the largest Tug-of-War on held-out images; the mildest of equals.

    Raises NegativeCurvatureError if the method refuses all of them.
    """
    d = Experiment(pair, TUNING_SEED, tuning=True)
    twice = [contender(d, name).scores for name in ("retrained", "elsewhere")]
    reference, trials = {name: (twice[0][name] + twice[1][name]) / 2 for name in twice[0]}, []
    for setting in method.settings(pair):
        try:
            result = {"ToW": tug_of_war(contender(d, method.name, setting).scores, reference)}
        except tuple(REFUSALS.values()) as refusal:
            result = {"refused": str(refusal)}
        trials.append({"setting": setting, **result})
    best = max(trials, key=lambda trial: trial.get("ToW", -1.0))
    require(
        "ToW" in best,
        f"{method.name} refuses all of its settings on {pair.name}, the last time saying: "
        f"{trials[-1].get('refused')} Raise the pair's lam in the profile.",
        NegativeCurvatureError,
    )
    return Tuned(best["setting"], trials)


def settled(d: Experiment, method: Method) -> Contender:
    """The method at its tuned setting, or at the next milder one that it does not refuse."""
    settings = method.settings(d.pair)
    tuned = tune(d.pair, method).setting
    for setting in reversed(settings[1 : settings.index(tuned) + 1]):
        try:
            return contender(d, method.name, setting)
        except tuple(REFUSALS.values()):
            continue
    return contender(d, method.name, settings[0])


def field(pair: Pair, seed: int) -> dict[str, Contender]:
    """All references and tuned methods at one seed, by name."""
    d = Experiment(pair, seed)
    references = {name: contender(d, name) for name in REFERENCES}
    return references | {name: settled(d, method) for name, method in METHODS.items()}


def fields(pair: Pair) -> Iterator[tuple[Experiment, dict[str, Contender]]]:
    """Yield each seed's experiment and its `field`; models are first trained side by side."""
    train_together([Experiment(pair, s) for s in pair.seeds], REFERENCES, f"models of {pair.name}")
    for seed in bar(pair.seeds, f"seeds of {pair.name}"):
        yield Experiment(pair, seed), field(pair, seed)


def whose(d: Experiment, method: str) -> dict:
    """The first columns of a row: pair, seed and method."""
    return {"pair": d.pair.name, "seed": d.seed, "method": method}
