"""Every forget set of a tiny problem: the minimisers are right, and no bound is exceeded."""

import math
from dataclasses import replace
from itertools import combinations

import pytest
import torch
from torch import nn

import unlearnlib as ul
from studies.nb03_certificate_and_noise import exhaustion
from unlearnlib.evaluation.metrics import distance
from unlearnlib.lab import data

METHODS = [
    "doing nothing",
    "one Newton step",
    "Theorem 3.4",
    "refined",
    "Sekhari et al.",
    "descent-to-delete",
]
NAMES = ["softmax regression", "tanh network"]
FEW = 5


@pytest.fixture(scope="module")
def digits():
    return data.load("mnist5k")


@pytest.fixture(scope="module", params=[0, 1], ids=NAMES)
def problem(request, digits):
    return exhaustion.problems(digits)[request.param]


@pytest.fixture(scope="module", params=[0, 1], ids=NAMES)
def smaller(request, digits):
    """The same on so few images that all pairs of them take no time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exhaustion, "SAMPLES", FEW)
        return exhaustion.problems(digits)[request.param]


@pytest.fixture(scope="module")
def rows(smaller):
    return exhaustion.compare(smaller)


def test_the_problems_are_as_small_as_said(digits):
    softmax, network = exhaustion.problems(digits)
    assert [softmax.F.n, network.F.n] == [40, 40]
    assert [softmax.F.p, network.F.p] == [100, 40]
    for found in (softmax, network):
        assert found.images.x_train.dtype == torch.uint8 and found.mu > 0


def test_there_are_40_sets_of_one_and_780_of_two():
    sets = exhaustion.forget_sets(40)
    assert {size: len(set(of_size)) for size, of_size in sets.items()} == {1: 40, 2: 780}
    assert all(len(set(gone)) == size for size in sets for gone in sets[size])
    assert set().union(*sets[1]) == set().union(*sets[2]) == set(range(40))


def test_the_minimisers_side_by_side_are_those_found_one_by_one(problem):
    sets = [(0,), (39,), (3, 17), (38, 39), (5, 6)]
    found = exhaustion.retrained(problem, sets)
    assert found.shape == (5, problem.F.p)
    for gone, w in zip(sets, found, strict=True):
        F_r = problem.F.without(list(gone))
        alone = ul.refine(F_r, torch.zeros_like(w), gradient=1e-12).w
        assert F_r.gradient(w).norm() <= 1.01 * exhaustion.EXACT
        assert distance(w, alone) <= 2 * exhaustion.EXACT / problem.mu
        assert distance(w, torch.zeros_like(w)) > 1e-3


def test_batches_change_nothing(problem, monkeypatch):
    sets = list(combinations(range(4), 2))
    together = exhaustion.retrained(problem, sets)
    monkeypatch.setattr(exhaustion, "AT_ONCE", 4)
    apart = exhaustion.retrained(problem, sets)
    assert (together - apart).norm(dim=1).max() <= 2 * exhaustion.EXACT / problem.mu


def test_no_error_of_any_set_exceeds_its_bound(rows):
    assert [(row["method"], row["n_u"], row["sets"]) for row in rows] == [
        (method, size, math.comb(FEW, size)) for size in (1, 2) for method in METHODS
    ]
    for row in rows:
        assert 0 < row["largest"] <= row["bound"]


def test_the_largest_error_is_the_largest(smaller, rows):
    """Retraining without one sample after the other."""
    start = ul.refine(smaller.F, torch.zeros(smaller.F.p).double(), gradient=1e-12).w
    largest = dict.fromkeys(("doing nothing", "refined", "one Newton step"), 0.0)
    for gone in range(FEW):
        F_r = smaller.F.without([gone])
        exact = ul.refine(F_r, start, gradient=1e-12).w
        step = torch.linalg.solve(F_r.hessian(start), F_r.gradient(start))
        estimates = {
            "doing nothing": start,
            "one Newton step": start - step,
            "refined": ul.refine(F_r, start, gradient=1e-3).w,
        }
        for name, estimate in estimates.items():
            largest[name] = max(largest[name], distance(estimate, exact))
    found = {row["method"]: row["largest"] for row in rows if row["n_u"] == 1}
    for name, value in largest.items():
        assert found[name] == pytest.approx(value, abs=4e-10 / smaller.mu)


def test_the_bounds_by_hand(smaller, rows):
    mu, M, L, g = smaller.mu, smaller.M, smaller.L, smaller.sample_gradient
    for size in (1, 2):
        r = 2 * size * g / FEW / mu
        C = g / smaller.weight_decay  # decay * ||w|| is the data's gradient at a minimiser
        shrink = ((L - mu) / (L + mu)) ** 20
        by_hand = {
            "doing nothing": r,
            "one Newton step": M * r**2 / (2 * mu),
            "Theorem 3.4": 2 * M * C**2 / mu,
            "refined": 1e-3 / mu,
            "Sekhari et al.": M * r**2 / (2 * mu),
            "descent-to-delete": 2 * r * shrink / (1 - shrink),
        }
        found = {row["method"]: row["bound"] for row in rows if row["n_u"] == size}
        assert found == pytest.approx(by_hand, rel=1e-5)


def test_a_retraining_that_does_not_arrive_is_refused(problem, monkeypatch):
    monkeypatch.setattr(exhaustion, "NEWTON_STEPS", 1)
    with pytest.raises(ul.DivergenceError, match="A retraining stopped at .* above 1e-10"):
        exhaustion.retrained(problem, [(0,)])


def test_a_model_of_several_parameters_is_refused(problem):
    other = replace(problem, net=nn.Linear(10, 10).double())
    with pytest.raises(ul.InputError, match="has 2 parameters; one is expected"):
        exhaustion.retrained(other, [(0,)])
