"""A second opinion: true cards confirmed, each false line refuted, rounding bounded."""

import ast
import copy
import math
from dataclasses import replace
from fractions import Fraction
from functools import cache
from pathlib import Path

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import unlearnlib as ul
from unlearnlib import by_hand
from unlearnlib.lab.convex_network import ConvexNetwork, strong_convexity
from unlearnlib.verify import Line, Verification, at_most, noise_size, profile

N, INPUTS, CLASSES, G = 60, 4, 3, 1e-3
FORGET = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]
BUDGET = {"delta": 1e-5, "epsilon": 1.0}
AT_W, AT_ESTIMATE = "||grad F(w)||", "||grad F_r(estimate)||"
UNSEEN = {"origin of the noise", "the other world"}


# ---- two models, each with what is proved of it, and a step in a ball ---------------------------


def data():
    g = torch.Generator().manual_seed(2)
    x = torch.randn(N, INPUTS, generator=g, dtype=torch.float64)
    return x / x.norm(dim=1, keepdim=True), torch.randint(CLASSES, (N,), generator=g)


def softmax_case(decay):
    model = nn.Linear(INPUTS, CLASSES, bias=False).double()
    known = dict(lam_min=decay, L=0.5 + decay, M=math.sqrt(2 / 27), sample_gradient=math.sqrt(2))
    return ul.Objective(model, *data(), weight_decay=decay), known


def tanh_case():
    net = ConvexNetwork(INPUTS, CLASSES, width=6, strength=20.0, scale=1.0, seed=3).double()
    decay = 2 * net.curvature
    F = ul.Objective(net, *data(), weight_decay=decay)
    known = dict(
        lam_min=strong_convexity(F),
        L=net.gradient_lipschitz(decay),
        M=net.hessian_lipschitz(),
        sample_gradient=net.sample_gradient(),
    )
    return F, known


def claims(known, G):
    return ul.Constants(**{k: ul.proved(q, "") for k, q in known.items()}, G=ul.chosen(G))


def trained(F, G):
    """A w with a gradient just below G, whose gradient on what is retained is above it."""
    best = ul.refine(F, F.initial(), gradient=1e-11 * max(1.0, F.weight_decay)).w
    away = F.without(FORGET).gradient(best)
    return best + step(F, best, away, 0.9999 * G) * away


def step(F, w, direction, size):
    """How far along the direction ||grad F|| reaches the size."""
    low, high = 0.0, 10.0
    for _ in range(60):
        t = (low + high) / 2
        low, high = (t, high) if F.gradient(w + t * direction).norm() < size else (low, t)
    return low


def released(F, w, known, G=G, **changes):
    constants = claims(known | changes, G)
    return ul.unlearn_strongly_convex(F, w, FORGET, constants=constants, seed=0, **BUDGET)


@cache
def made(name):
    """F, w, what is proved, and a true release: "softmax", "tanh", or "ball" by Theorem 3.4."""
    if name != "ball":
        F, known = softmax_case(0.1) if name == "softmax" else tanh_case()
        w = trained(F, G)
        return F, w, known, released(F, w, known)
    F, known = softmax_case(1.0)
    w, constants = trained(F, 1e-6), claims(known, 1e-6)
    return (
        F,
        w,
        known,
        ul.unlearn(F, w, FORGET, C=0.5, lam=0.0, tol=1e-9, constants=constants, seed=0, **BUDGET),
    )


@pytest.fixture(params=["softmax", "tanh"])
def case(request):
    """Of either model, to be changed at will."""
    F, *rest = made(request.param)
    return copy.copy(F), *rest


@pytest.fixture
def softmax():
    F, *rest = made("softmax")
    return copy.copy(F), *rest


@pytest.fixture
def ball():
    F, *rest = made("ball")
    return copy.copy(F), *rest


def refuted(*given):
    return [line.name for line in ul.verify(*given).refuted]


