"""Requests in sequence, against the same done by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from dp_accounting import GaussianDpEvent
from dp_accounting.pld import PLDAccountant
from oracles import minimiser
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits as log_loss

import unlearnlib as ul

# Logistic regression with ||x|| = 1 and decay 1: every minimiser has norm <= 1/2.
KNOWN = ul.Constants(
    M=ul.proved(1 / (6 * math.sqrt(3)), "max |sigmoid''|"),
    L=ul.proved(1.25, "1/4 + decay"),
    lam_min=ul.proved(1.0, "decay"),
    G=ul.chosen(1e-6),
    sample_gradient=ul.proved(1.0, "|sigmoid - y| < 1"),
)
TERMS = dict(C=0.5, lam=0.25, delta=1e-5, epsilon=1.0, constants=KNOWN, tol=1e-6)
REQUESTS = ([7, 3], [0], [29, 11, 12], [1])


def samples(n=30, d=3):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, d))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return x, (x[:, :1] > 0).astype(float)


def objective(x, y):
    model = nn.Linear(x.shape[1], 1, bias=False, dtype=torch.float64)
    return ul.Objective(model, torch.tensor(x), torch.tensor(y), loss=log_loss, weight_decay=1.0)


@pytest.fixture
def trained():
    x, y = samples()
    return objective(x, y), torch.tensor(minimiser(x, y[:, 0]))


@pytest.fixture
def queue(trained):
    return ul.SequentialUnlearner(*trained, **TERMS)


def test_indices_stay_those_of_the_first_day(trained, queue):
    (x, y), w, left = samples(), trained[1], list(range(30))
    for wanted in REQUESTS:
        gone = [left.index(i) for i in wanted]
        by_hand = ul.unlearn(objective(x, y), w, gone, **TERMS)
        x, y = np.delete(x, gone, 0), np.delete(y, gone, 0)
        left, w = [i for i in left if i not in wanted], by_hand.estimate
        assert torch.allclose(queue.forget(wanted).estimate, w, rtol=1e-12, atol=1e-14)
    assert queue.kept.tolist() == left


def test_every_estimate_is_as_close_as_certified_and_in_the_ball(queue):
    gone = []
    for wanted in REQUESTS:
        release, gone = queue.forget(wanted), gone + wanted
        x, y = (np.delete(data, gone, 0) for data in samples())
        distance = np.linalg.norm(release.estimate.numpy() - minimiser(x, y[:, 0]))
        assert release.certificate.holds == "proved", release.certificate
        assert 0 < distance <= release.certificate.sensitivity.value < 1
        assert float(release.estimate.norm()) <= 0.5


def test_estimates_stay_in_the_ball_whatever_the_solver_says(trained):
    def wild(F, w, b, **terms):
        return replace(ul.conjugate_gradient(F, w, b, **terms), x=torch.full_like(w, -9.0))

    queue = ul.SequentialUnlearner(*trained, **TERMS | dict(solver=wild))
    for wanted in REQUESTS:
        assert 0.499 < float(queue.forget(wanted).estimate.norm()) <= 0.5


def test_the_noise_of_a_release_never_enters_the_next(trained):
    loud, quiet = (
        ul.SequentialUnlearner(*trained, **TERMS | dict(epsilon=None, sigma=sigma))
        for sigma in (1e6, 1e-6)
    )
    for wanted in REQUESTS:
        first, second = loud.forget(wanted), quiet.forget(wanted)
        assert torch.equal(first.estimate, second.estimate)
        assert float((first.w - first.estimate).norm()) > 1e3


def test_each_release_draws_its_own_noise(trained):
    queue = ul.SequentialUnlearner(*trained, seed=41, **TERMS)
    for k, wanted in enumerate(REQUESTS):
        release = queue.forget(wanted)
        fresh = ul.noise.sample_noise(release.w, release.certificate.sigma, seed=41 + k)
        assert torch.allclose(release.w - release.estimate, fresh, atol=1e-12)
        assert release.certificate.noise == "reproducible: not private"


# ---- what is refused leaves everything as it was ------------------------------------------------


def state(queue):
    return queue.w.tolist(), queue.kept.tolist(), len(queue.releases), queue.F.n


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ([3], r"Already forgotten: \[3\].*retained"),
        ([5, 7], r"forgotten: \[7\]"),
        ([30], "Index 30 .*30 samples"),
        ([], "empty"),
        ([5, 5], r"once: \[5\]"),
        ([i for i in range(30) if i not in (3, 7)], "All 28"),
    ],
)
def test_a_refused_request_leaves_everything_as_it_was(queue, indices, message):
    queue.forget([7, 3])
    before, spent = state(queue), queue.budget(1e-5)
    with pytest.raises(ul.InputError, match=message):
        queue.forget(indices)
    assert state(queue) == before and queue.budget(1e-5) == spent


def test_a_solver_that_fails_leaves_everything_as_it_was(trained, queue):
    fails = iter([False, True, False])

    def moody(*args, **terms):
        if next(fails):
            raise ul.DivergenceError("not today")
        return ul.conjugate_gradient(*args, **terms)

    shaken = ul.SequentialUnlearner(*trained, **TERMS | dict(solver=moody))
    for one in (shaken, queue):
        one.forget([7])
    before = state(shaken)
    with pytest.raises(ul.DivergenceError, match="not today"):
        shaken.forget([2, 4])
    assert state(shaken) == before
    assert torch.equal(shaken.forget([2, 4]).estimate, queue.forget([2, 4]).estimate)


# ---- the budget ---------------------------------------------------------------------------------


def test_budget_is_what_the_accountant_says(queue):
    releases, accountant = [queue.forget(wanted) for wanted in REQUESTS], PLDAccountant()
    budget = queue.budget(1e-6)
    for k, card in enumerate(release.certificate for release in releases):
        alone = PLDAccountant()
        for account in (alone, accountant):
            account.compose(GaussianDpEvent(card.sigma / card.sensitivity.value))
        assert budget.each[k] == pytest.approx(alone.get_epsilon(1e-6), rel=1e-3)
        assert budget.history[k] == pytest.approx(accountant.get_epsilon(1e-6), rel=1e-3)
    assert queue.budget(1e-5).each == pytest.approx([1.0] * 4, rel=1e-9)


def test_budget_before_any_release_is_refused(queue):
    with pytest.raises(ul.InputError, match=r"Nothing has been released.*forget\(indices\)"):
        queue.budget(1e-5)


@pytest.mark.parametrize("delta", [0.0, 1.0, math.nan])
def test_budget_at_no_delta_is_refused_by_name(queue, delta):
    queue.forget([1])
    with pytest.raises(ul.InputError, match=rf"delta is {delta}; .*\(0, 1\)"):
        queue.budget(delta)


@pytest.mark.parametrize("away", [0.0, 0.1])
def test_doing_nothing_is_never_closer_than_stated(trained, away):
    F, w = trained
    w = w * (1 - away / float(w.norm()))  # ||grad F|| <= 1.25 * away < G: still as trained
    constants = replace(KNOWN, G=ul.chosen(0.2))
    card = ul.unlearn(F, w, [4], **TERMS | dict(constants=constants)).certificate
    x, y = (np.delete(data, [4], 0) for data in samples())
    assert np.linalg.norm(w.numpy() - minimiser(x, y[:, 0])) <= card.doing_nothing


def quadratic(y):
    """(F, w): F(w) = mean (w - y_i)^2 / 2, at its minimum."""
    y = torch.tensor(y)[:, None].double()
    model = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    return ul.Objective(model, torch.ones_like(y), y, loss=ul.squared_error), y.mean(0)


def test_doing_nothing_later_counts_from_the_running_estimate():
    # at lam = 20 the first estimate covers 1/21 of the way from 0 to -1
    exact = ul.proved(1, "quadratic")
    smooth = ul.Constants(
        M=ul.proved(0, "quadratic"),
        L=exact,
        lam_min=exact,
        G=ul.chosen(1e-9),
        sample_gradient=ul.proved(2, "|w|, |y| <= 1"),
    )
    queue = ul.SequentialUnlearner(
        *quadratic([1] * 50 + [-1] * 50), C=1.0, lam=20.0, delta=0.5, epsilon=10.0, constants=smooth
    )
    start, card = queue.forget(range(50)).estimate, queue.forget([50]).certificate
    assert abs(float(start) + 1) <= card.doing_nothing
