"""The models that take part: what they are trained on, and what is known of their objectives.

for build in line_up(profile):
    case = build()               one at a time, as features take a gigabyte
    case.held_out                the same without a fifth of the images, to tune on

Whatever a method begins with, it goes on by `train_on`: Adam on what is retained, without noise,
which costs no privacy.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial

import torch
from torch import Tensor
from torch.func import grad, vmap

from unlearnlib import draws
from unlearnlib.lab import curvature, lineup, names, proved
from unlearnlib.lab.adam import by_adam
from unlearnlib.lab.data import Images
from unlearnlib.lab.experiments import Experiment
from unlearnlib.lab.methods import CG_STEPS, allowed_sample, estimate_by, solve_by_cg
from unlearnlib.lab.profiles import Pair, Profile
from unlearnlib.lab.proved import Problem
from unlearnlib.lab.requests import asked
from unlearnlib.lab.seeds import generator
from unlearnlib.lab.settings import TUNING_SEED
from unlearnlib.lab.verdicts import TIMES
from unlearnlib.objective import Objective
from unlearnlib.refinement import PRODUCT

EPOCHS = 10  # passes over the retained images that every method may spend, the noisy part included
SIZES = ONE, AS_PAPER, TENTH = TIMES  # random requests, by how many images they name
PROVED, MEASURED = "proved", "measured at the trained model"
SOFTMAX = "softmax regression"
TAKE_PART = ("mlp_mnist", "allcnn_cifar10")  # pairs whose data is used
FEW = 10_000  # images: with fewer, two models stand for all, for time; ours
A_SIXTIETH = 60  # of the names are asked for, as of the digits: the released code's 1,000 of 60,000
LOGIT_RATE = 1e-2  # of Adam on the proved models, in a logit; ours
LOOKED_AT = 2000  # samples whose gradients are looked at, where no bound on them is proved


@dataclass(frozen=True)
class Known:
    """Constants of a case's objective, everywhere that training may come to.

    mu       strong convexity, 0 for none;  L  smoothness;  g  bound on a sample's loss gradient
    source   PROVED or MEASURED: an epsilon that rests on measured ones is an assumption
    """

    mu: float
    L: float
    g: float
    source: str


@dataclass(frozen=True)
class PaperStep:
    """The paper's Newton step from its network, by conjugate gradient, before any noise.

    step      (forget, lam) -> the estimate in the ball, and its gradients
    dampings  values of lam to try, mildest first
    C         the radius of the ball
    """

    step: Callable[[Tensor, float], tuple[Tensor, float]] = field(repr=False)
    dampings: Sequence[float]
    C: float


@dataclass(frozen=True, eq=False)
class Case:
    """A model that was trained, and is asked to forget.

    F        the objective of training, in single precision
    judge    on the images that accuracy is measured on
    start    (p,), weights that know no image;  w  (p,), trained on all images
    lr       of Adam
    scale    1/scale is the size of weights that move a logit by about 1: 1 for most models
    forget   how many images the paper's request names
    key      what decides w, for the store
    retrained   (forget) -> weights of a retraining to the end, its gradients and seconds
    problem  where all is proved; None for the paper's network
    paper    the paper's step, for its own network
    """

    name: str
    title: str
    F: Objective = field(repr=False)
    judge: Objective = field(repr=False)
    start: Tensor = field(repr=False)
    w: Tensor = field(repr=False)
    lr: float
    scale: float
    forget: int
    seed: int
    key: dict = field(repr=False)
    retrained: Callable[[Tensor], tuple[Tensor, float, float]] = field(repr=False)
    measure: Callable[[], Known] = field(repr=False)
    tuning: Callable[[], Case] | None = field(repr=False, default=None)
    problem: Problem | None = field(repr=False, default=None)
    paper: PaperStep | None = field(repr=False, default=None)

    @cached_property
    def known(self) -> Known:
        return self.measure()

    @cached_property
    def held_out(self) -> Case:
        """The same model without a fifth of the training images, judged on these."""
        return self.tuning()

    def requests(self) -> dict[str, Tensor]:
        """What is to be forgotten: images at random, a larger request holding a smaller one."""
        order = draws.order(self.F.n, generator("sizes", self.seed))
        counts = {ONE: 1, AS_PAPER: self.forget, TENTH: self.F.n // 10}
        return {name: order[:count].sort().values for name, count in counts.items()}

    def train_on(self, F: Objective, w: Tensor, epochs: int, seed: int) -> tuple[list, float]:
        """Train w on F without noise: the accuracy after each epoch, and the seconds of one."""
        how = dict(lr=self.lr, epochs=epochs, generator=generator("frontier", seed))
        run = by_adam(F, w.to(F.dtype), self.judge, **how)
        return [epoch["accuracy"] for epoch in run.history], run.seconds / epochs


def line_up(profile: Profile) -> list[Callable[[], Case]]:
    """What builds the cases: the paper's MLP, softmax regression on pixels and on features, the
    tanh network, and softmax regression on names; on coloured photographs by features alone.

    The first two alone where there are FEW images.
    """
    pairs = [profile.pairs[name] for name in TAKE_PART if name in profile.pairs]
    builders = [partial(of_network, pairs[0], pairs[0].seeds[0])]
    if 0 < pairs[0].train < FEW:
        on_pixels = f"{SOFTMAX}, {lineup.PIXELS}"
        return [*builders, partial(_of_entry, pairs[0], on_pixels, proved.DECAY, profile)]
    for pair in pairs:
        images = Experiment(pair, pair.seeds[0]).images
        features = lineup.features_of(pair, images, profile)
        tried = [proved.softmax(images, decay, features) for decay in lineup.DECAYS]
        decay = lineup.best_decay([lineup.decay_row(problem) for problem in tried])
        builders += [
            partial(_of_entry, pair, entry.label, decay, profile)
            for entry in lineup.line_up(pair, images, features, decay, profile)
            if entry.given == lineup.FEATURES or pair.model == "mlp"  # pixels do for digits
        ]
    return [*builders, partial(_of_names, profile)]


def _of_entry(pair: Pair, label: str, decay: float, profile: Profile) -> Case:
    """The model of that label of the line-up; the decay is that of the one on features."""
    d = Experiment(pair, pair.seeds[0])
    features = lineup.features_of(pair, d.images, profile)
    entries = lineup.line_up(pair, d.images, features, decay, profile)
    [entry] = [entry for entry in entries if entry.label == label]
    return of_problem(f"{label} ({_data(d.images)})", entry.build(), len(d.forget))


def _data(images: Images) -> str:
    """What the data is called where results are shown, without how many of it there are."""
    return images.title.partition(",")[0]


def _of_names(profile: Profile) -> Case:
    """Text: in which language is a place, a language or a currency called so?"""
    texts, features = names.load(profile.mlp_mnist.train), names.pieces(profile.spellings)
    problem = proved.softmax(texts, names.DECAY, features, "held-out training names")
    return of_problem("softmax regression, letters (names)", problem, problem.F.n // A_SIXTIETH)


def of_network(pair: Pair, seed: int, tuning: bool = False) -> Case:
    """The paper's network. Of its constants none is proved: they are those at the trained model."""
    d = Experiment(pair, TUNING_SEED if tuning else seed, tuning)

    def measure() -> Known:
        return Known(0.0, curvature.measure(d).L, steepest(d.F, d.w), MEASURED)

    def retrained(forget: Tensor) -> tuple[Tensor, float, float]:
        run = asked(d, forget).retrained
        return run.w, float(pair.epochs), run.seconds

    def step(forget: Tensor, lam: float) -> tuple[Tensor, float]:
        request = asked(d, forget)
        products = (CG_STEPS + 1) * allowed_sample(request).n / d.F.n
        return estimate_by(solve_by_cg, request, lam), 1 + PRODUCT * products

    return Case(
        f"MLP, pixels ({_data(d.images)})",
        d.title,
        d.F,
        d.F_test,
        d.F.initial(),
        d.w,
        lr=pair.lr,
        scale=1.0,
        forget=len(d.forget),
        seed=seed,
        key=d.identity,
        retrained=retrained,
        measure=measure,
        paper=PaperStep(step, pair.dampings, pair.C),
        tuning=None if tuning else lambda: of_network(pair, seed, tuning=True),
    )


