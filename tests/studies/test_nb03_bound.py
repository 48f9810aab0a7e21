"""The numbers of notebook 03: the bound's terms, the mechanism's limits, and one proved step."""

import math

import numpy as np
import pytest
import torch
from digits import tiny
from scipy.optimize import brentq
from scipy.stats import norm

from studies.nb03_certificate_and_noise import bound
from unlearnlib import bounds
from unlearnlib.evaluation.metrics import accuracy
from unlearnlib.lab import proved
from unlearnlib.lab.seeds import generator

pytestmark = pytest.mark.usefixtures("own_store")

SETTINGS = {
    "small": dict(C=1.0, M=0.5, lam=2.0, lam_min=0.5, L=3.0, G=0.1, dim=50, rho=0.1),
    "undamped": dict(C=0.2, M=1.0, lam=0.0, lam_min=0.3, L=1.0, G=0.0, dim=10, rho=0.5),
    "indefinite": dict(C=20.0, M=7.0, lam=200.0, lam_min=-90.0, L=100.0, G=4.0, dim=10**6, rho=0.1),
}


def delta_by_hand(sigma, epsilon):
    """Balle and Wang (2018), at a distance of one."""
    a, b = 1 / (2 * sigma), epsilon * sigma
    return norm.cdf(a - b) - math.exp(epsilon + norm.logcdf(-a - b))


def classical_by_hand(epsilon, delta):
    return math.sqrt(2 * math.log(1.25 / delta)) / epsilon


def analytic_by_hand(epsilon, delta):
    return brentq(lambda sigma: delta_by_hand(sigma, epsilon) - delta, 1e-2, 1e3, xtol=1e-12)


# ---- the bound ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SETTINGS)
def test_the_terms_add_up_to_theorem_36(name):
    parts = bound.terms(**SETTINGS[name])
    assert tuple(parts) == bound.TERMS
    assert sum(parts.values()) == pytest.approx(bounds.lissa_bound(**SETTINGS[name]), rel=1e-12)


def test_each_term_by_hand():
    by_hand = {
        "curvature changes": 2 * 0.5 * 1 / 2.5,
        "damping": 2 * 2 * 1 / 2.5,
        "residual gradient": 0.1 / 2.5,
        "LiSSA's chance": 16 * math.sqrt(math.log(500)) / 2.5 * 6.1,
        "LiSSA's bias": 6.1 / 16,
    }
    assert bound.terms(**SETTINGS["small"]) == pytest.approx(by_hand)


@pytest.mark.parametrize("lam", [50.0, 90.0])
def test_without_enough_damping_no_term_is_finite(lam):
    parts = bound.terms(**SETTINGS["indefinite"] | {"lam": lam})
    assert tuple(parts) == bound.TERMS and set(parts.values()) == {math.inf}


def test_the_waterfall_ends_at_the_bound_and_what_no_step_gives():
    rows = bound.waterfall(SETTINGS)
    assert len(rows) == 3 * (5 + 2)
    for name, known in SETTINGS.items():
        values = {row["term"]: row["value"] for row in rows if row["setting"] == name}
        assert values.pop("2C") == 2 * known["C"]
        assert values.pop("bound") == pytest.approx(bounds.lissa_bound(**known), rel=1e-12)
        assert values == bound.terms(**known)


def test_theorem_34_says_something_where_the_hessian_is_above_mc():
    """The ratio is (MC + lam)/(lam + lam_min): below one if lam_min > MC, whatever lam is."""
    C, M = 3.0, 0.5
    rows = bound.region(C, M, [0.0, 0.1, 10.0, 1e6], [-2.0, 0.0, 1.0, 1.49, 1.51, 4.0, 90.0])
    assert len(rows) == 28 and len({(row["lam"], row["lam_min"]) for row in rows}) == 28
    for row in rows:
        lam, least = row["lam"], row["lam_min"]
        if lam + least <= 0:
            assert row["ratio"] == math.inf
            continue
        assert row["ratio"] == pytest.approx((M * C + lam) / (lam + least), rel=1e-12)
        assert 2 * C * row["ratio"] == pytest.approx(bounds.newton_bound(C, M, lam, least))
        assert (row["ratio"] < 1) == (least > M * C)


# ---- the mechanism ------------------------------------------------------------------------------


def test_both_mechanisms_and_the_delta_that_the_classical_one_really_gives():
    rows = bound.mechanisms([0.5, 1.0, 4.0, 12.0], [1e-5, 1e-3])
    assert [(row["epsilon"], row["delta"]) for row in rows] == [
        (epsilon, delta) for delta in (1e-5, 1e-3) for epsilon in (0.5, 1.0, 4.0, 12.0)
    ]
    for row in rows:
        epsilon, delta = row["epsilon"], row["delta"]
        assert row["classical"] == pytest.approx(classical_by_hand(epsilon, delta))
        assert row["analytic"] == pytest.approx(analytic_by_hand(epsilon, delta), rel=1e-6)
        real = row["delta of the classical"]
        assert real == pytest.approx(delta_by_hand(row["classical"], epsilon), rel=1e-6)
        assert (real <= delta) == (row["classical"] >= row["analytic"])
    assert rows[3]["delta of the classical"] > 1e-5 > rows[1]["delta of the classical"]


