"""The certificate of a release: (epsilon, delta), what it rests on, and whether it is useful.

It gives two answers instead of one verdict. `holds` is

  proved       every constant behind the sensitivity is proved, or is a G that training enforces
  conditional  some are assumed, or measured in a direction that can err
  void         a condition was seen to fail on the data; such a release must not be published

and `useful` says whether the sensitivity is below what doing nothing gives. The noise is fixed
before the data is seen: sigma is a function of constants alone, the same in both worlds, with and
without the forgotten samples. What is measured on the data can void a certificate, never change
its sigma, and stays in the private part.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, fields, replace

from . import bounds, card, checks
from .errors import require, require_at_least
from .noise import gaussian_epsilon, gaussian_sigma, with_rounding

Known = dict[str, float | str]
PROVED, CONDITIONAL, VOID = "proved", "conditional", "void"
THE_BALL = "the ball alone: both models satisfy ||w|| <= C"
THEOREM_34 = "Theorem 3.4 with G of Proposition 4.1, and the solver's tolerance"
STRONG_CONVEXITY = "strong convexity: (||grad F_r(estimate)|| + G)/mu, both gradients at most G"


@dataclass(frozen=True)
class Constant:
    """A number that a bound rests on: `provenance` is proved, chosen, assumed or measured."""

    value: float
    provenance: str
    note: str = ""


def proved(value: float, why: str) -> Constant:
    """Return a constant that is proved; `why` names the proof."""
    return Constant(float(value), "proved", why)


def chosen(value: float, note: str = "") -> Constant:
    """Return a constant that you chose and enforce: a G that every trained model is below.

    This must hold in both worlds, with and without the forgotten samples.
    `projected_sgd(until_gradient=G)` only reports `run.converged`: to claim this G, refuse a run
    that is not converged. Where the ball may bind for some retained set, no G is enforced.
    """
    return Constant(float(value), "chosen", note)


def assumed(value: float, note: str = "") -> Constant:
    """Return a constant that is assumed: nobody has checked it."""
    return Constant(float(value), "assumed", note)


def measured(value: float, errs: str) -> Constant:
    """Return a constant measured on the data; `errs` says how it can be wrong: "from below"."""
    return Constant(float(value), "measured", f"errs {errs}")


UNKNOWN = Constant(math.inf, "proved", "nothing is claimed")


@dataclass(frozen=True)
class Constants:
    """What is known of the objective, in the ball or everywhere. A plain float counts as assumed.

    M, L             Lipschitz constants of the Hessian and the gradient
    lam_min          lower bound on the Hessian's eigenvalues; -L where nothing better is known
    G                bound on ||grad F_r|| at the retrained model; where the ball binds there, of
                     the full gradient, multiplier included
    sample_gradient  bound on every sample's gradient norm: with lam_min > 0 it tells what doing
                     nothing gives

    The default claims nothing: the sensitivity is then 2C, proved and useless.
    """

    M: Constant | float = UNKNOWN
    L: Constant | float = UNKNOWN
    lam_min: Constant | float | None = None
    G: Constant | float = UNKNOWN
    sample_gradient: Constant | float = UNKNOWN

    def __post_init__(self) -> None:
        if self.lam_min is None:
            L = _constant(self.L)
            lowest = replace(L, value=-L.value, note=f"-L; {L.note}".rstrip("; "))
            object.__setattr__(self, "lam_min", lowest)
        for name, value in self.named().items():
            constant = _constant(value)
            require_at_least(-math.inf if name == "lam_min" else 0, **{name: constant.value})
            object.__setattr__(self, name, constant)

    def named(self) -> dict[str, Constant]:
        """All constants by name."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}

    def used(self) -> dict[str, Constant]:
        """M, L, lam_min and G: those that set the sensitivity in a ball."""
        return {name: q for name, q in self.named().items() if name != "sample_gradient"}

    def behind_convexity(self) -> dict[str, Constant]:
        """lam_min and G: those that set the sensitivity where the objective is strongly convex."""
        return {name: self.named()[name] for name in ("lam_min", "G")}


@dataclass(frozen=True)
class Sensitivity:
    """Delta, fixed before the data is seen, and what it rests on: min(bound, 2C), or 2G/mu."""

    value: float
    bound: float
    source: str
    holds: str


def sensitivity(C: float, lam: float, tol: float, constants: Constants) -> Sensitivity:
    """The distance to hide: the paper's bound, or 2C where that is no larger.

    The bound is Theorem 3.4's with Proposition 4.1's G plus `bounds.solver_bound` at the relative
    residual tol. Any estimate projected to the ball is within 2C of the retrained model, so 2C is
    proved whatever the constants are. Theorem 3.6, the paper's own for LiSSA, is no candidate: it
    never comes below 2C (see `bounds.lissa_bound`).
    """
    checks.radius(C)
    require(C < math.inf, "C is infinite: without a ball there is no certificate; give a finite C.")
    M, L, lam_min, G = (q.value for q in constants.used().values())
    bound = bounds.newton_bound(C, M, lam, lam_min, G)
    bound += bounds.solver_bound(C, lam, lam_min, L, tol, G)
    if not bound < bounds.trivial_bound(C):
        return Sensitivity(bounds.trivial_bound(C), bound, THE_BALL, PROVED)
    return Sensitivity(bound, bound, THEOREM_34, _holds(constants.used()))


