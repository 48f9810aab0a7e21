"""The theorems, re-derived: tight examples, brute-force retraining, the paper's own numbers."""

import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unlearnlib import InputError, bounds

positive = st.floats(1e-3, 1e3)
DIM, RHO = 26_506, 0.1  # the paper's MLP; the failure probability that R2D uses


@pytest.mark.parametrize(
    ("C", "M", "lam", "lam_min", "expected"),
    [
        (20, 1, 1000, 0, 40.8),
        (20, 1, 200, 0, 44),
        (10, 1, 200, 0, 21),
        (21, 1, 2000, 0, 42.4),
        (20, 1, 0.01, 0, 80_040),
        (20, 136, 200, -0.063, 584.2),
    ],
)
def test_newton_bound_in_the_papers_settings(C, M, lam, lam_min, expected):
    assert bounds.newton_bound(C, M, lam, lam_min) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(("lam", "expected"), [(1000, 4.8), (200, 13.8), (0.01, 226_133)])
def test_what_lissa_adds_in_the_papers_settings(lam, expected):
    args = (20, 1, lam, 0)
    added = bounds.lissa_bound(*args, L=1, dim=DIM, rho=RHO) - bounds.newton_bound(*args)
    assert added == pytest.approx(expected, rel=0.01)


@given(C=positive, M=positive, lam=st.floats(0, 1e4), lam_min=positive)
def test_theorem_34_beats_doing_nothing_only_where_lam_min_exceeds_MC(C, M, lam, lam_min):
    bound = bounds.newton_bound(C, M, lam, lam_min)
    gain = Fraction(lam_min) - Fraction(M) * Fraction(C)
    if abs(gain) > 1e-9 * (lam + lam_min + M * C):  # away from rounding
        assert (bound < bounds.trivial_bound(C)) == (gain > 0)


@pytest.mark.parametrize("lam_min", [-0.06, 0.0, 1.0, 100.0])
def test_large_damping_only_brings_theorem_34_back_to_2C(lam_min):
    assert bounds.newton_bound(20, 1, 1e12, lam_min) == pytest.approx(40, rel=1e-9)


@given(
    C=positive,
    M=st.floats(0, 10),
    lam=st.floats(0, 1e4),
    L=positive,
    part=st.floats(-1, 1),
    dim=st.integers(2, 10**7),
    rho=st.floats(1e-9, 0.999),
)
def test_theorem_36_never_beats_doing_nothing(C, M, lam, L, part, dim, rho):
    lam_min = part * L  # never above L, and 16 sqrt(ln(dim/rho)) > 13 multiplies L
    if lam + lam_min > 1e-6:
        assert bounds.lissa_bound(C, M, lam, lam_min, L, dim, rho) > bounds.trivial_bound(C)


@given(
    C=positive,
    M=positive,
    lam=positive,
    lam_min=st.floats(0, 10),
    L=positive,
    G=st.floats(0, 100),
    rho=st.floats(1e-6, 0.99),
)
def test_lissa_bound_is_proposition_41(C, M, lam, lam_min, L, G, rho):
    first = (2 * C * (M * C + lam) + G) / (lam + lam_min)
    second = 16 * math.sqrt(math.log(DIM / rho)) / (lam + lam_min) + 1 / 16
    bound = bounds.lissa_bound(C, M, lam, lam_min, L, DIM, rho, G)
    assert bound == pytest.approx(first + second * (2 * L * C + G), rel=1e-12)


# ---- problems on the line where the bounds are attained -----------------------------------------


@given(r=positive, M=st.floats(0, 10), h=positive, lam=st.floats(0, 100), G=st.floats(0, 10))
def test_local_newton_bound_is_attained_by_a_cubic(r, M, h, lam, G):
    # retrained at 0 with F'(0) = -G, start at r: F' = -G + h w + M w^2 / 2, F''(r) = h + M r
    slope, curvature = -G + h * r + M * r**2 / 2, h + M * r
    error = abs(r - slope / (curvature + lam))
    bound = bounds.local_newton_bound(r, M, lam, curvature, G)
    assert error == pytest.approx(bound, rel=1e-9, abs=1e-9 * r)


@pytest.mark.parametrize("lam", [-0.5, -0.9])
def test_negative_damping_is_bounded_too_down_to_minus_lam_min(lam):
    # w^2/2 from w = 1: the step overshoots the minimiser 0 by |lam| / (1 + lam)
    error = abs(1 - 1 / (1 + lam))
    assert bounds.local_newton_bound(1, 0, lam, 1) >= error - 1e-12


