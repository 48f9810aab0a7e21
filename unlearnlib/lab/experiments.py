"""An experiment: images, forget set, trained and retrained models of one pair at one seed.

    digits = Experiment(profile.mlp_mnist, seed=0)
    digits.w, digits.retrained.w        trained on everything, trained without digits.forget

A model is trained once; after that it comes from the store.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property, lru_cache

import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector

from .. import batchnorm, draws
from ..checkpoint import Checkpoint
from ..errors import DataError
from ..evaluation.metrics import accuracy
from ..objective import Objective
from ..projected_sgd import Run, projected_sgd
from . import data, models
from .data import Split
from .device import device, multiplies_bfloat16
from .processes import ranks, use_threads
from .profiles import Pair
from .seeds import generator, seed_of
from .store import load_or_train

# Images of a convolutional network that a pass takes at a time: its activations then stay in the
# processor's cache (a Hessian product of a quarter-width CNN is three times as fast as at 1,024).
CONVOLUTION_PASS = 128

MONITORED = 1000  # test images whose accuracy is shown while a training runs
TRAINING = 2  # the recipe of every trained model: raise it when their numbers change


@dataclass(frozen=True)
class Experiment:
    """A pair of data and model at one seed. All else follows from these, and is made when needed.

    tuning     hold out a fifth of the training images and use them as the test images, so that
               tuning never sees the test set
    images     the data, or its stand-in where the profile allows one
    title      what figures call the data
    n          training images
    F, F_test  the objective on the training images, and on the test images, of a fresh model
    F_trained  F with the buffers that `w` was trained with: the one that `w` belongs to
    forget     indices of the training images to forget, drawn at random: as many as the profile
               says; the same share of a stand-in that has fewer images than were asked for, one
               in sixty where a whole data set was
    F_u, F_r   the objective on the forgotten, and on the retained training images
    trained    Run on all training images; its w is `w`
    retrained  Run on the retained images from the same start: the reference
    elsewhere  Run on the retained images from another seed's start and shuffles: it shows how far
               two equally good references are from each other
    warm       Run on the retained images from `w`, for as many epochs and with a step that decays
               to zero: a warm start, which goes further down the basin around w
    again      the same as warm on other shuffles: how far apart are two retrainings from one start?
    """

    pair: Pair
    seed: int
    tuning: bool = False

    @cached_property
    def images(self) -> data.Images:
        loaded = images(self.pair.dataset, self.pair.stand_in, self.pair.train, self.pair.test)
        return _held_out(loaded) if self.tuning else loaded

    @property
    def replaced(self) -> bool:
        """Whether the stand-in is used because the profile's dataset is not available."""
        return self.images.name == self.pair.stand_in

    @property
    def title(self) -> str:
        if not self.replaced and self.images.name != "mnistm":
            return self.images.title
        of_the_paper = data.PUBLISHED[self.pair.paper_dataset].title
        return f"{self.images.title}, standing in for {of_the_paper}"

    @property
    def n(self) -> int:
        return len(self.images.y_train)

    @cached_property
    def F(self) -> Objective:
        return self._objective("train")

    @cached_property
    def F_test(self) -> Objective:
        return self._objective("test")

    @property
    def F_trained(self) -> Objective:
        return self.F.with_buffers(self.trained.buffers)

    @cached_property
    def forget(self) -> Tensor:
        asked = self.pair.train or 60 * self.pair.forget
        fewer = self.replaced and self.n < asked
        count = max(1, self.pair.forget * self.n // asked) if fewer else self.pair.forget
        order = draws.order(self.n, generator("forget", self.seed))
        return order[:count].sort().values

    @cached_property
    def F_u(self) -> Objective:
        return self.F.only(self.forget)

    @cached_property
    def F_r(self) -> Objective:
        return self.F.without(self.forget)

    @cached_property
    def trained(self) -> Run:
        return self._stored("trained", lambda kept: self.train(self.F, self.F.initial(), kept))

    @cached_property
    def retrained(self) -> Run:
        return self._stored("retrained", lambda kept: self.train(self.F_r, self.F.initial(), kept))

    @cached_property
    def elsewhere(self) -> Run:
        other = self._other

        def train(kept: Checkpoint) -> Run:
            return other.train(other.F.without(self.forget), other.F.initial(), kept)

        return self._stored("elsewhere", train)

    @cached_property
    def warm(self) -> Run:
        return self._stored("warm", self._from_w)

    @cached_property
    def again(self) -> Run:
        shuffles = generator("batches again", self.seed)
        return self._stored("again", lambda kept: self._from_w(kept, generator=shuffles))

    def _from_w(self, kept: Checkpoint, **changed) -> Run:
        return self.train(self.F_r, self.w, kept, schedule="cosine", **changed)

    @property
    def w(self) -> Tensor:
        return self.trained.w

    def published(self, w: Tensor) -> Callable[[Objective], Objective]:
        """Return a function that gives an objective the buffers to publish together with w.

        They are recomputed on the retained images.
        """
        if not batchnorm.layers(self.F.model):
            return lambda F: F
        buffers = batchnorm.recomputed_buffers(self.F_r, w)
        return lambda F: F.with_buffers(buffers)

    def _objective(self, split: str) -> Objective:
        """The objective of a fresh model of this seed; sets the threads that suit it."""
        use_threads(self.pair.model)
        where, convolutional = device(), self.pair.model != "mlp"
        net = self._network("init").to(where)
        x, y = _placed(self.images, split, where, convolutional)
        passes = {"pass_size": CONVOLUTION_PASS} if convolutional else {}
        return Objective(net, x, y, weight_decay=self.pair.weight_decay, reduce=ranks(), **passes)

    def shadow_starts(self, count: int) -> Tensor:
        """Weights (count, p) of fresh networks, for models that are trained side by side."""
        fresh = [self._network(f"shadow model {k}") for k in range(count)]
        flat = [parameters_to_vector(net.parameters()).detach() for net in fresh]
        return torch.stack(flat).to(device())

    def _network(self, purpose: str) -> torch.nn.Module:
        return models.build(
            self.pair.model,
            in_shape=self.images.shape,
            classes=len(self.images.classes),
            width=self.pair.width,
            norm=self.pair.norm,
            activation=self.pair.activation,
            seed=seed_of(purpose, self.seed),
        )

    @cached_property
    def identity(self) -> dict:
        """All that decides the training on all images, as JSON: part of every key in the store."""
        settings = {name: _spelled(value) for name, value in asdict(self.pair).items()}
        unrelated = ("lam", "dampings", "radii", "forget", "seeds")
        for name in (*unrelated, "name", "stand_in", "paper_dataset"):
            del settings[name]
        settings["precision"] = self.precision
        return {
            "settings": settings,
            "seed": self.seed,
            "data": self.images.digest,
            "training": TRAINING,
        }

    def key(self, name: str) -> dict:
        """All that decides the run of this name: its key in the store."""
        key = dict(self.identity)
        if name != "trained":
            key["without"] = self.forget.tolist()
        if name == "elsewhere":
            key["start"] = self._other.seed
        return key

    @property
    def _other(self) -> Experiment:
        return replace(self, seed=self.seed + 1000)

    def _stored(self, name: str, train: Callable[[Checkpoint], Run]) -> Run:
        kept = load_or_train(name, self.key(name), lambda unfinished: _packed(train(unfinished)))
        return _unpacked(kept.tensors, kept.info)

    def train(
        self, F: Objective, start: Tensor, checkpoint: Checkpoint | None = None, **changed
    ) -> Run:
        """Train on F from `start` with the pair's settings, or `changed` ones; not stored."""
        names = ("C", "epochs", "lr", "momentum", "optimizer", "schedule", "batch_size")
        chosen = {name: getattr(self.pair, name) for name in names}
        chosen["generator"] = generator("batches", self.seed)
        return projected_sgd(
            F,
            start,
            **(chosen | changed),
            autocast=torch.bfloat16 if self.precision == "bfloat16" else None,
            monitor=self._accuracy_so_far if start.dim() == 1 else None,
            checkpoint=checkpoint,
        )

    @property
    def precision(self) -> str:
        """What training multiplies in: the pair's precision where the device has it."""
        wanted = self.pair.precision
        return wanted if multiplies_bfloat16(device()) else "float32"

    def _accuracy_so_far(self, w: Tensor, buffers: dict[str, Tensor]) -> dict[str, float]:
        """Accuracy to show beside the progress; nothing is chosen by it unless this is tuning."""
        F = self.F_test.with_buffers(buffers)
        if self.tuning:
            return {"validation": accuracy(F, w)}
        some = draws.order(F.n, generator("monitored", self.seed))[:MONITORED]
        return {"test": accuracy(F.only(some), w)}


@cache
def images(name: str, stand_in: str, train: int, test: int) -> data.Images:
    """Return the data of a pair; if it is not available, its stand-in, with a warning."""
    try:
        loaded = data.load(name)
    except DataError:
        if not stand_in:
            raise
        warnings.warn(
            f"{name} can't be had, and {stand_in} stands in for it; data.load({name!r}) says what "
            "to put where.",
            stacklevel=2,
        )
        loaded = data.load(stand_in)
        train, test = min(train, len(loaded.y_train)), min(test, len(loaded.y_test))
    return loaded.subset(train, test)


@cache
def _held_out(loaded: data.Images) -> data.Images:
    return loaded.validation()


@lru_cache(maxsize=6)  # both splits of three pairs
def _placed(images: data.Images, split: str, where: torch.device, convolutional: bool) -> Split:
    """Normalised images and labels of a split on the device, the same for all experiments on them.

    Half a gigabyte for CIFAR-10. Convolutions read images fastest pixel by pixel.
    """
    x, y = getattr(images, split)()
    if convolutional:
        x = x.to(memory_format=torch.channels_last)
    return x.to(where), y.to(where)


def _spelled(value):
    return str(value) if isinstance(value, float) and math.isinf(value) else value


def _packed(run: Run) -> tuple[dict[str, Tensor], dict]:
    buffers = {f"buffer.{name}": tensor for name, tensor in run.buffers.items()}
    return {"w": run.w} | buffers, {"history": run.history, "seconds": run.seconds}


def _unpacked(tensors: dict[str, Tensor], info: dict) -> Run:
    prefix = "buffer."
    buffers = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
    return Run(tensors["w"], buffers, info["history"], None, info["seconds"])
