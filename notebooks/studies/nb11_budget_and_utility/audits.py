"""Claimed, realised and audited epsilon of the paper's MLP: rows for `Results.record`.

    d = Experiment(profile.mlp_mnist, seed=0)
    canary_rows(d, sizes(d)) + shadow_rows(d, sizes(d))

Each row has a noise sigma, the epsilon that is claimed for it (by the ball alone, 2C), the one
that is realised (by the distance to the retrained model), the one that the audit shows at level
95%, and the most that the audit could have shown. At sigma = 0 nothing but the audit is finite.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector

from unlearnlib.bounds import trivial_bound
from unlearnlib.certificate import PROVED, THE_BALL
from unlearnlib.errors import require
from unlearnlib.evaluation import audit
from unlearnlib.evaluation.attacks import confidences
from unlearnlib.evaluation.metrics import distance
from unlearnlib.lab import models
from unlearnlib.lab.experiments import Experiment
from unlearnlib.lab.seeds import generator, seed_of
from unlearnlib.lab.settings import DELTA
from unlearnlib.lab.store import load_or_make
from unlearnlib.noise import gaussian_epsilon, with_noise, with_rounding
from unlearnlib.objective import Objective
from unlearnlib.progress import bar
from unlearnlib.unlearn import unlearn

SIGMAS = (0.0, 1e-3, 1e-2, 3e-2, 1e-1, 3e-1)
EPOCHS = 100  # until the canaries' labels are known by heart


@dataclass(frozen=True)
class Sizes:
    """How big the audits are.

    images       n, trained on in both worlds under their own labels
    epochs       of all training here
    canaries     r, of which a random half is trained on
    mislabelled  m, the request that shadow models forget
    models       K, shadow models a world
    """

    images: int
    epochs: int
    canaries: int
    mislabelled: int
    models: int


def sizes(d: Experiment) -> Sizes:
    """Sizes by the training images there are: ten minutes on one core for 60,000 at most.

    At 4,000, 10 + 10 shadow models on 666 images and 200 canaries; at 60,000, 32 + 32 on 4,000 and
    1,000.
    """
    n = d.F.n
    images = min(4000, n // 6)
    return Sizes(
        images=images,
        epochs=EPOCHS,
        canaries=min(1000, n // 20),
        mislabelled=max(4, images // 100),
        models=min(32, max(8, n // 400)),
    )


@dataclass(frozen=True)
class Canaries:
    """One run for `canary_audit`: a random half of the canaries is trained on, then forgotten.

    F         the objective on n images and then r canaries, all of them
    chosen    (r,) booleans, the coins: whether a canary is trained on; they decide nothing else
    asked     F's canaries alone, which the guesses are about
    models    (p,) each: "trained" on the n images and the chosen canaries, "unlearned" from it by
              the Newton estimate (no noise), "retrained" on the n images from the same start

    A canary is an image under a label drawn at random from all classes, its own included.
    """

    d: Experiment
    size: Sizes

    @cached_property
    def F(self) -> Objective:
        g = generator("canary labels", self.d.seed)
        classes = len(self.d.images.classes)
        return _with_planted(
            self.d, self.size.images, self.size.canaries,
            lambda y: torch.randint(classes, y.shape, generator=g),
        )  # fmt: skip

    @cached_property
    def chosen(self) -> Tensor:
        return torch.rand(self.size.canaries, generator=generator("coins", self.d.seed)) < 0.5

    @property
    def asked(self) -> Objective:
        return self.F.only(range(self.size.images, self.F.n))

    @cached_property
    def models(self) -> dict[str, Tensor]:
        size = self.size
        key = {"images": size.images, "canaries": size.canaries, "epochs": size.epochs}
        return _kept("canaries", self.d, key, self._trained)

    def _trained(self) -> dict[str, Tensor]:
        n = self.size.images
        F = self.F.only(torch.cat([torch.arange(n), n + self.chosen.nonzero().squeeze(1)]))
        forget, start = range(n, F.n), F.initial()
        w = self.d.train(F, start, epochs=self.size.epochs).w
        w_r = self.d.train(F.without(forget), start, epochs=self.size.epochs).w
        estimate = _forgotten(self.d, F, w, forget)
        return {"trained": w, "unlearned": estimate, "retrained": w_r}


@dataclass(frozen=True)
class Shadows:
    """Many runs for `shadow_audit`, K of each world; they differ by start and shuffles.

    F         the objective on n images and then the request S: m images under wrong labels
    request   F's m samples of S alone
    models    (K, p) each, row k of all from the same start: "trained" on all of F, "unlearned" from
              it by the Newton estimate (no noise), "retrained" on the n images
    """

    d: Experiment
    size: Sizes

    @cached_property
    def F(self) -> Objective:
        g = generator("wrong labels", self.d.seed)
        classes = len(self.d.images.classes)
        return _with_planted(
            self.d, self.size.images, self.size.mislabelled,
            lambda y: (y + torch.randint(1, classes, y.shape, generator=g)) % classes,
        )  # fmt: skip

    @property
    def request(self) -> Objective:
        return self.F.only(range(self.size.images, self.F.n))

    @cached_property
    def models(self) -> dict[str, Tensor]:
        key = asdict(self.size)
        del key["canaries"]
        return _kept("shadows", self.d, key, self._trained)

    def _trained(self) -> dict[str, Tensor]:
        forget = range(self.size.images, self.F.n)
        starts = torch.stack([self._start(k) for k in range(self.size.models)])
        w = self.d.train(self.F, starts, epochs=self.size.epochs).w
        w_r = self.d.train(self.F.without(forget), starts, epochs=self.size.epochs).w
        each = bar(w, "shadow models that forget")
        estimates = torch.stack([_forgotten(self.d, self.F, one, forget) for one in each])
        return {"trained": w, "unlearned": estimates, "retrained": w_r}

    def _start(self, k: int) -> Tensor:
        pair = self.d.pair
        net = models.build(
            pair.model,
            in_shape=self.d.images.shape,
            classes=len(self.d.images.classes),
            width=pair.width,
            norm=pair.norm,
            activation=pair.activation,
            seed=seed_of(f"shadow model {k}", self.d.seed),
        )
        return parameters_to_vector(net.parameters()).detach()


def canary_rows(d: Experiment, size: Sizes, sigmas: Sequence[float] = SIGMAS) -> list[dict]:
    """By model and sigma: one run, guessed at from the model with that noise.

    "trained" is released as it is: the ball claims for it what it claims for "unlearned".
    "retrained" is exact unlearning, epsilon 0. By chance alone a row of it shows b > 0 or more with
    probability 0.05 e^-b at most, so that k rows all stay below ln k in 95 of 100 repetitions.
    """
    run, rows = Canaries(d, size), []
    for name in ("trained", "unlearned", "retrained"):
        w = run.models[name]
        away = distance(w, run.models["retrained"])
        for sigma in sigmas:
            found = guessed(run.asked, _noisy(d, w, sigma, "canary noise"), run.chosen)
            rows.append(_row(d, "canaries", name, sigma, away, found))
    return rows


def shadow_rows(d: Experiment, size: Sizes, sigmas: Sequence[float] = SIGMAS) -> list[dict]:
    """By model and sigma: K models with the request against K without, told apart by its loss.

    `realised` is that of the pair, out of K with a start in common, that is furthest apart: the two
    mixtures over these K starts are no easier to tell apart.
    """
    runs, rows = Shadows(d, size), []
    never = runs.models["retrained"]
    for name in ("trained", "unlearned"):
        away = max(map(distance, runs.models[name], never))
        for sigma in sigmas:
            worlds = {"with": runs.models[name], "without": never}
            scores = (_scores(runs, ws, sigma, world) for world, ws in worlds.items())
            found = audit.shadow_audit(*scores, delta=DELTA)
            rows.append(_row(d, "shadow models", name, sigma, away, found))
    return rows


def _scores(runs: Shadows, ws: Tensor, sigma: float, world: str) -> list[float]:
    """How sure each noisy model is of the request's wrong labels: minus its mean loss on them."""
    noisy = _noisy(runs.d, ws, sigma, f"noise {world}")
    return [float(confidences(runs.request, w).mean()) for w in noisy]


