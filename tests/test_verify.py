"""A second opinion: true cards confirmed, each false line refuted, rounding bounded."""

import ast
import math
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import unlearnlib as ul
from unlearnlib import by_hand
from unlearnlib.lab.convex_network import ConvexNetwork, strong_convexity
from unlearnlib.verify import Line, Verification, at_most, noise_size, profile

N, INPUTS, CLASSES, DECAY, G = 60, 4, 3, 0.1, 1e-3
FORGET = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]
BUDGET = {"delta": 1e-5, "epsilon": 1.0}


# ---- two models, each with what is proved of it -------------------------------------------------


def unit_rows(vectors, n=N, seed=2):
    x = vectors(n, INPUTS, seed=seed)
    return 0.999999 * x / x.norm(dim=1, keepdim=True)


def softmax_case(vectors, rng, decay=DECAY):
    F = ul.Objective(
        nn.Linear(INPUTS, CLASSES, bias=False).double(), unit_rows(vectors),
        torch.randint(CLASSES, (N,), generator=rng(1)), weight_decay=decay,
    )  # fmt: skip
    known = dict(lam_min=decay, L=0.5 + decay, M=math.sqrt(2 / 27), sample_gradient=math.sqrt(2))
    return F, known


def tanh_case(vectors, rng):
    net = ConvexNetwork(INPUTS, CLASSES, width=6, strength=20.0, scale=1.0, seed=3).double()
    decay = 2 * net.curvature
    F = ul.Objective(
        net, unit_rows(vectors), torch.randint(CLASSES, (N,), generator=rng(1)), weight_decay=decay
    )
    known = dict(lam_min=strong_convexity(F), L=net.gradient_lipschitz(decay),
                 M=net.hessian_lipschitz(), sample_gradient=net.sample_gradient())  # fmt: skip
    return F, known


CASES = {"softmax": softmax_case, "tanh": tanh_case}


def claims(known, G=G, **changes):
    values = known | changes
    return ul.Constants(**{k: ul.proved(v, "") for k, v in values.items()}, G=ul.chosen(G))


def trained(F, G=G, forget=FORGET):
    """A w with a gradient just below G, whose gradient on what is retained is above it."""
    best = ul.refine(F, F.initial(), gradient=1e-11 * max(1.0, F.weight_decay)).w
    away = F.without(forget).gradient(best)
    low, high = 0.0, 10.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if F.gradient(best + middle * away).norm() < G else (low, middle)
    return best + low * away


def released(F, w, known, forget=FORGET, G=G, seed=0, **changes):
    constants = claims(known, G, **changes)
    return ul.unlearn_strongly_convex(F, w, forget, constants=constants, seed=seed, **BUDGET)


def in_ball(F, w, known, C=8.0, lam=0.0, G=1e-6, tol=1e-9, **changes):
    return ul.unlearn(
        F, w, FORGET, C=C, lam=lam, tol=tol, constants=claims(known, G, **changes), seed=0,
        **BUDGET,
    )  # fmt: skip


@pytest.fixture(params=CASES)
def case(request, vectors, rng):
    """(F, w, what is proved), for each model."""
    F, known = CASES[request.param](vectors, rng)
    return F, trained(F), known


@pytest.fixture
def softmax(vectors, rng):
    F, known = softmax_case(vectors, rng)
    return F, trained(F), known


@pytest.fixture
def newton(vectors, rng):
    """Softmax regression in a ball, by Theorem 3.4: (F, w, what is proved, release)."""
    F, known = softmax_case(vectors, rng, decay=1.0)
    w = trained(F, 1e-6)
    return F, w, known, in_ball(F, w, known, C=0.5)


def refuted(verification):
    return [line.name for line in verification.refuted]


def line(verification, name):
    (found,) = (line for line in verification.lines if line.name == name)
    return found


def edited(release, **changes):
    return replace(release, certificate=replace(release.certificate, **changes))


# ---- true cards ---------------------------------------------------------------------------------

UNSEEN = {"origin of the noise", "the other world"}


def assert_confirmed(opinion):
    left = {line.name for line in opinion.lines if line.verdict != "confirmed"}
    assert opinion.confirmed and left <= UNSEEN, opinion
    assert not any(line.needed for line in opinion.lines if line.name in left)


def test_a_true_card_is_confirmed_on_every_line(case):
    F, w, known = case
    release = released(F, w, known)
    assert release.certificate.holds == "proved"
    opinion = ul.verify(F, w, FORGET, release)
    assert_confirmed(opinion)
    names = {line.name for line in opinion.lines}
    assert len(names) == len(opinion.lines) and names == {
        "holds", "samples", "model", "M", "L", "lam_min", "||grad F(w)||", "Delta", "delta",
        "||grad F_r(estimate)||", "doing nothing", "size of the noise", "weights", "weight decay",
        "||x||", "sample_gradient", *UNSEEN,
    }  # fmt: skip


