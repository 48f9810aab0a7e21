"""Choose what to forget: images at random, a whole class, or images that resemble each other.

Each function gives indices into d's training images. `in_turn` divides them into a sequence of
requests, and asked(d, indices) is the experiment that was asked to forget them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from .. import draws
from ..errors import require, require_counts
from .experiments import Experiment
from .seeds import generator


@dataclass(frozen=True)
class Asked(Experiment):
    """The same experiment, asked to forget the images that it is given instead of its own draw."""

    wanted: tuple[int, ...] = ()

    @cached_property
    def forget(self) -> Tensor:
        return torch.tensor(sorted(self.wanted), device="cpu")


def asked(d: Experiment, forget: Tensor) -> Asked:
    """The experiment d, asked to forget these images instead of its own draw."""
    return Asked(d.pair, d.seed, d.tuning, tuple(forget.tolist()))


def random_samples(d: Experiment, count: int) -> Tensor:
    """`count` images at random, in the order of d.forget's draw: a larger count adds to it."""
    return draws.order(d.F.n, generator("forget", d.seed))[: _checked(d, count)]


def whole_class(d: Experiment, label: int) -> Tensor:
    """All images of one class."""
    labels = d.images.y_train
    members = (labels == label).nonzero().squeeze(1)
    require(
        len(members) > 0,
        f"no training image has the label {label}; there are {labels.unique().tolist()}.",
    )
    return members


def look_alikes(d: Experiment, count: int) -> Tensor:
    """One image at random and the `count` - 1 nearest to it in pixels, nearest first.

    Not i.i.d.: as when one person's, or one camera's, images are to go.
    """
    x = d.images.train()[0].flatten(1)
    one = random_samples(d, 1)
    return (x - x[one]).square().sum(1).argsort(stable=True)[: _checked(d, count)]


def in_turn(forget: Tensor, requests: int) -> list[Tensor]:
    """Divide the images into this number of requests; their sizes differ by one at most."""
    require_counts(0, requests=requests)
    require(
        1 <= requests <= len(forget),
        f"{len(forget)} images cannot be {requests} requests; ask for 1 to {len(forget)}.",
    )
    return list(forget.tensor_split(requests))


def _checked(d: Experiment, count: int) -> int:
    require_counts(0, count=count)
    require(
        1 <= count < d.F.n, f"{count} of {d.F.n} images would be forgotten; give 1 to {d.F.n - 1}."
    )
    return count
