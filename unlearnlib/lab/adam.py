"""Training by Adam as one does it every day, with the accuracy after each epoch; certifies nothing.

run = by_adam(F, w, judge, lr=1e-3, epochs=10, generator=g)
[epoch["accuracy"] for epoch in run.history]
"""

from __future__ import annotations

from torch import Generator, Tensor

from ..evaluation.metrics import accuracy
from ..objective import Objective
from ..projected_sgd import Run, projected_sgd

BATCH = 128  # released code default


def by_adam(
    F: Objective, w: Tensor, judge: Objective, *, lr: float, epochs: int, generator: Generator
) -> Run:
    """Train w (p,) on F; each epoch in the history has the "accuracy" on judge's samples."""
    return projected_sgd(
        F,
        w,
        epochs=epochs,
        lr=lr,
        optimizer="adam",
        batch_size=BATCH,
        generator=generator,
        monitor=lambda w, buffers: {"accuracy": accuracy(judge, w)},
    )