@given(C=positive, lam=positive, h=positive, L=positive, tol=st.floats(1e-6, 1), G=positive)
def test_solver_bound_is_attained_along_the_lowest_eigenvector(C, lam, h, L, tol, G):
    A, b = np.diag([h + lam, 5 * h + lam]), np.array([2 * L * C + G, 0])
    x = np.linalg.solve(A, b * (1 + tol))
    extra = np.linalg.norm(x - np.linalg.solve(A, b))
    assert extra == pytest.approx(bounds.solver_bound(C, lam, h, L, tol, G), rel=1e-6)


@given(g=positive, mu=positive, n=st.integers(2, 1000), part=st.floats(0, 1))
def test_stability_bound_is_attained_by_opposite_slopes(g, mu, n, part):
    # loss_i = +-g w, decay mu: the minimiser is -(mean slope) / mu
    n_u = 1 + int(part * (n - 2))
    trained, retrained = -g * (2 * n_u - n) / n / mu, g / mu
    moved = abs(trained - retrained)
    assert moved == pytest.approx(bounds.stability_bound(n, n_u, g, mu), rel=1e-9)
    for G in (0.1, 3.0):  # each stops G/mu short of its minimum, on the far side of the other's
        moved = abs((trained - G / mu) - (retrained + G / mu))
        assert moved == pytest.approx(bounds.stability_bound(n, n_u, g, mu, G), rel=1e-9)


@pytest.mark.parametrize(("a", "b"), [(3.0, 0.5), (0.0, 0.5), (3.0, 0.0)])
def test_strong_convexity_bound_is_attained_on_either_side_of_a_minimum(a, b):
    """mu w^2/2 has the gradients a and -b at a/mu and -b/mu."""
    assert bounds.strong_convexity_bound(a, 0.25, b) == a / 0.25 - -b / 0.25


# ---- brute force: logistic regression, max |sigmoid''| = 1 / (6 sqrt 3) -------------------------

DECAY = 0.3


def logistic(seed, n=60, d=4):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    return x, (x[:, 0] + rng.normal(size=n) > 0).astype(float)


def derivatives(w, x, y):
    p = 1 / (1 + np.exp(-x @ w))
    hessian = (x.T * (p * (1 - p))) @ x / len(x) + DECAY * np.eye(len(w))
    return x.T @ (p - y) / len(x) + DECAY * w, hessian


def retrain(x, y):
    w = np.zeros(x.shape[1])
    for _ in range(50):
        gradient, hessian = derivatives(w, x, y)
        w = w - np.linalg.solve(hessian, gradient)
    assert np.linalg.norm(derivatives(w, x, y)[0]) < 1e-14
    return w


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("lam", [0.0, 0.1, 10.0])
def test_newton_bounds_hold_against_brute_force_retraining(seed, lam):
    x, y = logistic(seed)
    keep = np.arange(len(x)) >= 3 * (seed + 1)
    w, target = retrain(x, y), retrain(x[keep], y[keep])
    gradient, hessian = derivatives(w, x[keep], y[keep])
    A, lowest = hessian + lam * np.eye(len(w)), np.linalg.eigvalsh(hessian)[0]
    error, r = np.linalg.norm(w - np.linalg.solve(A, gradient) - target), np.linalg.norm(w - target)
    M = (np.linalg.norm(x[keep], axis=1) ** 3).mean() / (6 * math.sqrt(3))
    C = max(np.linalg.norm(w), np.linalg.norm(target))
    assert 0 < error <= bounds.local_newton_bound(r, M, lam, lowest)
    assert bounds.local_newton_bound(r, M, lam, lowest) <= bounds.newton_bound(C, M, lam, lowest)


@pytest.mark.parametrize("n_u", [1, 5, 30])
def test_stability_bound_holds_against_brute_force_retraining(n_u):
    x, y = logistic(1)
    moved = np.linalg.norm(retrain(x, y) - retrain(x[n_u:], y[n_u:]))
    steepest = np.linalg.norm(x, axis=1).max()  # |sigmoid - y| < 1
    assert 0 < moved <= bounds.stability_bound(len(x), n_u, steepest, DECAY)


@pytest.mark.parametrize("mu", [0.0, -1.0])
def test_stability_bound_refuses_what_is_not_strongly_convex(mu):
    with pytest.raises(InputError, match=f"{mu:g}"):
        bounds.stability_bound(100, 1, 1.0, mu)


