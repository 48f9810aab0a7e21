"""One call gives a notebook its pair: images, forget set, trained and retrained model.

    digits = Experiment(profile.mlp_mnist, seed=0)
    digits.w, digits.retrained.w        trained on everything, trained without digits.forget

Training happens once; after that the models come from the store.
"""

from __future__ import annotations

import hashlib
import math
import os
import warnings
from dataclasses import asdict, dataclass
from functools import cache, cached_property

import torch
from torch import Tensor

from ..errors import DataError
from ..objective import Objective
from ..projected_sgd import Run, projected_sgd
from . import data, models
from .profiles import Pair
from .store import load_or_make


def generator(purpose: str, seed: int) -> torch.Generator:
    """The random numbers of one purpose ("forget", "batches", "hessian", ...) under one seed.

    Purposes share nothing: a draw that is added in one place moves no other.
    """
    return torch.Generator().manual_seed(seed_of(purpose, seed))


def seed_of(purpose: str, seed: int) -> int:
    """The number that seeds one purpose."""
    digest = hashlib.sha256(f"{purpose}:{seed}".encode()).digest()
    return int.from_bytes(digest[:6], "big")


@dataclass(frozen=True)
class Experiment:
    """A pair of data and model at one seed. Everything else follows and is made when asked for.

    images     the data, or its stand-in where the profile allows one
    title      what figures call the data
    F, F_test  the objective on the training images, and on the test images; with BatchNorm,
               F.with_buffers(run.buffers) is the one that a run belongs to
    forget     indices of the training images to forget, drawn at random: as many as the profile
               says, or one in sixty of a smaller stand-in
    trained    Run on all training images; its w is `w`
    retrained  Run on the retained images from the same start: the reference
    """

    pair: Pair
    seed: int

    @cached_property
    def images(self) -> data.Images:
        return images(self.pair.dataset, self.pair.stand_in, self.pair.train, self.pair.test)

    @property
    def replaced(self) -> bool:
        """Whether the profile's dataset could not be had and its stand-in is here instead."""
        return self.images.name == self.pair.stand_in

    @property
    def title(self) -> str:
        if not self.replaced and self.images.name != "mnistm":
            return self.images.title
        of_the_paper = data.PUBLISHED[self.pair.paper_dataset].title
        return f"{self.images.title}, standing in for {of_the_paper}"

    @cached_property
    def F(self) -> Objective:
        return self._objective(*self.images.train())

    @cached_property
    def F_test(self) -> Objective:
        return self._objective(*self.images.test())

    @cached_property
    def forget(self) -> Tensor:
        count = max(1, self.F.n // 60) if self.replaced else self.pair.forget
        order = torch.randperm(self.F.n, generator=generator("forget", self.seed))
        return order[:count].sort().values

    @cached_property
    def trained(self) -> Run:
        return self._stored("trained", self.F, {})

    @cached_property
    def retrained(self) -> Run:
        return self._stored(
            "retrained", self.F.without(self.forget), {"without": self.forget.tolist()}
        )

    @property
    def w(self) -> Tensor:
        return self.trained.w

    def _objective(self, x: Tensor, y: Tensor) -> Objective:
        """The objective of a fresh model of this seed; sets the threads that suit it."""
        _use_threads(self.pair.model)
        net = models.build(
            self.pair.model,
            in_shape=self.images.shape,
            classes=len(self.images.classes),
            width=self.pair.width,
            norm=self.pair.norm,
            activation=self.pair.activation,
            seed=seed_of("init", self.seed),
        )
        return Objective(net, x, y, weight_decay=self.pair.weight_decay)

    def _stored(self, kind: str, F: Objective, more: dict) -> Run:
        settings = {name: _spelled(value) for name, value in asdict(self.pair).items()}
        for unrelated in ("lam", "forget", "seeds", "name", "stand_in", "paper_dataset"):
            del settings[unrelated]
        key = {"settings": settings, "seed": self.seed, "data": self.images.digest, **more}
        kept = load_or_make(kind, key, lambda: _packed(self._train(F)))
        return _unpacked(kept.tensors, kept.info)

    def _train(self, F: Objective) -> Run:
        chosen = ("C", "epochs", "lr", "momentum", "optimizer", "schedule", "batch_size")
        return projected_sgd(
            F,
            F.initial(),
            **{name: getattr(self.pair, name) for name in chosen},
            generator=generator("batches", self.seed),
        )


def accuracy(F: Objective, w: Tensor) -> float:
    """Share of F's samples that the model at w gets right: micro F1, for one label a sample."""
    with torch.no_grad():
        right = sum(int((F.outputs(w, x).argmax(-1) == y).sum()) for x, y in F.passes())
    return right / F.n


@cache
def images(name: str, stand_in: str, train: int, test: int) -> data.Images:
    """The data of a pair; if it can't be had and a stand-in is allowed, that, with a warning."""
    try:
        found = data.load(name)
    except DataError as problem:
        if not stand_in:
            raise
        warnings.warn(f"{problem} {stand_in} stands in for it.", stacklevel=2)
        found = data.load(stand_in)
        train, test = min(train, len(found.y_train)), min(test, len(found.y_test))
    return found.subset(train, test)


def _use_threads(model: str) -> None:
    """The one owner of the thread count: one for the MLP, where a second only waits."""
    torch.set_num_threads(1 if model == "mlp" else min(2, os.cpu_count() or 1))


def _spelled(value):
    return str(value) if isinstance(value, float) and math.isinf(value) else value


def _packed(run: Run) -> tuple[dict[str, Tensor], dict]:
    buffers = {f"buffer.{name}": tensor for name, tensor in run.buffers.items()}
    return {"w": run.w} | buffers, {"history": run.history, "seconds": run.seconds}


def _unpacked(tensors: dict[str, Tensor], info: dict) -> Run:
    prefix = "buffer."
    buffers = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
    return Run(tensors["w"], buffers, info["history"], None, info["seconds"])
