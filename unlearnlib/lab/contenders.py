"""The methods tuned by one rule, and their results, so that they can be compared.

    best = tune(profile.mlp_mnist, METHODS["fine-tuning"])     # on held-out training images, once
    result = contender(d, "fine-tuning", best.setting)         # result.w, result.scores

**The rule.** Each setting of a method's knobs is tried once, on an experiment of its own (seed
1000, a fifth of the training images held out), and the one whose Tug-of-War against retraining is
largest is kept for every seed; retraining's scores are the mean of two, from two starts, since one
alone is noisy. A method has one knob and four settings. The certified ones have a second knob, the
noise, and four times as many settings: the step is the same for all sigmas. The test images play no
part.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from torch import Tensor

from .. import draws
from ..errors import DivergenceError, NegativeCurvatureError, require
from ..evaluation.metrics import right, tug_of_war
from ..progress import bar
from .clock import now
from .experiments import Experiment
from .methods import METHODS, Method, Setting, largest_curvature
from .parallel import train_together
from .profiles import Pair
from .seeds import generator
from .settings import SCORED, TUNING_SEED
from .step import released
from .store import load_or_make

REFERENCES = ("trained", "retrained", "elsewhere", "warm")
RECIPE = 2  # of a stored contender: raise it when its numbers change


@dataclass(frozen=True)
class Contender:
    """The result of a method for a request.

    w         (p,), the model that the method would publish
    right     which of the "forgotten", the "retained" and the "test" images it gets right
    seconds   from request to w, when it was first made; measure again to compare times
    setting   of the method's knobs; () for a reference
    """

    w: Tensor
    right: dict[str, Tensor]
    seconds: float
    setting: Setting

    @property
    def scores(self) -> dict[str, float]:
        """Accuracy (micro F1) on the three sets of images."""
        return {name: int(each.sum()) / len(each) for name, each in self.right.items()}


@dataclass(frozen=True)
class Tuned:
    """The setting chosen, and the trials: each {"setting", "ToW"} or {"setting", "refused"}."""

    setting: Setting
    trials: list[dict]


def contender(d: Experiment, name: str, setting: Setting = ()) -> Contender:
    """Return the result of a method at a setting, or one of REFERENCES; computed once, then stored.

    Raises NegativeCurvatureError or DivergenceError if the method refuses the setting; a refusal
    is stored too.
    """
    key = {**d.identity, "without": d.forget.tolist(), "name": name, "setting": list(setting)}
    kept = load_or_make("methods", key, lambda: _made(d, name, setting), RECIPE)
    if "refused" in kept.info:
        raise REFUSALS[kept.info["refused"]](kept.info["why"])
    # a file hands its tensors back in any order, and a product of scores rounds by their order
    right = {name: kept.tensors[name] for name in sorted(kept.tensors) if name != "w"}
    return Contender(kept.tensors["w"], right, kept.info["seconds"], setting)


REFUSALS = {error.__name__: error for error in (NegativeCurvatureError, DivergenceError)}


def _made(d: Experiment, name: str, setting: Setting) -> tuple[dict[str, Tensor], dict]:
    try:
        w, seconds = _weights(d, name, setting)
    except tuple(REFUSALS.values()) as error:
        return {}, {"refused": type(error).__name__, "why": str(error)}
    return {"w": w} | right_answers(d, w), {"seconds": seconds}


def _weights(d: Experiment, name: str, setting: Setting) -> tuple[Tensor, float]:
    if name in REFERENCES:
        run = getattr(d, name)
        return run.w, run.seconds
    if METHODS[name].noisy and setting[-1] > 0:  # the step is made once for all sigmas
        without_noise = contender(d, name, (*setting[:-1], 0.0))
        return released(d, without_noise.w, setting[-1]), without_noise.seconds
    return timed(d, name, setting)


def timed(d: Experiment, name: str, setting: Setting) -> tuple[Tensor, float]:
    """Run a method: return w and the seconds, without those for LiSSA's scale, made before."""
    largest_curvature(d)
    method, started = METHODS[name], now()
    if method.noisy:
        w = released(d, method.run(d, *setting[:-1]), setting[-1])
    else:
        w = method.run(d, *setting)
    return w, now() - started


def right_answers(d: Experiment, w: Tensor) -> dict[str, Tensor]:
    """Which images w gets right: the forgotten, 1,000 retained ones at most, the test ones."""
    rows = draws.order(d.F_r.n, generator("scored", d.seed))[:SCORED]
    sets = {"forgotten": d.F_u, "retained": d.F_r.only(rows), "test": d.F_test}
    publish = d.published(w)
    return {name: right(publish(F), w) for name, F in sets.items()}


@cache
def tune(pair: Pair, method: Method) -> Tuned:
    """Return the setting with the largest Tug-of-War on held-out images; the mildest of equals.

    Raises NegativeCurvatureError if the method refuses all of them.
    """
    d = Experiment(pair, TUNING_SEED, tuning=True)
    twice = [contender(d, name).scores for name in ("retrained", "elsewhere")]
    reference, trials = {name: (twice[0][name] + twice[1][name]) / 2 for name in twice[0]}, []
    for setting in method.settings(pair):
        try:
            result = {"ToW": tug_of_war(contender(d, method.name, setting).scores, reference)}
        except tuple(REFUSALS.values()) as refusal:
            result = {"refused": str(refusal)}
        trials.append({"setting": setting, **result})
    best = max(trials, key=lambda trial: trial.get("ToW", -1.0))
    require(
        "ToW" in best,
        f"{method.name} refuses all of its settings on {pair.name}, the last time saying: "
        f"{trials[-1].get('refused')} Raise the pair's lam in the profile.",
        NegativeCurvatureError,
    )
    return Tuned(best["setting"], trials)


def settled(d: Experiment, method: Method) -> Contender:
    """The method at its tuned setting, or at the next milder one that it does not refuse."""
    settings = method.settings(d.pair)
    tuned = tune(d.pair, method).setting
    for setting in reversed(settings[1 : settings.index(tuned) + 1]):
        try:
            return contender(d, method.name, setting)
        except tuple(REFUSALS.values()):
            continue
    return contender(d, method.name, settings[0])


def field(pair: Pair, seed: int) -> dict[str, Contender]:
    """All references and tuned methods at one seed, by name."""
    d = Experiment(pair, seed)
    references = {name: contender(d, name) for name in REFERENCES}
    return references | {name: settled(d, method) for name, method in METHODS.items()}


def fields(pair: Pair) -> Iterator[tuple[Experiment, dict[str, Contender]]]:
    """Yield each seed's experiment and its `field`; models are first trained side by side."""
    train_together([Experiment(pair, s) for s in pair.seeds], REFERENCES, f"models of {pair.name}")
    for seed in bar(pair.seeds, f"seeds of {pair.name}"):
        yield Experiment(pair, seed), field(pair, seed)


def whose(d: Experiment, method: str) -> dict:
    """The first columns of a row: pair, seed and method."""
    return {"pair": d.pair.name, "seed": d.seed, "method": method}
