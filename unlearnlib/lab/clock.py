"""Measure seconds: the median of a few runs."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch

from .device import device
from .experiments import Experiment


def now() -> float:
    """The seconds on the clock once all work is done: a GPU is handed work and not waited for."""
    if device().type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def seconds_of(job: Callable[[], object], times: int = 3) -> float:
    """Median wall-clock seconds of running `job`, over `times` runs."""
    taken = []
    for _ in range(times):
        started = now()
        job()
        taken.append(now() - started)
    return float(np.median(taken))


def epoch_seconds(d: Experiment, times: int = 3) -> float:
    """Seconds of one epoch of retraining, median of `times`."""
    return seconds_of(lambda: d.train(d.F_r, d.F.initial(), epochs=1), times)
