"""The hook by which several processes share one objective; a single process is the default.

    F = Objective(model, x, y, reduce=ranks)          ranks: see lab/processes.py

All processes hold the same samples and make the same calls in the same order. What an objective
sums over samples, each sums over its share; `reduce` adds the shares up, so that all go on from the
same numbers. Chains of LiSSA are shared in the same way.
"""

from __future__ import annotations

from torch import Tensor


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

    def require_same(self, **held: Tensor) -> None:
        """Refuse to go on, in every process, unless all hold the same bits in each of `held`."""


ALONE = Alone()