def test_a_newton_step_in_a_ball_is_confirmed(newton):
    F, w, _, release = newton
    card = release.certificate
    assert card.holds == "proved" and card.sensitivity.value < 2 * card.C
    opinion = ul.verify(F, w, FORGET, release)
    assert_confirmed(opinion)
    assert {"||w||", "||estimate||", "below 2C"} <= {line.name for line in opinion.lines}


def test_the_ball_alone_is_confirmed_for_any_model(mlp):
    F = mlp.objective()
    forget = [0, 1]
    release = ul.unlearn(F, mlp.w / 10, forget, C=9.0, lam=5.0, seed=0, **BUDGET)
    opinion = ul.verify(F, mlp.w / 10, forget, release)
    assert opinion.confirmed and line(opinion, "model").verdict == "not covered"
    assert refuted(ul.verify(F, 30 * mlp.w, forget, release)) == ["||w||"]


def test_requests_one_after_the_other_are_confirmed(softmax):
    F, w, known = softmax
    queue = ul.StronglyConvexUnlearner(F, w, constants=claims(known), seed=0, **BUDGET)
    for wanted in (FORGET, [0, 59], [30]):
        now = F.only(queue.kept)
        at, rows = queue.w, torch.searchsorted(queue.kept, torch.tensor(wanted))
        release = queue.forget(wanted)
        assert_confirmed(ul.verify(now, at, rows, release))


def test_w_may_be_left_out(softmax):
    F, w, known = softmax
    opinion = ul.verify(F, None, FORGET, released(F, w, known))
    assert opinion.confirmed and "||grad F(w)||" not in repr(opinion)


def test_a_center_is_part_of_the_gradient(vectors, rng):
    F, known = softmax_case(vectors, rng)
    F = ul.Objective(F.model, F.x, F.y, weight_decay=DECAY, center=vectors(F.p, seed=9))
    w = trained(F)
    release = released(F, w, known)
    assert_confirmed(ul.verify(F, w, FORGET, release))
    F.center = None
    assert "||grad F(w)||" in refuted(ul.verify(F, w, FORGET, release))


# ---- false constants that the package itself signs ----------------------------------------------

FALSE = {"lam_min": 1.001, "L": 0.999, "M": 0.999, "sample_gradient": 0.999}


@pytest.mark.parametrize("name", FALSE)
def test_a_false_constant_is_refuted_alone(case, name):
    F, w, known = case
    release = released(F, w, known, **{name: FALSE[name] * known[name]})
    release = edited(release, holds="proved")  # some are met on the way, and void
    assert refuted(ul.verify(F, w, FORGET, release)) == [name]


@pytest.mark.parametrize("name", FALSE)
def test_a_true_constant_may_be_weaker(case, name):
    F, w, known = case
    release = released(F, w, known, **{name: known[name] / FALSE[name]})
    assert ul.verify(F, w, FORGET, release).confirmed


def test_a_constant_off_by_one_part_in_a_billion_is_refuted(case):
    F, w, known = case
    release = released(
        F, w, known, lam_min=known["lam_min"] * (1 + 1e-9), L=known["L"] * 0.999999999
    )
    assert refuted(ul.verify(F, w, FORGET, release)) == ["L", "lam_min"]


def test_another_decay_than_the_cards_is_refuted(softmax):
    F, w, known = softmax
    release = released(F, ul.refine(F, w, gradient=1e-6).w, known, G=1e-2)
    F.weight_decay *= 0.999
    assert refuted(ul.verify(F, w, FORGET, release)) == ["weight decay", "lam_min"]


def test_another_gain_than_the_cards_is_refuted(vectors, rng):
    F, known = tanh_case(vectors, rng)
    w = trained(F)
    release = released(F, ul.refine(F, w, gradient=1e-6).w, known)
    F.model.gain *= 1.001
    assert {"lam_min", "M", "sample_gradient"} <= set(refuted(ul.verify(F, None, FORGET, release)))


def test_training_that_stopped_early_is_refuted(case):
    F, w, known = case
    size = float(F.gradient(w).norm())
    for G, wrong in ((1.000001 * size, []), (0.999999 * size, ["||grad F(w)||"])):
        assert refuted(ul.verify(F, w, FORGET, released(F, w, known, G=G))) == wrong


# ---- false estimates ----------------------------------------------------------------------------


def test_an_estimate_that_moved_is_refuted(case):
    F, w, known = case
    release, F_r = released(F, w, known), F.without(FORGET)
    direction = F_r.gradient(w) / F_r.gradient(w).norm()
    for share, wrong in ((0.9, []), (1.1, ["||grad F_r(estimate)||"])):
        low, high = 0.0, 1e-1
        for _ in range(60):
            t = (low + high) / 2
            size = F_r.gradient(release.estimate + t * direction).norm()
            low, high = (t, high) if size < share * G else (low, t)
        moved = replace(release, estimate=release.estimate + t * direction,
                        w=release.w + t * direction)  # fmt: skip
        assert refuted(ul.verify(F, w, FORGET, moved)) == wrong