def line(opinion, name):
    (found,) = (line for line in opinion.lines if line.name == name)
    return found


def edited(release, **changes):
    return replace(release, certificate=replace(release.certificate, **changes))


def moved(release, step):
    return replace(release, estimate=release.estimate + step, w=release.w + step)


# ---- true cards ---------------------------------------------------------------------------------

LINES = {"holds", "samples", "weights", "weight decay", "model", "||x||", "M", "L", "lam_min",
         "sample_gradient", AT_W, AT_ESTIMATE, "Delta", "doing nothing", "delta",
         "size of the noise", *UNSEEN}  # fmt: skip


@pytest.mark.parametrize("name", ["softmax", "tanh", "ball"])
def test_a_true_card_is_confirmed_on_every_line(name):
    F, w, _, release = made(name)
    opinion = ul.verify(F, w, FORGET, release)
    assert release.certificate.holds == "proved" and opinion.confirmed
    assert {q.name for q in opinion.lines if q.verdict != "confirmed"} == UNSEEN
    extra = {"||w||", "||estimate||", "below 2C"} if name == "ball" else set()
    assert sorted(q.name for q in opinion.lines) == sorted(LINES | extra)
    without_w = ul.verify(F, None, FORGET, release)
    assert without_w.confirmed and AT_W not in repr(without_w)


def test_the_ball_alone_is_confirmed_for_any_model(mlp):
    F, w = mlp.objective(), mlp.w / 10
    release = ul.unlearn(F, w, [0, 1], C=9.0, lam=5.0, seed=0, **BUDGET)
    opinion = ul.verify(F, w, [0, 1], release)
    assert opinion.confirmed and line(opinion, "model").verdict == "not covered"
    assert refuted(F, 300 * w, [0, 1], release) == ["||w||"]
    assert refuted(F, w, [0, 1], moved(release, 300 * w)) == ["||estimate||"]


def test_requests_one_after_the_other_are_confirmed(softmax):
    F, w, known, _ = softmax
    queue = ul.StronglyConvexUnlearner(F, w, constants=claims(known, G), seed=0, **BUDGET)
    for wanted in (FORGET, [0, 59], [30]):
        now, at = F.only(queue.kept), queue.w
        rows = torch.searchsorted(queue.kept, torch.tensor(wanted))
        assert ul.verify(now, at, rows, queue.forget(wanted)).confirmed


def test_a_center_is_part_of_the_gradient(softmax, vectors):
    F, _, known, _ = softmax
    F.center = vectors(F.p, seed=9)
    w = trained(F, G)
    release = released(F, w, known)
    assert ul.verify(F, w, FORGET, release).confirmed
    F.center = None
    assert AT_W in refuted(F, w, FORGET, release)


# ---- false constants, data and estimates --------------------------------------------------------

FALSE = {"lam_min": 1 + 1e-9, "L": 1 - 1e-9, "M": 0.999, "sample_gradient": 0.999}


@pytest.mark.parametrize("name", FALSE)
def test_a_false_constant_is_refuted_alone(case, name):
    F, w, known, _ = case
    release = released(F, w, known, **{name: FALSE[name] * known[name]})
    release = edited(release, holds="proved")  # some are met on the way, and void
    assert refuted(F, w, FORGET, release) == [name]
    weaker = released(F, w, known, **{name: known[name] / FALSE[name]})
    assert refuted(F, w, FORGET, weaker) == []


def test_training_that_stopped_early_is_refuted(case):
    F, w, known, _ = case
    size = float(F.gradient(w).norm())
    for G, wrong in ((1.000001 * size, []), (0.999999 * size, [AT_W])):
        assert refuted(F, w, FORGET, released(F, w, known, G)) == wrong


