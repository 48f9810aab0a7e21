"""The paper and its released code: each difference a named switch, turned on alone.

    switch_row(Experiment(profile.mlp_mnist, seed=0), SWITCHES["public noise"])

The package and the other studies follow the paper's reading and import nothing from here. The
released code is github.com/zhangbinchi/certified-deep-unlearning at commit 912a66c; `where` names
its places.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from unlearnlib.lab.experiments import Experiment
from unlearnlib.lab.profiles import Pair, Profile

from . import noise, scoring, steps, training, unsquared
from .outcome import Outcome
from .reading import original, reading, retrained

MLP, CNN = "mlp_mnist", "allcnn_cifar10"
TWO = 2  # seeds, at most, of what trains models of its own or takes long


@dataclass(frozen=True)
class Switch:
    """One difference: where it is in the released code, what the paper says, what is done instead.

    against   the row that it differs from in this one thing
    pair      the pair of data and model that shows it
    seeds     how many of the pair's seeds, at most; None is all
    """

    name: str
    where: str
    paper: str
    released: str
    run: Callable[[Experiment], Outcome]
    against: str = "paper's reading"
    pair: str = MLP
    seeds: int | None = None

    @property
    def of_the_code(self) -> bool:
        """Whether the released code does it; the classical mechanism is the theorem's own."""
        return ".py" in self.where


@dataclass(frozen=True)
class Reference:
    """A row to compare with."""

    name: str
    run: Callable[[Experiment], Outcome]
    pair: str = MLP
    seeds: int | None = None


def _of_goal(d: Experiment) -> Outcome:
    return Outcome(d, original(d), retrained(d), retrained(d), 0.0)


def _of_another(d: Experiment) -> Outcome:
    other = replace(retrained(d), w=d.elsewhere.w, at=lambda F: F.with_buffers(d.elsewhere.buffers))
    return Outcome(d, original(d), other, retrained(d), 0.0)


REFERENCES = {
    reference.name: reference
    for reference in (
        Reference("paper's reading", reading),
        Reference("retrained", _of_goal),
        Reference("retrained, another seed", _of_another),
        Reference("cheap gradient", steps.cheap),
        Reference("ten requests", noise.ten_requests),
        Reference("BatchNorm, paper's reading", reading, CNN, 1),
        Reference("BatchNorm, retrained", _of_goal, CNN, 1),
        Reference("BatchNorm, another seed", _of_another, CNN, 1),
    )
}
SWITCHES = {
    switch.name: switch
    for switch in (
        Switch(
            "forget set not all trained", "utils.py 46-47, 56-65", "D_u is a part of D",
            "trains on 80%, draws D_u from all", training.partly_trained, seeds=TWO,
        ),
        Switch(
            "early stopping", "train.py 74-76", "w* minimises the loss",
            "keeps the epoch of least validation loss; part of D_u is in the validation set",
            training.early_stopping, "forget set not all trained", seeds=TWO,
        ),
        Switch(
            "learning rate 0.01", "train.py 112", "1e-3", "default 0.01", training.released_rate,
            seeds=TWO,
        ),
        Switch(
            "unsquared norms", "unlearn.py 42-47, 60-65, 118-122", "H + lam I, decay ||w||^2/2",
            "(wd + lam) sum of ||p_k|| over tensors", unsquared.unsquared_norms, seeds=TWO,
        ),
        Switch(
            "LiSSA as released", "unlearn.py 163-166", "steps enough for the condition number",
            "scale 1,000, 1,000 steps, gamma 0.01", steps.lissa_as_released, seeds=1,
        ),
        Switch(
            "batch sums", "unlearn.py 204-211 (commented out)", "mean gradient of D_u",
            "the sum of the batches' means", steps.batch_sums, "cheap gradient",
        ),
        Switch(
            "no projection", "unlearn.py", "estimates in the ball, for Proposition 4.2",
            "releases the estimate wherever it lies", steps.unprojected,
        ),
        Switch(
            "public noise", "unlearn.py 184, utils.py 59", "noise that nobody else knows",
            "torch.manual_seed(0) before the noise", noise.public_noise,
        ),
        Switch(
            "sequence without noise", "sequential_unlearning.py 227-230",
            "noise in each publication", "the noise is never added",
            noise.ten_requests_without_noise, "ten requests",
        ),
        Switch(
            "attack scored where fitted", "attack.py 215-219", "-",
            "fits and scores on the same rows", scoring.attack_where_fitted,
        ),
        Switch(
            "unbalanced attack", "attack.py 213-219", "-",
            "forgotten against all retained images, plain accuracy", scoring.attack_unbalanced,
        ),
        Switch(
            "classical epsilon", "Theorem 2.3 (the code computes no epsilon)",
            "sigma >= Delta sqrt(2 ln(1.25/delta)) / epsilon",
            "proved for epsilon <= 1, used beyond", noise.classical_epsilon,
        ),
        Switch(
            "BatchNorm buffers kept", "unlearn.py 212-214", "the release hides D_u",
            "running statistics go out as they were", scoring.stale_buffers,
            "BatchNorm, paper's reading", CNN, 1,
        ),
        Switch(
            "scored in training mode", "test_unlearn.py, attack.py: no .eval()", "-",
            "batch statistics; scoring overwrites buffers", scoring.training_mode,
            "BatchNorm, paper's reading", CNN, 1,
        ),
    )
}  # fmt: skip


def pairs(profile: Profile) -> dict[str, Pair]:
    """The MLP as the profile has it, and the AllCNN, if it has one, with the paper's BatchNorm."""
    there = {MLP: profile.mlp_mnist}
    if CNN in profile.pairs:
        there[CNN] = replace(profile.allcnn_cifar10, norm="batch")
    return there


def tried(profile: Profile) -> list[Switch]:
    """The switches whose pair the profile has."""
    return [switch for switch in SWITCHES.values() if switch.pair in profile.pairs]


def due(pair: Pair, place: int) -> list[Reference | Switch]:
    """The references and switches that are run on this pair at its seed number `place`, from 0."""
    on_pair = [it for it in (*REFERENCES.values(), *SWITCHES.values()) if it.pair == pair.name]
    return [it for it in on_pair if it.seeds is None or place < it.seeds]


def switch_row(d: Experiment, switch: Reference | Switch) -> dict:
    """Turn one switch on: its name, the seed, the scores in COLUMNS, epsilon and facts.

    epsilon   None where no theorem applies
    """
    return {"switch": switch.name, "pair": switch.pair, "seed": d.seed, **switch.run(d).row()}
