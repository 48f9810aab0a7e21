"""How long things take, and what that says at another size: the measurements of notebook 06.

cost = Cost(gradient=.., product=.., whole_gradient=..)    # seconds a sample, measured
cost.speed_up(n=60_000, epochs=50, steps=1000, chains=10, batch_size=10)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..objective import Objective
from .contenders import TUNING_SEED
from .experiments import Experiment
from .profiles import Pair

PLATEAU = 0.005  # validation accuracy that retraining may still miss of its best, half a point


@dataclass(frozen=True)
class Cost:
    """Seconds a sample, as measured on one machine for one model.

    gradient        of a training step, in the batches that training takes
    product         of a LiSSA step: a Hessian product in its small batches
    whole_gradient  of the gradient over all retained samples
    """

    gradient: float
    product: float
    whole_gradient: float

    def retraining(self, n: int, epochs: float) -> float:
        """Seconds to retrain on n samples: epochs n c_gradient."""
        return epochs * n * self.gradient

    def update(self, n: int, steps: int, chains: int, batch_size: int) -> float:
        """Seconds of the update: steps chains batch_size c_product + n c_whole."""
        return steps * chains * batch_size * self.product + n * self.whole_gradient

    def speed_up(self, n: int, epochs: float, steps: int, chains: int, batch_size: int) -> float:
        """Retraining's seconds over the update's. It grows with n towards epochs c_g / c_whole."""
        return self.retraining(n, epochs) / self.update(n, steps, chains, batch_size)


def seconds_of(job: Callable[[], object], times: int = 3) -> float:
    """Median wall-clock seconds of running `job` so many times."""
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        job()
        taken.append(time.perf_counter() - started)
    return float(np.median(taken))


def epoch_seconds(d: Experiment, times: int = 3) -> float:
    """Seconds of one epoch of retraining, median of `times`."""
    return seconds_of(lambda: d.train(d.F_r, d.F.initial(), epochs=1), times)


def epochs_needed(pair: Pair) -> tuple[int, list[float]]:
    """The epochs that retraining needs, and its validation accuracy after each.

    The first whose accuracy is within half a point of the best of the whole run: training on from
    there is not counted against retraining. Read off held-out training images, at the tuning seed.
    """
    history = Experiment(pair, TUNING_SEED, tuning=True).retrained.history
    reached = [epoch["validation"] for epoch in history]
    return plateau(reached), reached


def plateau(accuracies: Sequence[float]) -> int:
    """The number of the first epoch within PLATEAU of the best."""
    near = np.asarray(accuracies) >= max(accuracies) - PLATEAU
    return int(near.argmax()) + 1


def dense_seconds(
    F: Objective, w: Tensor, b: Tensor, sizes: Sequence[int]
) -> tuple[list[float], float]:
    """Seconds to form the dense Hessian on so many samples each, and to solve with the last.

    The solve, by Cholesky, takes the same seconds for any damping and any n; so the one used is
    large enough (Gershgorin) for the Hessian of few samples to be positive definite.
    """
    F.only(range(sizes[0])).hvp(w, torch.ones(64, F.p).to(w))  # the first call pays for set-up
    forming = []
    for n in sizes:
        started = time.perf_counter()
        H = F.only(range(n)).hessian(w)
        forming.append(time.perf_counter() - started)
    started = time.perf_counter()
    H.diagonal().add_(float(H.abs().sum(1).max()))
    torch.cholesky_solve(b[:, None], torch.linalg.cholesky(H))
    return forming, time.perf_counter() - started


def line(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """Slope and offset of the least-squares line."""
    slope, offset = np.polyfit(x, y, 1)
    return float(slope), float(offset)