def test_an_estimate_that_moved_is_refuted(case):
    F, w, _, release = case
    F_r = F.without(FORGET)
    for share, wrong in ((0.9, []), (1.1, [AT_ESTIMATE])):
        t = step(F_r, release.estimate, F_r.gradient(w), share * G)
        assert refuted(F, w, FORGET, moved(release, t * F_r.gradient(w))) == wrong
    nothing_forgotten = moved(release, w - release.estimate)
    assert refuted(F, w, FORGET, nothing_forgotten) == [AT_ESTIMATE]
    assert {AT_ESTIMATE, "size of the noise"} <= {*refuted(F, w, FORGET, moved(release, math.nan))}


def test_a_solvers_word_is_not_taken(ball):
    """Between what proves and what disproves: not covered. Beyond: refuted."""
    F, w, known, release = ball
    Delta, direction = release.certificate.sensitivity.value, torch.ones_like(w)
    sizes = {"confirmed": 0.9 * known["lam_min"], "not covered": 1.1, "refuted": 1.2 * known["L"]}
    for verdict, size in sizes.items():
        t = step(F.without(FORGET), release.estimate, direction, size * Delta)
        opinion = ul.verify(F, w, FORGET, moved(release, t * direction))
        assert line(opinion, AT_ESTIMATE).verdict == verdict
        assert [q.name for q in opinion.refuted] == [AT_ESTIMATE] * (verdict == "refuted")
        assert opinion.confirmed == (verdict == "confirmed")


@pytest.mark.parametrize(("short", "verdict"), [(2.0, "confirmed"), (0.5, "not covered")])
def test_the_retrained_models_own_gradient_counts_in_a_ball(ball, short, verdict):
    """A gradient of lam_min Delta - G proves Delta; half a G more leaves it open."""
    F, w, known, release = ball
    F_r, G, away = F.without(FORGET), 1e-6, torch.ones_like(w)
    limit = known["lam_min"] * release.certificate.sensitivity.value - short * G
    t = step(F_r, release.estimate, away, limit)
    opinion = ul.verify(F, w, FORGET, moved(release, t * away))
    assert line(opinion, AT_ESTIMATE).verdict == verdict


def test_an_input_longer_than_1_is_refuted(softmax):
    F, w, known, _ = softmax
    release = released(F, ul.refine(F, w, gradient=1e-6).w, known, G=1e-2)
    for row in (FORGET[0], 0, N - 1):
        for length, wrong in ((1 + 1e-10, ["||x||"]), (1 + 1e-13, [])):
            F.x = F.x.clone()
            F.x[row] /= F.x[row].norm() / length
            assert refuted(F, w, FORGET, release) == wrong


@pytest.mark.parametrize("forget", [[*FORGET[:-1], 2], [*FORGET[:-1], 60], [], range(N)])
def test_forgotten_samples_that_are_none_or_all_are_refuted(softmax, forget):
    F, w, _, release = softmax
    release = edited(release, measurements={"samples forgotten": len(forget)})
    assert "samples" in refuted(F, w, forget, release)
    F.rows = torch.tensor([*range(N - 1), 0])  # a sample that is in the data twice
    assert "samples" in refuted(F, w, FORGET, made("softmax")[-1])


# ---- false arithmetic on the card, and the noise ------------------------------------------------


def scaled(name, factor):
    return lambda card: {name: getattr(card, name) * factor}


def with_Delta(factor):
    return lambda card: {
        "sensitivity": replace(card.sensitivity, value=card.sensitivity.value * factor)
    }


def with_known(name, value):
    return lambda card: {"known": card.known | {name: value}}