# ---- LiSSA as a filter --------------------------------------------------------------------------


@given(a=st.floats(-1, 3), scale=st.floats(0.1, 1e4), steps=st.integers(0, 40))
def test_lissa_filter_is_what_the_recursion_does(a, scale, steps):
    a, H = a * scale, Fraction(scale)
    x = Fraction(1)
    for _ in range(steps):
        x = 1 + x - Fraction(a) / H * x
    limit = (steps + 1) / scale
    expected = pytest.approx(float(x / H), rel=1e-9, abs=1e-12 * limit)
    assert float(bounds.lissa_filter(a, scale, steps)) == expected


@pytest.mark.parametrize("a", [1e-300, 1e-12, 1e-6, 1e-3, -1e-9, -1e-3])
@pytest.mark.parametrize("steps", [1, 1000, 10**6])
def test_lissa_filter_keeps_its_digits_for_small_eigenvalues(a, steps):
    with mpmath.workdps(400):
        exact = (1 - (1 - mpmath.mpf(a) / 1000) ** (steps + 1)) / mpmath.mpf(a)
    assert float(bounds.lissa_filter(a, 1000.0, steps)) == pytest.approx(float(exact), rel=1e-12)


def test_lissa_filter_at_its_limits():
    assert float(bounds.lissa_filter(0.0, 1000.0, 1000)) == 1001 / 1000
    inside = np.array([[0.1, 1.0], [4.0, 7.9]])
    assert np.allclose(bounds.lissa_filter(inside, 4.0, 3000), 1 / inside, rtol=1e-12)
    assert abs(bounds.lissa_filter(8.1, 4.0, 3000)) > 1e30


def worst_bias(B, lowest, steps):
    return (1 - lowest / B) ** steps / lowest


@given(B=st.floats(1, 1e4), part=st.floats(1e-3, 1))
def test_lissa_steps_keep_the_bias_below_a_sixteenth(B, part):
    lowest = part * B
    assert worst_bias(B, lowest, bounds.lissa_steps(B, lowest, 0.0)) <= 1 / 16


@pytest.mark.parametrize(("B", "lowest"), [(0.02, 0.01), (0.1, 0.05), (1e-3, 2e-4)])
def test_lissa_steps_keep_the_bias_below_a_sixteenth_for_small_curvature(B, lowest):
    assert worst_bias(B, lowest, bounds.lissa_steps(B, lowest, 0.0)) <= 1 / 16


def test_the_released_codes_defaults_would_need_millions_of_steps():
    assert bounds.lissa_steps(1000, 0.01, 0) == pytest.approx(2.6e6, rel=0.02)


def test_the_measured_gradient_takes_the_place_of_its_worst_case():
    terms = dict(C=2.0, M=1.0, lam=5.0, lam_min=-1.0, L=3.0, dim=100, rho=0.1, G=0.2)
    worst = bounds.lissa_bound(**terms)
    assert bounds.lissa_bound(**terms, gradient=bounds.gradient_bound(2.0, 3.0, 0.2)) == worst
    newton = bounds.newton_bound(2.0, 1.0, 5.0, -1.0, 0.2)
    assert bounds.lissa_bound(**terms, gradient=0.0) == newton
    halfway = bounds.lissa_bound(**terms, gradient=bounds.gradient_bound(2.0, 3.0, 0.2) / 2)
    assert halfway == pytest.approx((worst + newton) / 2)


# ---- sequences, and what is refused -------------------------------------------------------------


def test_projected_sequence_is_flat():
    assert bounds.sequential_bounds(4, 0.5, 0.1, 0, 1) == [0.5 * 0.1] * 4
    assert bounds.sequential_bounds(3, 20, 1, 200, 0) == [40] * 3


def test_unprojected_sequence_grows_as_its_recursion_says():
    C, M, lam, low, G = map(Fraction, ("3", "1/8", "5", "1/4", "1/16"))
    delta, expected = Fraction(0), []
    for _ in range(6):
        r = delta + 2 * C
        delta = (M / 2 * r**2 + lam * r + G) / (lam + low)
        expected.append(float(delta))
    found = bounds.sequential_bounds(6, *map(float, (C, M, lam, low, G)), projected=False)
    assert found == pytest.approx(expected, rel=1e-12)
    assert all(later > earlier for earlier, later in zip(found, found[1:], strict=False))