@pytest.mark.parametrize("kept", FORGET[::4])
def test_one_sample_that_was_not_forgotten_is_refuted(case, kept):
    F, w, known = case
    release = released(F, w, known)
    other = released(F, w, known, [i for i in FORGET if i != kept])
    false = replace(release, estimate=other.estimate, w=other.w)
    if F.without(FORGET).gradient(other.estimate).norm() > G:
        assert refuted(ul.verify(F, w, FORGET, false)) == ["||grad F_r(estimate)||"]


def test_nothing_forgotten_is_refuted(case):
    F, w, known = case
    release = released(F, w, known)
    false = replace(release, estimate=w, w=w + release.w - release.estimate)
    assert refuted(ul.verify(F, w, FORGET, false)) == ["||grad F_r(estimate)||"]


def test_a_solvers_word_is_not_taken(newton):
    """Between what proves and what disproves: not covered. Beyond: refuted."""
    F, w, known, release = newton
    card, F_r = release.certificate, F.without(FORGET)
    direction = torch.ones(F.p, dtype=torch.float64) / math.sqrt(F.p)
    Delta, mu, L = card.sensitivity.value, known["lam_min"], known["L"]
    for size, verdict in ((0.9 * mu * Delta, "confirmed"), (1.1 * mu * Delta, "not covered"),
                          (1.2 * L * Delta, "refuted")):  # fmt: skip
        low, high = 0.0, 1.0
        for _ in range(60):
            t = (low + high) / 2
            far = F_r.gradient(release.estimate + t * direction).norm() > size
            low, high = (low, t) if far else (t, high)
        step = t * direction
        moved = replace(release, estimate=release.estimate + step, w=release.w + step)
        opinion = ul.verify(F, w, FORGET, moved)
        assert line(opinion, "||grad F_r(estimate)||").verdict == verdict
        assert opinion.confirmed == (verdict == "confirmed")
        assert refuted(opinion) == ["||grad F_r(estimate)||"] * (verdict == "refuted")


def test_nan_is_never_confirmed(softmax):
    F, w, known = softmax
    release = released(F, w, known)
    lost = replace(release, estimate=release.estimate * math.nan)
    opinion = ul.verify(F, w, FORGET, lost)
    assert {"||grad F_r(estimate)||", "size of the noise"} <= set(refuted(opinion))


# ---- false arithmetic on the card ---------------------------------------------------------------


def scaled(name, factor):
    return lambda card: {name: getattr(card, name) * factor}


def with_delta(factor):
    return lambda card: {
        "sensitivity": replace(card.sensitivity, value=card.sensitivity.value * factor)
    }


def with_known(**changes):
    names = {"n": "samples at the start", "p": "weights", "wd": "weight decay"}
    return lambda card: {"known": card.known | {names[k]: q for k, q in changes.items()}}


def with_forgotten(n_u):
    return lambda card: {"measurements": {"samples forgotten": n_u}}


