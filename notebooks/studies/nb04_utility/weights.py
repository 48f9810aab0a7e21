"""How far from a retrained model each method's weights are, and how far it could be."""

from __future__ import annotations

from torch import Tensor

from unlearnlib.evaluation.metrics import distance
from unlearnlib.lab.contenders import Contender, settled
from unlearnlib.lab.experiments import Experiment
from unlearnlib.lab.methods import METHODS, estimate_by, solve_by_cg
from unlearnlib.lab.step import NOISE

GOALS = {
    "trained": "from trained",
    "retrained": "same seed",
    "elsewhere": "another seed",
    "warm": "warm start",
}


def distance_row(contenders: dict[str, Contender], method: str) -> dict:
    """Distances of one method's weights to the trained model and to three retrained ones."""
    w = contenders[method].w
    lengths = {label: distance(w, contenders[end].w) for end, label in GOALS.items()}
    return lengths | {"norm": float(w.double().norm())}


def reach_row(d: Experiment, lam: float) -> dict:
    """At one damping: length of the noiseless step, and the share of the way that it covers.

    covered   of the way from the trained model to the warm-started retraining: 1 is all of it
    """
    w = estimate_by(solve_by_cg, d, lam)
    return {"step": distance(w, d.w), "covered": covered(d, w)}


def covered(d: Experiment, w: Tensor) -> float:
    """The share of the way from the trained model to the warm-started retraining that w covers."""
    return 1 - distance(w, d.warm.w) / distance(d.w, d.warm.w)


def control_row(d: Experiment) -> dict:
    """The share of that way that is covered by models whose verdict is known.

    again   the warm-started retraining once more, on other shuffles
    """
    noisy = settled(d, METHODS[NOISE]).w
    return {"trained": 0.0, "again": covered(d, d.again.w), NOISE: covered(d, noisy)}


def gradient_row(d: Experiment, model: str) -> dict:
    """||grad F_r|| of one of d's models: "trained", "retrained" or "warm"."""
    run = getattr(d, model)
    slope = d.F_r.with_buffers(run.buffers).gradient(run.w)
    return {"gradient": float(slope.norm())}