@pytest.mark.parametrize("delta", [1e-9, 1e-5, 1e-2])
def test_the_classical_sigma_is_too_small_from_the_crossing_on(delta):
    def excess(epsilon):
        return delta_by_hand(classical_by_hand(epsilon, delta), epsilon) / delta - 1

    at = bound.crossing(delta)
    assert at == pytest.approx(brentq(excess, 1.0, 50.0, xtol=1e-12), rel=1e-5)
    assert all(excess(at * factor) < 0 for factor in (0.3, 0.9, 0.9999))
    assert all(excess(at * factor) > 0 for factor in (1.0001, 1.1, 3.0))


def test_a_bound_that_may_fail_costs_its_chance():
    rows = bound.failures([0.0, 1e-5, 0.1], 1.0, 1e-5)
    assert rows[0] == {"rho": 0.0, "epsilon": 1.0, "delta": 1e-5}
    assert rows[1]["delta"] == pytest.approx(2e-5)
    assert rows[2]["epsilon"] == pytest.approx(1 + math.log(1 / 0.9))
    assert rows[2]["delta"] == pytest.approx(0.10001)


def test_the_ladder_inverts_the_noise():
    rows = bound.ladder([0.1, 2.0, 50.0], {"2C": 4.0, "proved": 0.05})
    assert [(row["what"], row["sigma"]) for row in rows] == [
        (what, sigma) for what in ("2C", "proved") for sigma in (0.1, 2.0, 50.0)
    ]
    for row in rows:
        if row["epsilon"] < 100:  # beyond, the formula by hand overflows
            found = delta_by_hand(row["sigma"] / row["Delta"], row["epsilon"])
            assert found == pytest.approx(1e-5, rel=1e-4)
    epsilons = [row["epsilon"] for row in rows]
    assert epsilons[0] > epsilons[1] > epsilons[2] and epsilons[3] < epsilons[0]


# ---- one step -----------------------------------------------------------------------------------

STEPS, SHARES = [(0.1, 4.0), (3.0, 8.0)], [0.02, 0.2, 0.5]


@pytest.fixture(scope="module")
def images():
    return tiny(test=30)


@pytest.fixture(scope="module")
def rows(images):
    return bound.one_step(images, STEPS, SHARES, seed=0)


def test_there_is_a_row_for_each_network_and_share(rows):
    found = [(row["strength"], row["excess"], row["share"], row["n_u"]) for row in rows]
    assert found == [
        (*step, share, n_u)
        for step in STEPS
        for share, n_u in zip(SHARES, (1, 12, 30), strict=True)
    ]


def test_no_real_distance_exceeds_its_bound(rows):
    for row in rows:
        assert 0 < row["moved"] <= row["nothing"]
        assert 0 < row["error"] <= row["bound"]
        assert row["error"] < row["moved"] / 10


def test_most_is_where_the_step_certifies_as_much_as_none(rows):
    """M r^2/(2 mu) over r = 2 share g/mu is share M g/mu^2, so it is one at `most`."""
    sides = set()
    for row in rows:
        share = row["n_u"] / 60
        gain = row["bound"] / row["nothing"]
        assert gain == pytest.approx(share / row["most"], rel=1e-3)
        sides.add(gain < 1)
    assert sides == {True, False}


def test_the_bounds_are_those_of_the_network(rows, images):
    for row in rows:
        setting = {"strength": row["strength"], "excess": row["excess"], "width": 16}
        net = proved.network(images, 0, **setting).net
        mu = (row["excess"] - 1) * net.curvature
        M, g = net.hessian_lipschitz(), net.sample_gradient()
        assert row["mu"] == pytest.approx(mu, rel=1e-11) and row["M"] == M
        r = 2 * row["n_u"] / 60 * g / mu
        assert row["nothing"] == pytest.approx(r, rel=1e-3)
        assert row["bound"] == pytest.approx(M * r**2 / (2 * mu), rel=5e-3)


def test_the_distances_are_those_of_dense_newton_steps(images):
    row = bound.one_step(images, STEPS[1:], [0.5], seed=3)[0]
    order = torch.randperm(60, generator=generator("one step", 3))
    problem = proved.network(images, 3, strength=3.0, excess=8.0, width=16)
    F = problem.F
    F_r = F.without(order[:30])

    def down(F, w, steps):
        for _ in range(steps):
            w = w - torch.linalg.solve(F.hessian(w), F.gradient(w))
        return w

    w = down(F, torch.zeros(F.p, dtype=torch.float64), 5)
    w_r, estimate = down(F_r, w, 3), down(F_r, w, 1)
    assert F_r.gradient(w_r).norm() < 1e-10 * row["mu"]
    assert row["moved"] == pytest.approx(float((w - w_r).norm()), rel=1e-3)
    assert row["error"] == pytest.approx(float((estimate - w_r).norm()), abs=3e-3 * row["moved"])
    assert row["test"] == accuracy(problem.F_test, w)
    assert np.isfinite(list(row.values())).all()


@pytest.mark.parametrize("name", SETTINGS)
def test_what_is_saved_is_lissas_two_terms_and_all_beyond_the_ball(name):
    known, tol = SETTINGS[name], 1e-3
    (row,) = bound.savings({name: known}, tol)
    parts, least = bound.terms(**known), known["lam"] + known["lam_min"]
    b = 2 * known["L"] * known["C"] + known["G"]
    newton = sum(parts[term] for term in bound.TERMS[:3])
    assert row["Theorem 3.6"] == pytest.approx(sum(parts.values()))
    assert row["residual measured"] == pytest.approx(newton + tol * b / least)
    assert row["and projected"] == min(row["residual measured"], 2 * known["C"])