EDITS = {
    "sigma too small by 1e-9": (scaled("sigma", 1 - 1e-9), ["delta"]),
    "sigma larger": (scaled("sigma", 1.01), []),
    "delta smaller": (scaled("delta", 1 - 1e-6), ["delta"]),
    "delta larger": (scaled("delta", 1.01), []),
    "epsilon smaller": (scaled("epsilon", 1 - 1e-6), ["delta"]),
    "epsilon larger": (scaled("epsilon", 1.01), []),
    "Delta smaller": (with_delta(1 - 1e-9), ["Delta"]),
    "Delta larger": (with_delta(1 + 1e-9), ["delta"]),
    "doing nothing larger": (scaled("doing_nothing", 1 + 1e-9), ["doing nothing"]),
    "doing nothing smaller": (scaled("doing_nothing", 1 - 1e-9), ["doing nothing"]),
    "n larger": (with_known(n=N + 1), ["samples"]),
    "n smaller": (with_known(n=N - 1), ["samples"]),
    "n_u": (with_forgotten(len(FORGET) - 1), ["samples"]),
    "p": (with_known(p=13), ["weights"]),
    "decay": (with_known(wd=0.2), ["weight decay"]),
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_false_number_is_refuted_alone(softmax, newton, edit):
    change, wrong = EDITS[edit]
    F, w, known = softmax
    release = released(F, w, known)
    assert refuted(ul.verify(F, w, FORGET, edited(release, **change(release.certificate)))) == wrong
    F, w, _, release = newton
    assert refuted(ul.verify(F, w, FORGET, edited(release, **change(release.certificate)))) == wrong


@pytest.mark.parametrize("name", ["C", "lam", "tol"])
def test_a_ball_that_is_not_the_cards_is_refuted(newton, name):
    F, w, _, release = newton
    value = getattr(release.certificate, name)
    for larger, wrong in ((value + 1e-6, ["Delta"]), (value, [])):
        assert refuted(ul.verify(F, w, FORGET, edited(release, **{name: larger}))) == wrong


def test_damping_that_lifts_nothing_leaves_the_ball(newton):
    F, w, _, release = newton
    opinion = ul.verify(F, w, FORGET, edited(release, lam=-1.0))
    assert refuted(opinion) == ["Delta"] and line(opinion, "Delta").found == 1.0


def test_what_lies_outside_the_ball_is_refuted(softmax):
    F, w, known = softmax
    C = float(w.norm()) * (1 + 1e-9)
    release = ul.unlearn(F, w, FORGET, C=C, lam=1e3, seed=0, **BUDGET)
    assert ul.verify(F, w, FORGET, release).confirmed
    outside = w * (1 + 1e-8)
    assert refuted(ul.verify(F, outside, FORGET, release)) == ["||w||"]
    noise = release.w - release.estimate
    moved = replace(release, estimate=outside, w=outside + noise)
    assert refuted(ul.verify(F, w, FORGET, moved)) == ["||estimate||"]


def test_below_2c_is_refuted(newton):
    F, w, _, release = newton

    class Boasting(type(release.certificate)):
        def public(self):
            return super().public() | {"below 2C": False}

    card = Boasting(**vars(release.certificate))
    assert refuted(ul.verify(F, w, FORGET, replace(release, certificate=card))) == ["below 2C"]


def test_doing_nothing_along_a_sequence_may_hold_the_drift(newton):
    F, w, _, release = newton
    card = release.certificate
    drift = edited(release, doing_nothing=card.doing_nothing + card.sensitivity.value)
    assert ul.verify(F, w, FORGET, drift).confirmed


def test_proved_from_an_assumption_is_refuted(softmax, newton):
    F, w, known = softmax
    release = released(F, w, known)
    for name, wrong in (("lam_min", ["holds"]), ("L", [])):
        constants = replace(release.certificate.constants, **{name: known[name]})
        opinion = ul.verify(F, w, FORGET, edited(release, constants=constants))
        assert refuted(opinion) == wrong
    constants = replace(release.certificate.constants, lam_min=ul.chosen(DECAY))
    assert refuted(ul.verify(F, w, FORGET, edited(release, constants=constants))) == ["holds"]
    F, w, known, release = newton
    for name in ("M", "L", "lam_min"):
        constants = replace(release.certificate.constants, **{name: known[name]})
        opinion = ul.verify(F, w, FORGET, edited(release, constants=constants))
        assert refuted(opinion) == ["holds"]


@pytest.mark.parametrize("holds", ["conditional", "void"])
def test_a_card_that_claims_no_proof_is_not_confirmed(softmax, holds):
    F, w, known = softmax
    opinion = ul.verify(F, w, FORGET, edited(released(F, w, known), holds=holds))
    assert not opinion.confirmed and not opinion.refuted
    assert line(opinion, "holds").verdict == "not covered"


# ---- false inputs, samples and noise ------------------------------------------------------------


@pytest.mark.parametrize("row", [FORGET[0], 0, N - 1])
def test_an_input_longer_than_1_is_refuted(softmax, row):
    F, w, known = softmax
    release = released(F, ul.refine(F, w, gradient=1e-6).w, known, G=1e-2)
    for length, wrong in ((1 + 1e-6, ["||x||"]), (1.0, [])):
        F.x = F.x.clone()
        F.x[row] /= F.x[row].norm() / length
        assert refuted(ul.verify(F, w, FORGET, release)) == wrong


@pytest.mark.parametrize("forget", [[*FORGET[:-1], 2], [*FORGET[:-1], 60], [*FORGET[:-1], -31], [],
                                    range(N)])  # fmt: skip
def test_forgotten_samples_that_are_none_or_all_are_refuted(softmax, forget):
    F, w, known = softmax
    release = edited(released(F, w, known), **with_forgotten(len(forget))(None))
    assert "samples" in refuted(ul.verify(F, w, forget, release))


def test_a_sample_that_is_in_the_data_twice_is_refuted(softmax):
    F, w, known = softmax
    release = released(F, w, known)
    F.rows = torch.tensor([*range(N - 1), 0])
    assert "samples" in refuted(ul.verify(F, w, FORGET, release))


@pytest.mark.parametrize("forget", [torch.tensor(FORGET), np.array(FORGET), set(FORGET),
                                    iter(FORGET)])  # fmt: skip
def test_forgotten_samples_come_in_any_container(softmax, forget):
    F, w, known = softmax
    assert ul.verify(F, w, forget, released(F, w, known)).confirmed


@pytest.mark.parametrize("factor", [0.0, 0.05, 4.0])
def test_noise_of_another_size_is_refuted(softmax, factor):
    F, w, known = softmax
    release = released(F, w, known)
    noise = factor * (release.w - release.estimate)
    false = replace(release, w=release.estimate + noise)
    assert refuted(ul.verify(F, w, FORGET, false)) == ["size of the noise"]


def test_honest_noise_is_not_refuted(vectors):
    """Noise off by a factor is refuted only where its exact chance is below 1e-9 on that side."""

    class Card:
        sigma = 0.5

    for p in (1, 3, 100):
        for k in range(100):
            assert noise_size(Card, 0.5 * vectors(p, seed=k).numpy()).holds
    for p in (3, 100, 2000):
        for z in (0.01, 0.2, 0.5, 0.7, 0.8, 1.2, 1.3, 1.6, 3.0, 20.0):
            ends = (0, p * z / 2) if z < 1 else (p * z / 2, mpmath.inf)
            exact = mpmath.gammainc(mpmath.mpf(p) / 2, *ends, regularized=True)
            assert noise_size(Card, math.sqrt(z) * np.full(p, 0.5)).holds or exact <= 1e-9


def test_what_cannot_be_seen_is_said(softmax):
    F, w, known = softmax
    opinion = ul.verify(F, w, FORGET, released(F, w, known))
    for name in UNSEEN:
        assert line(opinion, name).verdict == "not covered"


# ---- models that no proof covers ----------------------------------------------------------------


class Squared(nn.Linear):
    def forward(self, x):
        return super().forward(x) + 1e-6 * x[:, :1] ** 2


def relu():
    return nn.Sequential(nn.Linear(INPUTS, 5), nn.ReLU(), nn.Linear(5, CLASSES))


def unsigned():
    net = ConvexNetwork(INPUTS, CLASSES, width=4, strength=1.0, scale=1.0, seed=0)
    net.signs[0, 0] = 1.5
    return net


class Frozen(nn.Linear):
    """A part that is not trained has no place in the form."""

    def __init__(self):
        super().__init__(INPUTS, CLASSES, bias=False)
        self.shift = nn.Parameter(torch.zeros(CLASSES), requires_grad=False)

    def forward(self, x):
        return super().forward(x) + self.shift


class Shifted(ConvexNetwork):
    def forward(self, x):
        return super().forward(x) + 1e-6


STRANGE = {
    "frozen": (Frozen, {"public_buffers": ["shift"]}, "neither"),
    "relu": (relu, {}, "neither"),
    "bias": (lambda: nn.Linear(INPUTS, CLASSES), {}, "neither"),
    "not linear": (lambda: Squared(INPUTS, CLASSES, bias=False), {}, "neither"),
    "not signs": (unsigned, {}, "neither"),
    "not that network": (
        lambda: Shifted(INPUTS, CLASSES, width=4, strength=1.0, scale=1.0, seed=0), {},
        "neither",
    ),
    "another loss": (
        lambda: nn.Linear(INPUTS, CLASSES, bias=False),
        {"loss": lambda f, y: nn.functional.cross_entropy(f, y)}, "neither",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STRANGE)
def test_another_model_is_not_covered(name, vectors, rng):
    make, options, why = STRANGE[name]
    y = torch.randint(CLASSES, (N,), generator=rng(1))
    F = ul.Objective(make().double(), unit_rows(vectors), y, weight_decay=5.0, **options)
    w = ul.refine(F, F.initial(), gradient=G).w
    known = dict(lam_min=1.0, L=9.0, M=9.0, sample_gradient=9.0)
    opinion = ul.verify(F, w, FORGET, released(F, w, known))
    assert not opinion.confirmed and not opinion.refuted
    for name in (*known, "model", "||grad F(w)||", "||grad F_r(estimate)||"):
        assert line(opinion, name).verdict == "not covered" and why in line(opinion, name).note
    for name in ("Delta", "delta", "samples", "size of the noise"):
        assert line(opinion, name).verdict == "confirmed"


def test_single_precision_is_not_covered(softmax):
    F, w, known = softmax
    release = released(F, w, known)
    opinion = ul.verify(F.to(torch.float32), w.float(), FORGET, release)
    assert not opinion.confirmed and "float64" in line(opinion, "model").note


# ---- no path is shared --------------------------------------------------------------------------

FILES = ("verify.py", "by_hand.py")
ALLOWED = {"by_hand"}


@pytest.mark.parametrize("file", FILES)
def test_it_imports_nothing_that_it_checks(file):
    text = (Path(ul.__file__).parent / file).read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names = {alias.name for alias in node.names}
            assert not any(
                n.split(".")[0] in ("unlearnlib", "scipy", "dp_accounting") for n in names
            )
        if isinstance(node, ast.ImportFrom) and node.level:
            within = {node.module} if node.module else {alias.name for alias in node.names}
            assert within <= ALLOWED
        elif isinstance(node, ast.ImportFrom):
            assert node.module.split(".")[0] not in ("unlearnlib", "scipy", "dp_accounting")


def test_it_works_while_all_that_it_checks_is_broken(case, newton, monkeypatch):
    F, w, known = case
    release = released(F, w, known)

    def broken(*args, **options):
        raise AssertionError("a path is shared")

    for name in ("gradient", "hvp", "value", "outputs", "outputs_of", "hessian_at", "batch",
                 "batch_loss", "without", "only", "pieces", "indices", "module"):  # fmt: skip
        monkeypatch.setattr(ul.Objective, name, broken)
    for name in ("gaussian_delta", "gaussian_sigma", "gaussian_epsilon", "published",
                 "with_rounding"):  # fmt: skip
        monkeypatch.setattr(ul.noise, name, broken)
    for name in ("newton_bound", "solver_bound", "strong_convexity_bound", "stability_bound"):
        monkeypatch.setattr(ul.bounds, name, broken)
    assert ul.verify(F, w, FORGET, release).confirmed
    F, w, _, release = newton
    assert ul.verify(F, w, FORGET, release).confirmed


# ---- rounding: against exact arithmetic ---------------------------------------------------------


def exactly(a):
    return [[Fraction(float(q)) for q in row] for row in a]


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(-200, 200))
def test_a_product_is_as_right_as_it_says(seed, d, size):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(3, d)) * 10.0 ** rng.integers(-8, 8, size=(3, d))
    w = rng.normal(size=(4, d)) * 10.0 ** rng.integers(-8, 8, size=(4, d)) * 2.0**size
    x[0, 0] = -(x[0, 1:] @ w[0, 1:]) / w[0, 0]  # cancels
    z, dz = by_hand.product(x, w)
    for i, row in enumerate(exactly(x)):
        for j, column in enumerate(exactly(w)):
            exact = sum(a * b for a, b in zip(row, column, strict=True))
            assert abs(Fraction(float(z[i, j])) - exact) <= Fraction(float(dz[i, j]))