def guessed(asked: Objective, w: Tensor, coins: Tensor) -> audit.Audit:
    """The audit of w by the canaries of `asked`: which half was it, the coins say, that it saw?"""
    guesses = audit.guesses(confidences(asked, w)[:, 0])
    return audit.canary_audit(int((guesses == coins.numpy()).sum()), len(coins), delta=DELTA)


def _row(
    d: Experiment, kind: str, name: str, sigma: float, away: float, found: audit.Audit
) -> dict:
    claimed = 0.0 if name == "retrained" else _claimed(d, sigma)
    # the retrained model is no release: what its audit finds is chance
    said = "" if name == "retrained" else audit.confront(
        claimed, found, holds=PROVED, rests_on=THE_BALL
    )  # fmt: skip
    return {
        "audit": kind,
        "seed": d.seed,
        "model": name,
        "sigma": sigma,
        "distance": away,
        "claimed": claimed,
        "outcome": said,
        "realised": audit.realised_epsilon(away, sigma, DELTA),
        "audited": found.bound,
        "ceiling": found.ceiling,
        "level": found.level,
        **found.counts,
    }


def _claimed(d: Experiment, sigma: float) -> float:
    """What the ball alone certifies, with or without an update."""
    hidden = with_rounding(trivial_bound(d.pair.C))
    return gaussian_epsilon(hidden, sigma, DELTA) if sigma else math.inf


def _noisy(d: Experiment, w: Tensor, sigma: float, purpose: str) -> Tensor:
    """w as released: the same draw for each sigma."""
    return with_noise(w, sigma, seed_of(purpose, d.seed))


def _forgotten(d: Experiment, F: Objective, w: Tensor, forget: range) -> Tensor:
    """The estimate inside the package's release, which no sigma changes: any will do here."""
    terms = {"C": d.pair.C, "lam": d.pair.lam, "delta": DELTA, "sigma": 1.0}
    return unlearn(F, w, forget, **terms, seed=seed_of("unused noise", d.seed)).estimate


def _with_planted(
    d: Experiment, images: int, count: int, relabel: Callable[[Tensor], Tensor]
) -> Objective:
    """The objective on so many of d's training images, then `count` others under new labels."""
    require(
        images + count <= d.F.n,
        f"{images} images and {count} to plant are more than the {d.F.n} training images there "
        "are; ask for fewer, as sizes(d) does.",
    )
    order = torch.randperm(d.F.n, generator=generator("audited images", d.seed))[: images + count]
    y = d.F.y[order]
    y[images:] = relabel(y[images:])
    return Objective(d.F.model, d.F.x[order], y, weight_decay=d.pair.weight_decay)


def _kept(
    kind: str, d: Experiment, key: dict, make: Callable[[], dict[str, Tensor]]
) -> dict[str, Tensor]:
    """What was trained, made once; the audits themselves take a moment and are not kept."""
    whole = {**d.identity, "lam": d.pair.lam, **key}
    return load_or_make(kind, whole, lambda: (make(), {})).tensors
