"""Many small models that forget, for the standards of the field: U-LiRA, KLoM, the challenge.

    shadows = Shadows(Experiment(pair, seed=0), sizes(n))
    standard_row(shadows, "certified (CG)")

Each of K models is trained on all base images and on one half of a pool, which it then forgets. So
all of them should become what the oracle is: K models trained on the base alone. The halves come in
pairs, one and the other, so that each image of the pool was forgotten by exactly half of the models
and never seen by the others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property, partial

import numpy as np
import torch
from torch import Tensor

from unlearnlib import draws
from unlearnlib.evaluation.attacks import margins
from unlearnlib.evaluation.challenge import final_score, forgetting_quality, per_sample
from unlearnlib.evaluation.klom import klom
from unlearnlib.evaluation.metrics import accuracy
from unlearnlib.evaluation.ulira import u_lira
from unlearnlib.lab.experiments import Experiment
from unlearnlib.lab.seeds import generator, seed_of
from unlearnlib.lab.settings import SIGMA
from unlearnlib.lab.step import NOISE, projected_step, solve_on
from unlearnlib.lab.store import load_or_make
from unlearnlib.noise import with_noise
from unlearnlib.objective import Objective
from unlearnlib.progress import bar

FITTED = 3 / 4  # of the models: U-LiRA's attacker has them, and is scored on the others


@dataclass(frozen=True)
class Sizes:
    """How many images all models keep, how many are in the pool, models, and epochs of training."""

    base: int
    pool: int
    models: int
    epochs: int


def sizes(n: int) -> Sizes:
    """Sizes by the training images there are: at 60,000 two minutes on a core, as KLoM asks for.

    KLoM compares 100 models with 100, so there are 200; at 1,500 images 64, and at 600 16. The pool
    is even, so that it has two halves.
    """
    if n >= 10_000:
        return Sizes(base=1000, pool=400, models=200, epochs=60)
    return Sizes(base=n // 10, pool=2 * (n // 40), models=64 if n >= 1000 else 16, epochs=40)


@dataclass(frozen=True)
class Shadows:
    """The models, K of each kind: (K, p). The oracle's starts and shuffles are its own.

    F          the objective on the base images, then the pool
    forgot     (K, pool) booleans: whether model k was trained on the image, and forgot it
    trained    on the base and on the model's half of the pool
    oracle     on the base alone
    """

    d: Experiment
    size: Sizes

    @cached_property
    def F(self) -> Objective:
        count = self.size.base + self.size.pool
        return self.d.F.only(
            draws.order(self.d.F.n, generator("shadow images", self.d.seed))[:count]
        )

    @property
    def F_base(self) -> Objective:
        return self.F.only(range(self.size.base))

    @property
    def F_pool(self) -> Objective:
        return self.F.only(range(self.size.base, self.F.n))

    @cached_property
    def forgot(self) -> np.ndarray:
        g, half = generator("halves", self.d.seed), self.size.pool // 2
        halves = []
        for _ in range(self.size.models // 2):
            chosen = np.zeros(self.size.pool, dtype=bool)
            chosen[draws.order(self.size.pool, g)[:half].numpy()] = True
            halves += [chosen, ~chosen]
        return np.array(halves)

    @cached_property
    def models(self) -> dict[str, Tensor]:
        key = self.d.identity | asdict(self.size)
        return load_or_make("halves", key, lambda: (self._trained(), {})).tensors

    def _trained(self) -> dict[str, Tensor]:
        starts, others = self.d.shadow_starts(2 * self.size.models).chunk(2)
        base = torch.arange(self.size.base, device="cpu")
        own = [torch.from_numpy(row.nonzero()[0]) + self.size.base for row in self.forgot]
        rows = torch.stack([torch.cat([base, half]) for half in own])
        train = partial(self.d.train, epochs=self.size.epochs)
        shuffles = generator("batches of the oracle", self.d.seed)
        alone = base.expand(len(others), -1)
        oracle = train(self.F, others, rows=alone, generator=shuffles).w
        return {"trained": train(self.F, starts, rows=rows).w, "oracle": oracle}

    @cached_property
    def certified(self) -> Tensor:
        """The paper's release of each model: the projected step, with the released code's noise."""
        each = bar(range(self.size.models), "models that forget")
        return torch.stack([self._released(k) for k in each])

    def _released(self, k: int) -> Tensor:
        w, forgot = self.models["trained"][k], self.forgot[k]
        own = torch.from_numpy(forgot.nonzero()[0]) + self.size.base
        F = self.F.only(torch.cat([torch.arange(self.size.base, device="cpu"), own]))
        forget, pair = range(self.size.base, F.n), self.d.pair
        solver = solve_on(F.without(forget))
        step = projected_step(F, w, forget, C=pair.C, lam=pair.lam, solver=solver)
        return self._with_noise(step, k)

    @cached_property
    def noisy(self) -> Tensor:
        """No way to forget: each model with the noise of the paper's release, without its step."""
        return torch.stack([self._with_noise(w, k) for k, w in enumerate(self.models["trained"])])

    def _with_noise(self, w: Tensor, k: int) -> Tensor:
        return with_noise(w, SIGMA, seed_of(f"noise of shadow {k}", self.d.seed))

    @cached_property
    def fine_tuned(self) -> Tensor:
        """Each model trained on, on the base alone, for a tenth of its epochs."""
        rows = torch.arange(self.size.base, device="cpu").expand(self.size.models, -1)
        epochs = max(1, self.size.epochs // 10)
        return self.d.train(self.F, self.models["trained"], epochs=epochs, rows=rows).w


RELEASED: dict[str, Callable[[Shadows], Tensor]] = {
    "trained": lambda shadows: shadows.models["trained"],
    "retrained": lambda shadows: shadows.models["oracle"],
    "certified (CG)": lambda shadows: shadows.certified,
    "fine-tuning": lambda shadows: shadows.fine_tuned,
    NOISE: lambda shadows: shadows.noisy,
}


def standard_row(shadows: Shadows, method: str) -> dict:
    """What three standards say of a way to forget, one of RELEASED.

    U-LiRA        AUC and TPR at 1% FPR, of an attacker who has three quarters of the models
    KLoM          mean and 95th percentile over images of the pool ("forgotten"), and the mean over
                  base ("retained") and test images: K/2 models against K/2 of the oracle
    challenge     forgetting quality, and the final score; no bound
    """
    ws, oracle = RELEASED[method](shadows), shadows.models["oracle"]
    half = shadows.size.models // 2
    sets = {"retained": shadows.F_base, "test": shadows.d.F_test}
    pool = _margins(shadows.F_pool, ws)
    ours = _of_those_that_forgot(pool, shadows.forgot) if method != "retrained" else pool[:half]
    theirs = _margins(shadows.F_pool, oracle[half:])
    apart = {
        name: klom(_margins(F, ws[:half]), _margins(F, oracle[half:])) for name, F in sets.items()
    }
    forgotten = klom(ours, theirs)
    attack = u_lira(pool, shadows.forgot, range(int(FITTED * len(pool))))
    quality = forgetting_quality(per_sample(ours, theirs), models=half)
    scores, reference = ({name: _accuracy(F, w) for name, F in sets.items()} for w in (ws, oracle))
    return {
        "U-LiRA AUC": attack.auc,
        "TPR at 1% FPR": attack.tpr,
        "KLoM": float(forgotten.mean()),
        "KLoM, 95th percentile": float(np.quantile(forgotten, 0.95)),
        "KLoM, retained": float(apart["retained"].mean()),
        "KLoM, test": float(apart["test"].mean()),
        "challenge F": quality,
        "challenge score": final_score(quality, scores, reference),
        **scores,
    }


def _of_those_that_forgot(margins: np.ndarray, forgot: np.ndarray) -> np.ndarray:
    """(K/2, n): for each image, the margins in the models that forgot it."""
    return np.stack([column[mask] for column, mask in zip(margins.T, forgot.T, strict=True)], 1)


def _margins(F: Objective, ws: Tensor) -> np.ndarray:
    return np.stack([margins(F, w) for w in ws])


def _accuracy(F: Objective, ws: Tensor) -> float:
    return float(np.mean([accuracy(F, w) for w in ws]))