def test_a_product_nearly_keeps_twice_the_precision(vectors):
    x, w = vectors(5, 200).numpy(), vectors(3, 200, seed=1).numpy()
    z, dz = by_hand.product(x, w)
    assert (dz < 4 * by_hand.U * np.maximum(np.abs(z), 1)).all()


def mp_softmax_residual(f, y):
    powers = [mpmath.exp(q - max(f)) for q in f]
    r = [q / sum(powers) for q in powers]
    r[y] -= 1
    return mpmath.matrix(r)


def mp_matrix(a):
    return mpmath.matrix(np.asarray(a, dtype=float).tolist())


def mp_gradient(F, w, rows):
    """grad F by 60 digits, written out a third time, sample by sample."""
    shape = F.start.shape
    W, center = mp_matrix(w.reshape(shape)), mp_matrix((F.center + 0 * w).reshape(shape))
    total = 0 * W
    for i in rows:
        x = mp_matrix(F.x[i])
        z = (mp_matrix(F.start) + W) * x
        if F.signs is None:
            s = mp_softmax_residual(list(z), int(F.y[i]))
        else:
            V, h = mp_matrix(F.signs), z.apply(mpmath.tanh)
            back = V.T * mp_softmax_residual(list(F.gain * (V * h)), int(F.y[i]))
            s = mpmath.matrix([F.gain * b * (1 - q**2) for b, q in zip(back, h, strict=True)])
        total += s * x.T
    return total / len(rows) + mpmath.mpf(F.decay) * (W - center)