EDITS = {
    "sigma too small by 1e-9": (scaled("sigma", 1 - 1e-9), ["delta"]),
    "sigma larger": (scaled("sigma", 1.01), []),
    "delta smaller": (scaled("delta", 1 - 1e-6), ["delta"]),
    "delta larger": (scaled("delta", 1.01), []),
    "epsilon smaller": (scaled("epsilon", 1 - 1e-6), ["delta"]),
    "Delta smaller": (with_Delta(1 - 1e-9), ["Delta"]),
    "Delta larger": (with_Delta(1 + 1e-9), ["delta"]),
    "doing nothing larger": (scaled("doing_nothing", 1 + 1e-9), ["doing nothing"]),
    "doing nothing smaller": (scaled("doing_nothing", 1 - 1e-9), ["doing nothing"]),
    "more samples": (with_known("samples at the start", N + 1), ["samples"]),
    "fewer samples": (with_known("samples at the start", N - 1), ["samples"]),
    "fewer forgotten": (lambda card: {"measurements": {"samples forgotten": 9}}, ["samples"]),
    "more weights": (with_known("weights", 13), ["weights"]),
    "more decay": (with_known("weight decay", 0.2), ["weight decay"]),
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_false_number_is_refuted_alone(softmax, ball, edit):
    change, wrong = EDITS[edit]
    for F, w, _, release in (softmax, ball):
        assert refuted(F, w, FORGET, edited(release, **change(release.certificate))) == wrong


@pytest.mark.parametrize("name", ["C", "lam", "tol"])
def test_a_ball_that_is_not_the_cards_is_refuted(ball, name):
    F, w, _, release = ball
    larger = {name: getattr(release.certificate, name) + 1e-6}
    assert refuted(F, w, FORGET, edited(release, **larger)) == ["Delta"]


def test_below_2c_is_refuted(ball, monkeypatch):
    F, w, _, release = ball
    public = release.certificate.public() | {"below 2C": False}
    monkeypatch.setattr(ul.Certificate, "public", lambda card: public)
    assert refuted(F, w, FORGET, release) == ["below 2C"]


def test_doing_nothing_along_a_sequence_may_hold_the_drift(ball):
    F, w, _, release = ball
    card = release.certificate
    drift = edited(release, doing_nothing=card.doing_nothing + card.sensitivity.value)
    assert ul.verify(F, w, FORGET, drift).confirmed


def test_proved_from_an_assumption_is_refuted(softmax, ball):
    behind = (softmax, ("lam_min",), ("L", "M")), (ball, ("M", "L", "lam_min"), ())
    for (F, w, known, release), needed, free in behind:
        for name in (*needed, *free):
            for weak in (ul.assumed(known[name]), ul.chosen(known[name])):
                constants = replace(release.certificate.constants, **{name: weak})
                wrong = ["holds"] if name in needed else []
                assert refuted(F, w, FORGET, edited(release, constants=constants)) == wrong
    for holds in ("conditional", "void"):
        opinion = ul.verify(F, w, FORGET, edited(release, holds=holds))
        assert repr(opinion).startswith("not covered: holds\n") and not opinion.confirmed


def test_noise_of_another_size_is_refuted_and_honest_noise_is_not(softmax, vectors):
    """Noise off by a factor is refuted only where its exact chance is below 1e-9 on that side."""

    class Card:
        sigma = 0.5

    F, w, _, release = softmax
    for factor in (0.0, 0.05, 4.0):
        false = replace(release, w=release.estimate + factor * (release.w - release.estimate))
        assert refuted(F, w, FORGET, false) == ["size of the noise"]
    for p in (1, 3, 100):
        assert all(noise_size(Card, 0.5 * vectors(p, seed=k).numpy()).holds for k in range(9))
    for p in (3, 100, 2000):
        for z in (0.01, 0.2, 0.5, 0.7, 0.8, 1.2, 1.3, 1.6, 3.0, 20.0):
            ends = (0, p * z / 2) if z < 1 else (p * z / 2, mpmath.inf)
            exact = mpmath.gammainc(mpmath.mpf(p) / 2, *ends, regularized=True)
            assert noise_size(Card, math.sqrt(z) * np.full(p, 0.5)).holds or exact <= 1e-9


@pytest.mark.parametrize("mu", [1e-12, 0.3, 5.0])
@pytest.mark.parametrize("epsilon", [0.0, 30.0])
def test_the_profile_is_an_integral(mu, epsilon):
    """delta = integral from 0 to mu of phi(t/2 - epsilon/t) dt, in which nothing cancels."""
    with mpmath.workdps(25):
        mu, epsilon = mpmath.mpf(mu), mpmath.mpf(epsilon)
        spots = [mu * mpmath.mpf(k) / 20 for k in range(21)]
        exact = mpmath.quad(lambda t: mpmath.npdf(t / 2 - epsilon / t) if t else 0, spots)
        assert abs(profile(mu, epsilon) - exact) <= 1e-12 * exact + mpmath.mpf(10) ** -300


# ---- models that no proof covers, and paths that are not shared ---------------------------------


def relu():
    return nn.Sequential(nn.Linear(INPUTS, 5), nn.ReLU(), nn.Linear(5, CLASSES))


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


SHAPE = {"width": 4, "strength": 1.0, "scale": 1.0, "seed": 0}
STRANGE = {
    "frozen": (Frozen, {"public_buffers": ["shift"]}),
    "relu": (relu, {}),
    "bias": (lambda: nn.Linear(INPUTS, CLASSES), {}),
    "not that network": (lambda: Shifted(INPUTS, CLASSES, **SHAPE), {}),
    "another loss": (
        lambda: nn.Linear(INPUTS, CLASSES, bias=False),
        {"loss": lambda f, y: nn.functional.cross_entropy(f, y)},
    ),
}


@pytest.mark.parametrize("name", STRANGE)
def test_another_model_is_not_covered(name):
    make, options = STRANGE[name]
    F = ul.Objective(make().double(), *data(), weight_decay=5.0, **options)
    w = ul.refine(F, F.initial(), gradient=G).w
    known = dict(lam_min=1.0, L=9.0, M=9.0, sample_gradient=9.0)
    opinion = ul.verify(F, w, FORGET, released(F, w, known))
    assert not opinion.confirmed and not opinion.refuted
    for name in (*known, "model", AT_W, AT_ESTIMATE):
        assert line(opinion, name).verdict == "not covered"
    for name in ("Delta", "delta", "samples", "size of the noise"):
        assert line(opinion, name).verdict == "confirmed"


def test_single_precision_is_not_covered(softmax):
    F, w, _, release = softmax
    opinion = ul.verify(F.to(torch.float32), w.float(), FORGET, release)
    assert not opinion.confirmed and "float64" in line(opinion, "model").note


@pytest.mark.parametrize("file", ["verify.py", "by_hand.py"])
def test_it_imports_nothing_that_it_checks(file):
    text = (Path(ul.__file__).parent / file).read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = {alias.name for alias in node.names}
            if getattr(node, "level", 0):
                assert node.module is None and names == {"by_hand"}
            first = (getattr(node, "module", None) or min(names)).split(".")[0]
            assert first not in ("unlearnlib", "scipy", "dp_accounting")


@pytest.mark.parametrize("name", ["softmax", "tanh", "ball"])
def test_it_works_while_all_that_it_checks_is_broken(name, monkeypatch):
    F, w, _, release = made(name)

    def broken(*args, **options):
        raise AssertionError("a path is shared")

    for part, names in {
        ul.Objective: "gradient hvp value outputs outputs_of hessian_at batch batch_loss without "
        "only pieces indices module",
        ul.noise: "gaussian_delta gaussian_sigma gaussian_epsilon published with_rounding",
        ul.bounds: "newton_bound solver_bound strong_convexity_bound stability_bound",
    }.items():
        for broken_one in names.split():
            monkeypatch.setattr(part, broken_one, broken)
    assert ul.verify(F, w, FORGET, release).confirmed


# ---- rounding: against exact arithmetic ---------------------------------------------------------


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(-200, 200))
def test_a_product_is_as_right_as_it_says(seed, d, size):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(3, d)) * 10.0 ** rng.integers(-8, 8, size=(3, d))
    w = rng.normal(size=(4, d)) * 10.0 ** rng.integers(-8, 8, size=(4, d)) * 2.0**size
    x[0, 0] = -(x[0, 1:] @ w[0, 1:]) / w[0, 0]  # cancels
    z, dz = by_hand.product(x, w)
    for i, j in np.ndindex(3, 4):
        exact = sum(Fraction(a) * Fraction(b) for a, b in zip(x[i], w[j], strict=True))
        assert abs(Fraction(z[i, j]) - exact) <= Fraction(dz[i, j])


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
    """The real error of the gradient by hand, and the bound on it."""
    gradient, bound = F.gradient(w, np.asarray(rows))
    with mpmath.workdps(60):
        exact = mp_gradient(F, w, rows)
        return mpmath.norm(mp_matrix(gradient) - exact), bound


