"""KLoM: how far the margins of unlearned models are from those of retrained ones, per sample.

    each = klom(unlearned, oracle)          # (n,): 0 where the two cannot be told apart
    each.mean(), np.quantile(each, 0.95)

The KL divergence of margins of Georgiev et al., "Attribute-to-Delete" (2024), with the public
data-unlearning-bench's numbers: 100 models on each side, margins z_y - logsumexp(z_others) clipped
to +-100, 20 equal bins over the range of both, and a floor of 1e-5 where the oracle's bin is empty.
With few models two sets of *retrained* ones differ too: report that beside it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ..errors import require
from .audit import finite

BINS, CLIP, FLOOR = 20, 100.0, 1e-5


def klom(unlearned: ArrayLike, oracle: ArrayLike) -> np.ndarray:
    """KL(unlearned || oracle) of each sample's histogram of margins: (n,), in nats.

    unlearned   (N, n) margins of n samples in N unlearned models
    oracle      (M, n) the same in M models that were retrained without the forgotten samples

    Raises InputError for different samples, and for margins that are not finite.
    """
    unlearned, oracle = finite(unlearned, "unlearned", 2), finite(oracle, "oracle", 2)
    require(
        unlearned.shape[1] == oracle.shape[1],
        f"unlearned models have {unlearned.shape[1]} samples, the oracle {oracle.shape[1]}; give "
        "both on the same.",
    )
    both = (np.clip(margins, -CLIP, CLIP).T for margins in (unlearned, oracle))
    return np.array([_divergence(ours, theirs) for ours, theirs in zip(*both, strict=True)])


def _divergence(ours: np.ndarray, theirs: np.ndarray) -> float:
    """KL of two histograms over the joint range; 0 where all margins are the same."""
    least, most = min(ours.min(), theirs.min()), max(ours.max(), theirs.max())
    if least == most:
        return 0.0
    edges = np.linspace(least, most, BINS + 1)
    p, q = (np.histogram(margins, edges)[0] / len(margins) for margins in (ours, theirs))
    held = p > 0
    return float(np.sum(p[held] * np.log(p[held] / np.maximum(q[held], FLOOR))))
