"""How close an unlearned model is to a retrained one, by its answers and by its weights."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from ..errors import require
from ..objective import Objective
from ..precision import widest


def right(F: Objective, w: Tensor) -> Tensor:
    """Which of F's samples the model at w gets right: (n,) booleans."""
    with torch.no_grad():
        return torch.cat([F.outputs(w, x).argmax(-1) == y for x, y in F.passes()])


def accuracy(F: Objective, w: Tensor) -> float:
    """Share of F's samples that the model at w gets right: micro F1, for one label a sample."""
    return int(right(F, w).sum()) / F.n


def tug_of_war(scores: Mapping[str, float], retrained: Mapping[str, float]) -> float:
    """Product over sample sets of 1 - |score - score of the retrained model|; 1 is retraining.

    Sets are the forgotten, the retained and the test samples. After "What makes unlearning hard"
    (Zhao, Kurmanji, Barbulescu, Triantafillou and Triantafillou, 2024). Scores are shares in
    [0, 1]; raises InputError unless both name the same sets.
    """
    require(
        scores.keys() == retrained.keys() and len(scores) > 0,
        f"The scores are on {', '.join(scores) or 'nothing'} and the retrained model's on "
        f"{', '.join(retrained) or 'nothing'}; give both on the same sets of samples.",
    )
    for name, score in {**scores, **{f"retrained {k}": v for k, v in retrained.items()}}.items():
        require(0 <= score <= 1, f"The score on {name} is {score}; it must be a share in [0, 1].")
    return math.prod(1 - abs(scores[name] - retrained[name]) for name in scores)


def distance(w: Tensor, other: Tensor) -> float:
    """||w - other||, in double precision."""
    wide = widest(w.device)
    return float(torch.linalg.vector_norm(w.to(wide) - other.to(wide)))