@pytest.mark.parametrize("lam", [1.0, 2.0])
def test_damping_that_does_not_lift_lam_min_is_refused_with_the_remedy(lam):
    with pytest.raises(InputError, match=rf"lam = {lam:g} .*lam_min = -2 .*lam > 2"):
        bounds.newton_bound(1, 1, lam, -2)


@pytest.mark.parametrize("unknown", [dict(M=math.inf), dict(lam_min=-math.inf), dict(G=math.inf)])
def test_what_is_unknown_makes_the_bound_infinite(unknown):
    known = dict(C=1, M=1, lam=1, lam_min=0, G=0) | unknown
    assert bounds.newton_bound(**known) == math.inf
    assert bounds.lissa_bound(**known, L=1, dim=2, rho=0.1) == math.inf


@pytest.mark.parametrize("rho", [0, 1, -0.1, math.nan])
def test_rho_outside_0_1_is_refused(rho):
    with pytest.raises(InputError, match=r"rho is .*\(0, 1\)"):
        bounds.lissa_bound(1, 1, 1, 0, 1, 10, rho)


@pytest.mark.parametrize("B", [0.5, math.inf])
def test_lissa_steps_refuses_a_B_that_bounds_nothing(B):
    with pytest.raises(InputError, match=f"B = {B}"):
        bounds.lissa_steps(B, 1.0, 0.0)


KNOWN = dict(C=1, M=1, lam=1, lam_min=0, G=0)
SOLVED = dict(C=1, lam=1, lam_min=0, L=1, tol=0.1, G=0)
LISSA = dict(**KNOWN, L=1, dim=10, rho=0.1)
STABLE = dict(n=10, n_u=9, sample_gradient=1, mu=1, G=0)
CALLS = {
    "trivial_bound": dict(C=0),
    "gradient_bound": dict(C=0, L=0, G=0),
    "newton_bound": KNOWN,
    "local_newton_bound": dict(r=0, M=0, lam=1, lam_min=0, G=0),
    "solver_bound": SOLVED,
    "lissa_bound": LISSA | dict(gradient=0),
    "sequential_bounds": dict(requests=1, **KNOWN),
    "stability_bound": STABLE,
    "strong_convexity_bound": dict(gradient=0, mu=1, G=0),
}
NONNEGATIVE = ("C", "M", "L", "G", "r", "tol", "gradient", "sample_gradient")
COUNTS = ("dim", "requests", "n", "n_u")


@pytest.mark.parametrize("name", CALLS)
def test_a_constant_that_is_nan_or_negative_is_refused_by_name(name):
    call, known = getattr(bounds, name), CALLS[name]
    call(**known)
    for key in known.keys() & set(NONNEGATIVE):
        for bad in (-1e-9, math.nan):
            with pytest.raises(InputError, match=rf"\b(r|{key}) is -?\S+; .* at least 0\."):
                call(**known | {key: bad})
    for key in known.keys() & {"lam", "lam_min", "mu"}:
        for bad in (math.nan, math.inf):
            with pytest.raises(InputError, match=f"{key} is {bad}; .* finite"):
                call(**known | {key: bad})


@pytest.mark.parametrize("name", CALLS)
def test_a_count_that_is_none_is_refused_by_name(name):
    call, known = getattr(bounds, name), CALLS[name]
    for key in known.keys() & set(COUNTS):
        for bad in (-1, 2.5, 3.0, True, math.nan):
            with pytest.raises(InputError, match=f"{key} is {bad}; .* a whole number"):
                call(**known | {key: bad})
        call(**known | {key: np.int64(known[key])})


def test_stability_needs_a_sample_that_is_retained():
    with pytest.raises(InputError, match="n_u is 10 of n = 10 samples; at least one"):
        bounds.stability_bound(**STABLE | dict(n_u=10))


@pytest.mark.parametrize(("scale", "steps"), [(0, 1), (-1, 1), (math.inf, 1), (1, -1), (1, 0.5)])
def test_a_filter_of_no_recursion_is_refused(scale, steps):
    with pytest.raises(InputError, match=f"(scale is {scale}|steps is {steps}); it must be"):
        bounds.lissa_filter(1.0, scale, steps)


def test_no_number_of_steps_is_enough_for_an_unknown_lam_min():
    with pytest.raises(InputError, match="a known lam_min"):
        bounds.lissa_steps(1.0, 1.0, -math.inf)


def test_a_bound_too_large_for_a_float_is_infinite():
    assert bounds.sequential_bounds(12, 20, 1, 0.01, 0, projected=False)[-1] == math.inf
    assert bounds.gradient_bound(0, math.inf) == math.inf