@pytest.mark.parametrize("form", ["softmax", "tanh"])
@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.floats(-6, 6))
def test_a_gradient_is_as_right_as_it_says(form, seed, size):
    F, w = random_sum(form, seed, 10.0**size, n=3, d=3)
    error, bound = error_of(F, w, range(3))
    assert error <= bound


@pytest.mark.parametrize("size", [1e-12, 1e-2])
@pytest.mark.parametrize("far", [0.1, 30.0])
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


def test_opposite_errors_of_two_logits_reach_the_bound_of_a_residual():
    f, y, e = np.array([[0.0, -30.0]]), np.array([0]), 0.3
    r, dr = by_hand.residual(f, np.full((1, 2), e), y)
    worst, _ = by_hand.residual(f + [[-e, e]], np.zeros((1, 2)), y)
    assert 0.999 * dr[0] <= np.linalg.norm(worst - r) <= dr[0]


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
    assert np.less_equal(*error_of(F, w, [0]))


def test_a_long_sum_is_as_right_as_it_says(monkeypatch):
    """Hundreds of numbers added one by one, each of which is known exactly: residuals of 1/2."""
    monkeypatch.setattr(by_hand, "CHUNK", 1)
    x = np.random.default_rng(0).uniform(1, 2, size=(600, 1))
    F = by_hand.Sum(x, np.zeros(600, dtype=int), 0.0, 0.0, np.zeros((2, 1)))
    gradient, bound = F.gradient(np.zeros(2), np.arange(600))
    exact = sum(map(Fraction, x[:, 0].tolist())) / 1200
    assert abs(Fraction(float(gradient[1, 0])) - exact) <= Fraction(bound)


