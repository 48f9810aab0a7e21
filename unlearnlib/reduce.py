"""The hook by which several processes share one objective; a single process is the default.

    F = Objective(model, x, y, reduce=ranks)          ranks: see lab/processes.py

All processes hold the same samples and make the same calls in the same order. What an objective
sums over samples, each sums over its share; `reduce` adds the shares up, so that all go on from the
same numbers. Chains of LiSSA and batches of a training are shared in the same way.
"""

from __future__ import annotations

from torch import Tensor


class Alone:
    """One process. A replacement for it must have the same attribute and methods."""

    size = 1

    def share(self, items: range) -> range:
        """Return this process's part of `items`; the parts are adjacent, disjoint and cover all."""
        return items

    def __call__(self, part: Tensor) -> Tensor:
        """Return the sum of `part` over all processes, the same bits in each."""
        return part

    def agree(self, value: Tensor) -> Tensor:
        """Return the first process's `value` in every process: for draws from a secret source."""
        return value

    def require_same(self, **held: Tensor) -> None:
        """Refuse to go on, in every process, unless all hold the same bits in each of `held`."""


ALONE = Alone()