FORMS = ("softmax", "tanh")


def random_sum(form, seed, reach, n=7, d=5, K=3):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    y, m = rng.integers(K, size=n), 8 if form == "tanh" else K
    center, w = rng.normal(size=(2, m * d))
    if form == "softmax":
        return by_hand.Sum(x, y, 0.25, center, np.zeros((K, d))), reach * w
    signs = rng.choice([-1.0, 1.0], size=(K, m))
    start = 2 * rng.normal(size=(m, d))
    return by_hand.Sum(x, y, 3.0 * reach, center, start, signs, float(reach)), w


def error_of(F, w, rows):
    """(the real error of the gradient by hand, the bound on it, its own length)."""
    gradient, bound = F.gradient(w, np.asarray(rows))
    with mpmath.workdps(60):
        exact = mp_gradient(F, w, rows)
        return mpmath.norm(mp_matrix(gradient) - exact), bound, float(mpmath.norm(exact))


@pytest.mark.parametrize("form", FORMS)
@given(st.integers(0, 2**32 - 1), st.floats(-6, 6))
def test_a_gradient_is_as_right_as_it_says(form, seed, size):
    F, w = random_sum(form, seed, 10.0**size, n=3, d=3)
    error, bound, length = error_of(F, w, range(3))
    assert error <= bound