def strongly_convex_sensitivity(constants: Constants) -> Sensitivity:
    """2G/mu, the distance to hide where lam_min = mu > 0 everywhere and both gradients are <= G."""
    mu, G = constants.lam_min, constants.G
    both = mu.value > 0 and 0 < G.value < math.inf
    given = f"lam_min = {mu.value:g} and G = {G.value:g}; both must be > 0 and G finite"
    require(both, f"{given}. Where no such lam_min is known, use ul.unlearn.")
    bound = bounds.strong_convexity_bound(G.value, mu.value, G.value)
    return Sensitivity(bound, bound, STRONG_CONVEXITY, _holds(constants.behind_convexity()))


def _holds(behind: dict[str, Constant]) -> str:
    """PROVED if each constant is proved, or is a G that training enforces; else CONDITIONAL."""
    marks = {(name, q.provenance) for name, q in behind.items()} - {("G", "chosen")}
    return PROVED if all(mark == "proved" for _, mark in marks) else CONDITIONAL


def calibrate(
    s: Sensitivity, delta: float, epsilon: float | None, sigma: float | None
) -> tuple[float, float]:
    """(epsilon, sigma) from whichever of the two is given, by the analytic mechanism.

    What is hidden is Delta and the rounding of the sampler; see `noise.published`.
    """
    hidden = with_rounding(s.value)
    one = (epsilon is None) != (sigma is None)
    require(one, f"epsilon is {epsilon} and sigma is {sigma}; give exactly one, the other follows.")
    if sigma is not None:
        return gaussian_epsilon(hidden, sigma, delta), sigma
    return epsilon, gaussian_sigma(hidden, epsilon, delta)


@dataclass(frozen=True, repr=False)
class Certificate:
    """(epsilon, delta) of one release and all that it rests on. Shows as a table.

    C, tol          infinite and None where the sensitivity rests on neither
    noise           how it was drawn: one of the three of `noise.published`
    known           what else both worlds know: the number of samples at the start, the width, what
                    the hyperparameters were tuned on; none of it is protected
    doing_nothing   the distance that would be certified without any update
    reasons         what the data refuted, where `holds` is void; else what weakens it
    measurements    what was measured on the data (private)
    """

    epsilon: float
    delta: float
    sigma: float
    sensitivity: Sensitivity
    C: float
    lam: float
    tol: float | None
    constants: Constants
    holds: str
    noise: str
    doing_nothing: float
    known: Known = field(default_factory=dict)
    reasons: tuple[str, ...] = ()
    measurements: Known = field(default_factory=dict)

    @property
    def useful(self) -> bool:
        """Whether the certified distance is below what doing nothing gives; never where void."""
        return self.holds != VOID and self.sensitivity.value < self.doing_nothing

    def public(self) -> dict:
        """What may be published with the released model; only `holds` depends on the data.

        Publish neither a void certificate nor the release that it belongs to.

        Constants that were measured are named without their values. If one of them set the
        sensitivity, sigma still tells it: fix a round number beforehand instead.
        """
        budget = {"epsilon": self.epsilon, "delta": self.delta, "sigma": self.sigma}
        below = None if self.C == math.inf else self.sensitivity.value < 2 * self.C
        return budget | {
            "sensitivity": self.sensitivity.value,
            "rests on": self.sensitivity.source,
            "holds": self.holds,
            "below 2C": below,
            "noise": self.noise,
            "C": self.C,
            "lam": self.lam,
            "tol": self.tol,
            "constants": {name: _public(q) for name, q in self.constants.named().items()},
            "known to all": dict(self.known),
        }

    def private(self) -> dict:
        """What was measured on the data: only for those who hold the data."""
        named = self.constants.named().items()
        values = {name: q.value for name, q in named if q.provenance == "measured"}
        return {
            "useful": self.useful,
            "doing nothing": self.doing_nothing,
            "reasons": list(self.reasons),
            "measured constants": values,
            "measurements": dict(self.measurements),
        }

    def public_json(self) -> str:
        """The public part as JSON; infinities are the string "inf"."""
        return json.dumps(_finite(self.public()), indent=2, allow_nan=False)

    def private_json(self) -> str:
        """The private part as JSON; never to be published."""
        return json.dumps(_finite(self.private()), indent=2, allow_nan=False)

    def __repr__(self) -> str:
        return card.as_text(self)

    def _repr_html_(self) -> str:
        return card.as_html(self)


def _constant(value: Constant | float) -> Constant:
    return value if isinstance(value, Constant) else assumed(value)


def _public(q: Constant) -> dict:
    value = "withheld" if q.provenance == "measured" else q.value
    return {"value": value, "provenance": q.provenance, "note": q.note}


def _finite(thing):
    if isinstance(thing, dict):
        return {key: _finite(value) for key, value in thing.items()}
    if isinstance(thing, float) and math.isinf(thing):
        return "inf" if thing > 0 else "-inf"
    return thing
