"""Keep a training after each epoch, so that one that was interrupted goes on as if it had not been.

    class Folder:                                    # anything with these two methods
        def save(self, tensors, info): ...           # named tensors, and a dict of JSON values
        def load(self): ...                          # return both, or None if there is nothing
    projected_sgd(F, w0, epochs=50, lr=1e-3, checkpoint=Folder())

The lab's own is `lab.store.Unfinished`.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Generator, Tensor
from torch.optim import Optimizer

from .errors import require
from .trainees import Single, Stacked


class Checkpoint(Protocol):
    """A place for one training on its way; `load` returns what `save` was given last, or None.

    `save` is given the tensors that training goes on with: write them, or keep copies.
    """

    def save(self, tensors: dict[str, Tensor], info: dict) -> None: ...
    def load(self) -> tuple[dict[str, Tensor], dict] | None: ...


class State:
    """All that decides how a training goes on: weights, buffers, the rule's memory, the draws.

    history, seconds    of the epochs that are done
    """

    def __init__(self, model: Single | Stacked, rule: Optimizer, generator: Generator | None):
        self.model, self.rule = model, rule
        self.generator = torch.default_generator if generator is None else generator
        self.history: list[dict] = []
        self.seconds = 0.0

    def save(self, checkpoint: Checkpoint) -> None:
        memory = {k: q for k, q in self.rule.state[self.model.w].items() if q is not None}
        tensors = {"w": self.model.w, "draws": self.generator.get_state()}
        tensors |= {f"rule.{name}": tensor for name, tensor in memory.items()}
        tensors |= {f"buffer.{name}": tensor for name, tensor in self.model.buffers().items()}
        checkpoint.save(tensors, {"history": self.history, "seconds": self.seconds})

    def resume(self, checkpoint: Checkpoint) -> None:
        """Go on from what was saved last; from the start if there is nothing."""
        kept = checkpoint.load()
        if kept is None:
            return
        tensors, info = kept
        w = self.model.w
        given, wanted = (f"{q.dtype} of shape {tuple(q.shape)}" for q in (tensors["w"], w))
        remedy = "it is another training's: remove it, or give each training its own."
        require(given == wanted, f"The checkpoint holds {given} and w0 is {wanted}; {remedy}")
        w.copy_(tensors["w"])
        self.generator.set_state(tensors["draws"].cpu())
        memory = {name: q.clone() for name, q in _part(tensors, "rule.").items()}
        # torch moves what it remembers to the device of w, and leaves Adam's count on the CPU
        self.rule.load_state_dict(self.rule.state_dict() | {"state": {0: memory}})
        self.model.take_buffers(_part(tensors, "buffer."))
        self.history, self.seconds = [*info["history"]], info["seconds"]


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): q for k, q in tensors.items() if k.startswith(prefix)}