@pytest.mark.parametrize("form", FORMS)
def test_the_bound_is_of_use(form):
    """Within three orders of the real error, where weights are of order one."""
    pairs = [error_of(*random_sum(form, seed, 1.0), range(7)) for seed in range(20)]
    assert all(error <= bound <= 1e-12 for error, bound, _ in pairs)
    assert max(float(error) / bound for error, bound, _ in pairs) > 1e-3


@pytest.mark.parametrize("form", FORMS)
def test_a_gradient_that_cancels_is_as_right_as_it_says(form):
    """Its center is moved to where decay takes the data's pull away."""
    F, w = random_sum(form, 1, 30.0)
    pull = F.gradient(w, np.arange(7))[0]
    flat = pull.ravel()
    still = replace(F, center=F.center + flat / F.decay)
    error, bound, length = error_of(still, w, range(7))
    assert length < 1e-10 * np.linalg.norm(flat) + 1e-12 and error <= bound


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("chunk", [1, 2, 7])
def test_chunks_change_nothing_but_rounding(form, chunk, monkeypatch):
    F, w = random_sum(form, 3, 2.0)
    monkeypatch.setattr(by_hand, "CHUNK", chunk)
    error, bound, _ = error_of(F, w, [1, 2, 3, 5, 6])
    assert error <= bound


def test_sure_predictions_lose_nothing_to_rounding():
    """Logits of a million, right and wrong: the residual of a right one is 0, of a wrong one 1."""
    z = np.array([[1e6, 0.0, -1e6], [1e6, 0.0, -1e6], [40.0, 0.0, 0.0]])
    y = np.array([0, 2, 0])
    r, dr = by_hand.residual(z, 0 * z, y)
    for row, wrong, logits, label in zip(r, dr, z, y, strict=True):
        with mpmath.workdps(60):
            exact = mp_softmax_residual([mpmath.mpf(q) for q in logits], int(label))
            assert mpmath.norm(mp_matrix(row) - exact) <= wrong
    assert dr[2] < 1e-30 and np.allclose(r[1], [1, 0, -1])


@pytest.mark.parametrize("size", [1e-12, 1e-6, 1e-2])
@pytest.mark.parametrize("far", [0.1, 3.0, 30.0])
def test_wrong_logits_are_in_the_bound_of_a_residual(size, far):
    """Each logit off by `size`, all signs of three: the residual by hand, and by 60 digits."""
    rng = np.random.default_rng(0)
    for y in range(3):
        z = far * rng.normal(size=(1, 3))
        r, dr = by_hand.residual(z, np.full((1, 3), size), np.array([y]))
        f, df = (mpmath.matrix(q.tolist()) for q in (z, np.full((1, 3), size)))
        with mpmath.workdps(60):
            for signs in np.ndindex(2, 2, 2):
                off = [f[k] + (2 * sign - 1) * df[k] for k, sign in enumerate(signs)]
                wrong = mpmath.norm(mp_matrix(r[0]) - mp_softmax_residual(off, y))
                assert wrong <= dr[0]


@pytest.mark.parametrize("gain", [1e3, 1e6])
@pytest.mark.parametrize("start", [0.0, 1e6])
def test_outputs_that_cancel_are_as_right_as_they_say(start, gain):
    """In pairs of neurons, as at the start of training; and in starts far larger than x U0^T."""
    rng = np.random.default_rng(0)
    half, signs = start + rng.normal(size=(6, 2)), rng.choice([-1.0, 1.0], size=(3, 6))
    x, w = np.array([[1.0, -1.0]]) / math.sqrt(2), 1e-2 / gain * rng.normal(size=24)
    start, signs = np.r_[half, half], np.c_[signs, -signs]
    F = by_hand.Sum(x, np.array([1]), 0.0, 0.0, start, signs, gain)
    _, (f, df) = F.outputs(w, x)
    with mpmath.workdps(60):
        weight = mp_matrix(start) + mp_matrix(w.reshape(12, 2))
        exact = gain * (mp_matrix(signs) * (weight * mp_matrix(x[0])).apply(mpmath.tanh))
        for k in range(3):
            assert abs(exact[k] - float(f[0, k])) <= df[0, k] < 1e-13 * gain
    error, bound, _ = error_of(F, w, [0])
    assert error <= bound


