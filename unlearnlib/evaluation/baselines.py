"""Uncertified methods that forget by further training: fine-tuning, negative gradient, NegGrad+.

Each starts from w, trained on all of F's samples, and returns a new w (p,) inside the ball. The
arguments `training` are those of `projected_sgd`: C, epochs, lr, optimizer, batch_size, generator.
With BatchNorm, recompute the buffers on the retained samples before the result is judged.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..checks import Indices
from ..errors import require
from ..objective import Objective
from ..projected_sgd import projected_sgd
from .view import View


def fine_tune(F: Objective, w: Tensor, forget: Indices, **training) -> Tensor:
    """Train further on the retained samples alone, so that the others may be forgotten."""
    return projected_sgd(F.without(forget), w, **training).w


def negative_gradient(F: Objective, w: Tensor, forget: Indices, **training) -> Tensor:
    """Climb the loss of the forgotten samples: minimise -L(w, D_u) + (wd/2)||w - center||^2.

    The loss has no upper bound, so take only a few small steps. After Golatkar,
    Achille and Soatto (2020), who name it as a baseline.
    """
    F_u = F.only(forget)

    def negated(outputs: Tensor, y: Tensor) -> Tensor:
        return -F.loss(outputs, y)

    return projected_sgd(F_u.with_loss(negated), w, **training).w


def neggrad_plus(F: Objective, w: Tensor, forget: Indices, *, alpha: float, **training) -> Tensor:
    """Minimise alpha L(w, D_r) - (1 - alpha) L(w, D_u) + decay: descend on one, climb on the other.

    alpha in [0, 1]; 1 is fine-tuning. An epoch goes once through the retained samples and takes two
    gradients for each. After Kurmanji, Triantafillou, Hayes and Triantafillou (2023). Raises
    InputError for `until_gradient`: the forgotten samples are drawn, so there is no one gradient.
    """
    require(0 <= alpha <= 1, f"alpha is {alpha}; it is the retained samples' share, in [0, 1].")
    require("until_gradient" not in training, "NegGrad+ has no full gradient; set epochs instead.")
    generator = training.get("generator")
    contrast = Contrast(F.without(forget), F.only(forget), alpha, generator)
    return projected_sgd(contrast, w, **training).w


class Contrast(View):
    """alpha L(w, D_r) - (1 - alpha) L(w, D_u) + decay, a batch at a time.

    A batch of retained samples comes with as many forgotten ones behind it, drawn with replacement;
    BatchNorm sees both as one batch. For training alone: `value` and `gradient` mean nothing here.
    """

    paired = True

    def __init__(
        self, F_r: Objective, F_u: Objective, alpha: float, generator: torch.Generator | None
    ):
        super().__init__(F_r, F_u=F_u, alpha=alpha, generator=generator, loss=self._contrast)

    def batch(self, positions: Tensor | slice) -> tuple[Tensor, Tensor]:
        retained = super().batch(positions)
        forgotten = self.F_u.batch(self.F_u.draw((len(retained[0]),), self.generator))
        return tuple(torch.cat(both) for both in zip(retained, forgotten, strict=True))

    def _contrast(self, outputs: Tensor, y: Tensor) -> Tensor:
        (retained, y_r), (forgotten, y_u) = zip(outputs.chunk(2), y.chunk(2), strict=True)
        L = self.F_u.loss
        return self.alpha * L(retained, y_r) - (1 - self.alpha) * L(forgotten, y_u)
