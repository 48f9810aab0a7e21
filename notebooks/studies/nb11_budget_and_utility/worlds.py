"""The models that an audit of the paper's MLP compares: with the forgotten images, and without.

d = Experiment(profile.mlp_mnist, seed=0)
Canaries(d, sizes(d)).models["trained"]     one run; a random half of the canaries is in it
Shadows(d, sizes(d)).models["trained"]      many runs, all of them with the same request
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property

import torch
from torch import Tensor

from unlearnlib import draws
from unlearnlib.errors import require
from unlearnlib.lab.experiments import Experiment
from unlearnlib.lab.seeds import generator, seed_of
from unlearnlib.lab.settings import DELTA
from unlearnlib.lab.store import load_or_make
from unlearnlib.objective import Objective
from unlearnlib.progress import bar
from unlearnlib.unlearn import unlearn

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

        def any_label(y: Tensor) -> Tensor:
            return draws.integers(classes, y.shape, g).to(y.device)

        return _with_planted(self.d, self.size.images, self.size.canaries, any_label)

    @cached_property
    def chosen(self) -> Tensor:
        return draws.coins(self.size.canaries, generator("coins", self.d.seed))

    @property
    def asked(self) -> Objective:
        return self.F.only(range(self.size.images, self.F.n))

    @cached_property
    def models(self) -> dict[str, Tensor]:
        size = self.size
        key = {"images": size.images, "canaries": size.canaries, "epochs": size.epochs}
        return _stored("canaries", self.d, key, self._trained)

    def _trained(self) -> dict[str, Tensor]:
        n = self.size.images
        planted = n + self.chosen.nonzero().squeeze(1)
        F = self.F.only([*range(n), *planted.tolist()])
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

        def wrong_label(y: Tensor) -> Tensor:
            return (y + 1 + draws.integers(classes - 1, y.shape, g).to(y.device)) % classes

        return _with_planted(self.d, self.size.images, self.size.mislabelled, wrong_label)

    @property
    def request(self) -> Objective:
        return self.F.only(range(self.size.images, self.F.n))

    @cached_property
    def models(self) -> dict[str, Tensor]:
        key = asdict(self.size)
        del key["canaries"]
        return _stored("shadows", self.d, key, self._trained)

    def _trained(self) -> dict[str, Tensor]:
        forget = range(self.size.images, self.F.n)
        starts = self.d.shadow_starts(self.size.models)
        w = self.d.train(self.F, starts, epochs=self.size.epochs).w
        w_r = self.d.train(self.F.without(forget), starts, epochs=self.size.epochs).w
        each = bar(w, "shadow models that forget")
        estimates = torch.stack([_forgotten(self.d, self.F, one, forget) for one in each])
        return {"trained": w, "unlearned": estimates, "retrained": w_r}


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
    order = draws.order(d.F.n, generator("audited images", d.seed))[: images + count]
    y = d.F.y[order]
    y[images:] = relabel(y[images:])
    return Objective(d.F.model, d.F.x[order], y, weight_decay=d.pair.weight_decay)


def _stored(
    kind: str, d: Experiment, key: dict, make: Callable[[], dict[str, Tensor]]
) -> dict[str, Tensor]:
    """What was trained, made once; the audits themselves take a moment and are not kept."""
    whole = {**d.identity, "lam": d.pair.lam, **key}
    return load_or_make(kind, whole, lambda: (make(), {})).tensors