def test_a_long_sum_is_as_right_as_it_says(monkeypatch):
    """Thousands of numbers added one by one, each of which is known exactly: residuals of 1/2."""
    monkeypatch.setattr(by_hand, "CHUNK", 1)
    x = np.random.default_rng(0).uniform(1, 2, size=(3000, 1))
    F = by_hand.Sum(x, np.zeros(3000, dtype=int), 0.0, 0.0, np.zeros((2, 1)))
    gradient, bound = F.gradient(np.zeros(2), np.arange(3000))
    exact = sum(map(Fraction, x[:, 0].tolist())) / 6000
    assert abs(Fraction(float(gradient[1, 0])) - exact) <= Fraction(bound)


@pytest.mark.parametrize("function", ["exp", "tanh"])
def test_numpys_functions_are_right_to_four_ulp(function):
    rng = np.random.default_rng(0)
    z = np.concatenate([rng.uniform(-700, 20, 4000), rng.normal(size=4000),
                        10 ** rng.uniform(-12, 0, 2000)])  # fmt: skip
    with mpmath.workdps(40):
        exact = [getattr(mpmath, function)(mpmath.mpf(float(q))) for q in z]
        found = getattr(np, function)(z)
        wrong = (abs((mpmath.mpf(float(a)) - b) / b) for a, b in zip(found, exact, strict=True))
        assert max(wrong) <= by_hand.FOUR_ULP


def test_a_bound_that_reaches_over_the_limit_covers_nothing():
    found = (0.9985, 0.9995, 1.0005, 1.0015)
    verdicts = [at_most("", q, 1.0, wrong=1e-3).verdict for q in found]
    assert verdicts == ["confirmed", "not covered", "not covered", "refuted"]
    assert at_most("", 1.0, 1.0, wrong=math.inf).verdict == "not covered"
    assert at_most("", math.nan, 1.0).verdict == "refuted"
    assert at_most("lam_min", 2.0, 1.0).verdict == "confirmed"
    assert at_most("lam_min", 0.5, 1.0).verdict == "refuted"
    assert at_most("lam_min", -1.0, -2.0).verdict == "confirmed"


# ---- the profile --------------------------------------------------------------------------------


@pytest.mark.parametrize("mu", [1e-12, 1e-3, 0.3, 5.0, 40.0])
@pytest.mark.parametrize("epsilon", [0.0, 1e-9, 1.0, 30.0])
def test_the_profile_is_an_integral(mu, epsilon):
    """delta = integral from 0 to mu of phi(t/2 - epsilon/t) dt, in which nothing cancels."""
    with mpmath.workdps(40):
        mu, epsilon = mpmath.mpf(mu), mpmath.mpf(epsilon)
        spots = [mu * mpmath.mpf(k) / 40 for k in range(41)]
        exact = mpmath.quad(lambda t: mpmath.npdf(t / 2 - epsilon / t) if t else 0, spots)
        found = profile(mu, epsilon)
        assert abs(found - exact) <= 1e-15 * exact + mpmath.mpf(10) ** -300


def test_the_profile_survives_what_float64_does_not():
    with mpmath.workdps(40):
        assert float(profile(mpmath.mpf("1e-15"), mpmath.mpf(0))) == pytest.approx(3.98942280e-16)
        small = profile(mpmath.mpf("1e-70"), mpmath.mpf(0)) * mpmath.mpf("1e70")
        assert float(small) == pytest.approx(1 / math.sqrt(2 * math.pi), rel=1e-15)
        tiny = profile(mpmath.mpf("1e-300"), mpmath.mpf(0)) / mpmath.mpf("1e-300")
        assert float(tiny) == pytest.approx(1 / math.sqrt(2 * math.pi))
        assert profile(mpmath.mpf(200), mpmath.mpf(10000)) > 0


# ---- how it looks -------------------------------------------------------------------------------


def test_a_verification_shows_its_lines(softmax):
    F, w, known = softmax
    true = ul.verify(F, w, FORGET, released(F, w, known))
    false = ul.verify(F, w, FORGET, edited(released(F, w, known), sigma=1e-3))
    assert repr(true).startswith('confirmed: all that "proved" rests on\n')
    assert repr(false).startswith("refuted: delta, size of the noise\n")
    for line in true.lines:
        assert line.name in repr(true) and line.verdict in repr(true)
    assert max(map(len, repr(true).splitlines())) <= 100
    assert "#0072B2" in true._repr_html_() and "#D55E00" in false._repr_html_()


def test_html_is_escaped():
    shown = Verification([Line("<b>", "&", 1.0, None, "<i>")])._repr_html_()
    assert "<b>" not in shown and "<i>" not in shown and "&lt;i&gt;" in shown
    assert shown.count("<tr>") == 3


def test_what_is_missing_is_named():
    lines = [Line("a", "", "", None), Line("b", "", "", None, needed=False)]
    opinion = Verification(lines)
    assert repr(opinion).startswith("not covered: a\n") and not opinion.confirmed
    assert Verification(lines[1:]).confirmed
