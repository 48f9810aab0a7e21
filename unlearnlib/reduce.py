"""The hook by which several processes share one objective; a single process is the default.

    F = Objective(model, x, y, reduce=ranks)          ranks: see lab/distributed.py

All processes hold the same samples and make the same calls in the same order. What an objective
sums over samples, each sums over its share; `reduce` adds the shares up, so that all go on from the
same numbers. Chains of LiSSA are shared in the same way.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from .errors import require


class Alone:
    """One process. What stands in for it must have the same attribute and methods."""

    size = 1

    def share(self, items: range) -> range:
        """The part of `items` that is this process's work: adjacent, disjoint, all of them."""
        return items

    def __call__(self, part: Tensor) -> Tensor:
        """The sum of all processes' `part`, the same bits in each."""
        return part

    def agree(self, value: Tensor) -> Tensor:
        """The first process's `value`, in all: for what is drawn from a secret source."""
        return value


ALONE = Alone()


def require_same(reduce: Alone, device: torch.device, **held: Tensor) -> None:
    """Refuse to go on, in every process, unless all hold the same bits in each of `held`."""
    if reduce.size == 1:
        return
    for name, value in held.items():
        bits = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        digest = torch.frombuffer(bytearray(hashlib.sha256(bits).digest()), dtype=torch.uint8)
        numbers = digest.long().to(device)
        total, squares = reduce(torch.stack([numbers, numbers**2]))
        require(
            bool((reduce.size * squares == total**2).all()),
            f"The {reduce.size} processes hold different values of {name}; give all of them the "
            "same, with indices in one order: a set of strings has another in each process.",
        )
