"""Differences in training: what is held out, which epoch is kept, and the learning rate.

The released code trains on four fifths of the images and draws the forget set from all of them, so
that about a fifth of it was never trained on; the rest helps to choose the epoch that is kept.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from unlearnlib.evaluation import attacks
from unlearnlib.lab.experiments import Experiment
from unlearnlib.lab.seeds import generator
from unlearnlib.lab.store import load_or_make
from unlearnlib.objective import Objective
from unlearnlib.projected_sgd import projected_sgd

HELD_OUT = 5  # one image in so many
RELEASED_LR = 0.01
SETTINGS = ("C", "epochs", "lr", "momentum", "optimizer", "schedule", "batch_size")


def split(d: Experiment) -> tuple[Tensor, Tensor]:
    """Indices that are trained on, and those held out; drawn without regard to d.forget."""
    order = torch.randperm(d.F.n, generator=generator("released split", d.seed))
    held = d.F.n // HELD_OUT
    return order[held:].sort().values, order[:held].sort().values


def never_trained(d: Experiment) -> float:
    """The share of the forget set that the split leaves out of training."""
    return float(torch.isin(d.forget, split(d)[1]).double().mean())


@dataclass(frozen=True)
class Kept:
    """Training on four fifths: w after the last epoch, and at the least validation loss.

    losses   validation loss (cross-entropy, without decay) after each epoch
    """

    last: Tensor
    best: Tensor
    losses: list[float]


def kept(d: Experiment, *, without_forgotten: bool) -> Kept:
    """Train on the four fifths, or on what d.forget leaves of both parts: the retrained model."""

    def make() -> tuple[dict[str, Tensor], dict]:
        parts = split(d)
        if without_forgotten:
            parts = tuple(part[~torch.isin(part, d.forget)] for part in parts)
        watch = _Least(d.F.only(parts[1]))
        run = projected_sgd(
            d.F.only(parts[0]), d.F.initial(), monitor=watch,
            generator=generator("batches", d.seed),
            **{name: getattr(d.pair, name) for name in SETTINGS},
        )  # fmt: skip
        return {"last": run.w, "best": watch.w}, {"losses": watch.losses}

    key = {**d.identity, "without": d.forget.tolist() if without_forgotten else []}
    found = load_or_make("held out", key, make)
    return Kept(found.tensors["last"], found.tensors["best"], found.info["losses"])


class _Least:
    """A monitor that keeps the w of the epoch with the least validation loss."""

    def __init__(self, F: Objective):
        self.F, self.losses = F, []

    def __call__(self, w: Tensor, buffers: dict[str, Tensor]) -> dict[str, float]:
        loss = -float(attacks.confidences(self.F, w).mean())
        if not self.losses or loss < min(self.losses):
            self.w = w
        self.losses.append(loss)
        return {"validation loss": loss}


def faster(d: Experiment) -> Experiment:
    """The same experiment, trained and retrained at the released default of the learning rate."""
    return replace(d, pair=replace(d.pair, lr=RELEASED_LR))