def of_problem(
    name: str, problem: Problem, forget: int, seed: int = 0, aside: Sequence[int] = ()
) -> Case:
    """A model of lab/proved.py, with the constants that are proved there.

    aside   images that it is not trained on, and judged on
    """
    F, judge = map(proved.curvature, (problem.F, problem.F_test))
    if len(aside):
        F, judge = F.without(aside), F.only(aside)
    known = Known(problem.mu, problem.L, problem.sample_gradient, PROVED)

    def retrained(forget: Tensor) -> tuple[Tensor, float, float]:
        again = problem.trained(problem.gradient_for(1.0), without=forget.tolist())
        return again.w.to(F.dtype), again.gradients, again.seconds

    tuned = lambda: of_problem(name, problem, forget, seed, lineup.held_out(problem))  # noqa: E731
    return Case(
        name,
        f"{problem.images.title}, {problem.features.name}",
        F,
        judge,
        torch.zeros_like(F.initial()),
        problem.trained(problem.gradient_for(1.0), without=aside).w.to(F.dtype),
        lr=LOGIT_RATE / problem.reach,
        scale=problem.reach,
        forget=forget,
        seed=seed,
        key=problem.key(problem.gradient_for(1.0)) | {"aside": list(aside)},
        retrained=retrained,
        measure=lambda: known,
        tuning=None if len(aside) else tuned,
        problem=problem,
    )


def decayed(F: Objective, weight_decay: float) -> Objective:
    """The same objective with another decay."""
    other = copy.copy(F)
    other.weight_decay = weight_decay
    return other


def is_softmax(case: Case) -> bool:
    """Whether the case is softmax regression, whose strong convexity is its decay alone."""
    return case.problem is not None and case.problem.name == SOFTMAX


def steepest(F: Objective, w: Tensor) -> float:
    """The largest gradient norm of one sample's loss at w, among LOOKED_AT samples."""
    x, y = F.batch(draws.order(F.n, generator("frontier", 0))[:LOOKED_AT])
    of_one = grad(lambda w, x, y: F.batch_loss(w, x[None], y[None]))
    return float(vmap(of_one, (None, 0, 0))(w, x, y).norm(dim=1).max())