@pytest.mark.parametrize("function", ["exp", "tanh"])
def test_numpys_functions_are_right_to_four_ulp(function):
    rng = np.random.default_rng(0)
    z = np.concatenate(
        [rng.uniform(-700, 20, 1000), rng.normal(size=1000), 10 ** rng.uniform(-12, 0, 500)]
    )
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


# ---- how it looks -------------------------------------------------------------------------------


def test_a_verification_shows_its_lines(softmax):
    F, w, _, release = softmax
    true = ul.verify(F, w, FORGET, release)
    false = ul.verify(F, w, FORGET, edited(release, sigma=1e-3))
    assert repr(true).startswith('confirmed: all that "proved" rests on\n')
    assert repr(false).startswith("refuted: delta, size of the noise\n")
    for line in true.lines:
        assert line.name in repr(true) and line.verdict in repr(true)
    assert max(map(len, repr(true).splitlines())) <= 100
    assert "#0072B2" in true._repr_html_() and "#D55E00" in false._repr_html_()


def test_what_is_missing_is_named():
    lines = [Line("a", "", "", None, "<i>"), Line("b", "", "", None, needed=False)]
    opinion, shown = Verification(lines), Verification(lines)._repr_html_()
    assert repr(opinion).startswith("not covered: a\n") and not opinion.confirmed
    assert "<i>" not in shown and "&lt;i&gt;" in shown and shown.count("<tr>") == 4
    assert Verification(lines[1:]).confirmed
