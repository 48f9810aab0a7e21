"""Differences in training: what is held out, which epoch is kept, and the learning rate.

The released code trains on four fifths of the images and draws the forget set from all of them, so
that about a fifth of it was never trained on; the rest helps to choose the epoch that is kept.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from unlearnlib import draws
from unlearnlib.evaluation import attacks
from unlearnlib.lab.experiments import Experiment
from unlearnlib.lab.seeds import generator
from unlearnlib.lab.step import hessian_sample, projected_step, solve_on
from unlearnlib.lab.store import Unfinished, load_or_train
from unlearnlib.objective import Objective
from unlearnlib.projected_sgd import projected_sgd

from .outcome import Model, Outcome
from .reading import least_refused, published, reading

HELD_OUT = 5  # one image in so many
RELEASED_LR = 0.01
SETTINGS = ("C", "epochs", "lr", "momentum", "optimizer", "schedule", "batch_size")


def split(d: Experiment) -> tuple[Tensor, Tensor]:
    """Indices that are trained on, and those held out; drawn without regard to d.forget."""
    order = draws.order(d.F.n, generator("released split", d.seed))
    held = d.F.n // HELD_OUT
    return order[held:].sort().values, order[:held].sort().values


def never_trained(d: Experiment) -> float:
    """The share of the forget set that the split leaves out of training."""
    return float(torch.isin(d.forget, split(d)[1]).double().mean())


@dataclass(frozen=True)
class HeldOut:
    """Training on four fifths: w after the last epoch, and at the least validation loss.

    losses   validation loss (cross-entropy, without decay) after each epoch
    """

    last: Tensor
    best: Tensor
    losses: list[float]


def trained_on_a_part(d: Experiment, *, without_forgotten: bool) -> HeldOut:
    """Train on the four fifths, or on what d.forget leaves of both parts: the retrained model."""

    def train(unfinished: Unfinished) -> tuple[dict[str, Tensor], dict]:
        parts = split(d)
        if without_forgotten:
            parts = tuple(part[~torch.isin(part, d.forget)] for part in parts)
        watch = _LeastLoss(d.F.only(parts[1]), unfinished)
        run = projected_sgd(
            d.F.only(parts[0]),
            d.F.initial(),
            monitor=watch,
            checkpoint=watch,
            generator=generator("batches", d.seed),
            **{name: getattr(d.pair, name) for name in SETTINGS},
        )
        return {"last": run.w, "best": watch.w}, {"losses": watch.losses}

    key = {**d.identity, "without": d.forget.tolist() if without_forgotten else []}
    stored = load_or_train("held out", key, train)
    return HeldOut(stored.tensors["last"], stored.tensors["best"], stored.info["losses"])


class _LeastLoss:
    """A monitor that keeps the w of the epoch with the least validation loss.

    It is the training's checkpoint too, since after an interruption that w is needed again.
    """

    def __init__(self, F: Objective, unfinished: Unfinished):
        self.F, self.unfinished, self.losses = F, unfinished, []

    def save(self, tensors: dict[str, Tensor], info: dict) -> None:
        self.unfinished.save(tensors | {"least": self.w}, info)

    def load(self) -> tuple[dict[str, Tensor], dict] | None:
        kept = self.unfinished.load()
        if kept is not None:
            self.w = kept[0].pop("least")
            self.losses = [epoch["validation loss"] for epoch in kept[1]["history"]]
        return kept

    def __call__(self, w: Tensor, buffers: dict[str, Tensor]) -> dict[str, float]:
        loss = -float(attacks.confidences(self.F, w).mean())
        if not self.losses or loss < min(self.losses):
            self.w = w
        self.losses.append(loss)
        return {"validation loss": loss}


# ---- the switches --------------------------------------------------------------------------------


def partly_trained(d: Experiment) -> Outcome:
    """Train on four fifths of the images; the forget set is drawn from all of them."""
    return _from_split(d, "last", {"never trained on, share": never_trained(d)})


def early_stopping(d: Experiment) -> Outcome:
    """The same, but keep the epoch that does best on the rest, forgotten images among it."""
    losses = trained_on_a_part(d, without_forgotten=False).losses
    facts = {"epoch kept": losses.index(min(losses)) + 1, "epochs": len(losses)}
    return _from_split(d, "best", facts)


def _from_split(d: Experiment, which: str, facts: dict) -> Outcome:
    """The step from the epoch `which`, "last" or "best", of training on four fifths."""
    runs = [trained_on_a_part(d, without_forgotten=without) for without in (False, True)]
    w, goal = (getattr(run, which) for run in runs)
    F, solver = d.F_trained, solve_on(hessian_sample(d))

    def step(lam: float) -> Tensor:
        return projected_step(F, w, d.forget, C=d.pair.C, lam=lam, solver=solver)

    estimate, lam = least_refused(step, d.pair.lam)
    slope = float(F.without(d.forget).gradient(w).norm())
    facts = {**facts, "gradient before the step": slope, "lam": lam}
    return published(d, estimate, before=Model(w), goal=Model(goal), facts=facts)


def released_rate(d: Experiment) -> Outcome:
    """Train and retrain at the released code's default learning rate, 0.01."""
    return reading(replace(d, pair=replace(d.pair, lr=RELEASED_LR)))
