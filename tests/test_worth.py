"""What a proved certificate costs: noise by epsilon, errors by request, epsilon of a history."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from digits import tiny
from scipy.optimize import brentq
from scipy.stats import norm

import unlearnlib as ul
from unlearnlib.evaluation.metrics import distance
from unlearnlib.lab import proved, worth

pytestmark = pytest.mark.usefixtures("own_store")

MODELS = {
    "softmax regression": lambda images: proved.softmax(images, 0.01),
    "tanh network": lambda images: proved.network(images, 0, strength=1e3, width=16),
}


@pytest.fixture(scope="module")
def images():
    return tiny()


@pytest.fixture(scope="module", params=MODELS)
def problem(request, images):
    return MODELS[request.param](images)


def noise_by_hand(Delta, epsilon, delta=1e-5):
    """Balle and Wang (2018)."""

    def excess(sigma):
        a, b = 1 / (2 * sigma), epsilon * sigma
        return norm.cdf(a - b) - math.exp(epsilon + norm.logcdf(-a - b)) - delta

    return Delta * brentq(excess, 1e-2, 1e3, xtol=1e-12)


def share_right(problem, w):
    with torch.no_grad():
        guessed = problem.F.outputs(w, proved.features(problem.images.x_test)).argmax(1)
    return float((guessed == problem.images.y_test).double().mean())


# ---- prices -------------------------------------------------------------------------------------


def test_a_price_is_the_noise_for_delta_and_the_accuracy_that_it_leaves(problem):
    w = problem.trained(problem.gradient_for(1.0)).w
    Delta, epsilons = 0.05 / problem.reach, (0.3, 1.0, 8.0)
    rows = worth.prices("some", problem.F_test, w, Delta, epsilons, seed=4)
    assert [(row["epsilon"], row["draw"]) for row in rows] == [
        (epsilon, draw) for epsilon in epsilons for draw in range(worth.DRAWS)
    ]
    for row in rows:
        assert row["sigma"] == pytest.approx(noise_by_hand(Delta, row["epsilon"]), rel=1e-6)
        seed = worth.seed_of(f"price {row['draw']}", 4)
        noisy = w + ul.noise.sample_noise(w, row["sigma"], seed)
        assert row["test"] == share_right(problem, noisy)
        assert (row["method"], row["seed"], row["Delta"]) == ("some", 4, Delta)


def test_no_two_draws_are_alike(problem, monkeypatch):
    """Nor are those of two seeds: the accuracy is taken at weights that differ by sigma sqrt(p)."""
    seen = []
    monkeypatch.setattr(worth, "accuracy", lambda F, w: seen.append(w) or 0.5)
    w = torch.zeros(problem.F.p).double()
    for seed in (0, 1):
        rows = worth.prices("some", problem.F_test, w, 1.0, [1.0], seed)
    assert len(seen) == 2 * worth.DRAWS == len({tuple(v.tolist()) for v in seen})
    spread = torch.cat(seen).std()
    assert float(spread) == pytest.approx(rows[0]["sigma"], rel=0.15)


def test_less_noise_leaves_more_accuracy(problem):
    rows = worth.refined(problem, [1e-2, 1e3], seed=0)
    hidden, plain = (np.mean([row["test"] for row in rows if row["epsilon"] == epsilon])
                     for epsilon in (1e-2, 1e3))  # fmt: skip
    assert plain - hidden > 0.1
    without = share_right(problem, problem.trained(problem.gradient_for(1.0)).w)
    assert worth.unnoised(problem) == without == pytest.approx(plain, abs=0.02)


def test_a_proved_model_pays_for_one_delta_at_every_epsilon(problem):
    rows = worth.refined(problem, [0.5, 1.0, 4.0], seed=0)
    G = problem.gradient_for(1.0)
    assert {row["Delta"] for row in rows} == {2 * G / problem.mu}
    assert {row["method"] for row in rows} == {problem.name}
    at_one = [row["sigma"] for row in rows if row["epsilon"] == 1.0]
    assert [problem.reach * sigma for sigma in at_one] == pytest.approx([0.1] * worth.DRAWS)


def test_the_papers_model_pays_for_the_ball(softmax):
    F = softmax.objective()
    d = SimpleNamespace(F_test=F, w=softmax.w, pair=SimpleNamespace(C=7.0), seed=2)
    rows = worth.ball(d, [1.0])
    assert {row["Delta"] for row in rows} == {14.0} and {row["seed"] for row in rows} == {2}
    assert rows[0]["sigma"] == pytest.approx(noise_by_hand(14.0, 1.0), rel=1e-6)


# ---- requests -----------------------------------------------------------------------------------


def test_the_error_of_every_request_is_below_delta(problem):
    G = problem.gradient_for(1.0)
    rows = worth.forget_sets(problem, (1, 5, 40), seed=0)
    assert [row["n_u"] for row in rows] == [1, 5, 40]
    for row in rows:
        assert row["holds"] == "proved"
        assert row["Delta"] == pytest.approx(2 * G / problem.mu)
        assert 0 < row["error"] <= row["Delta"]
        assert row["moved"] <= row["nothing"]
        r = (2 * row["n_u"] / 60 * problem.sample_gradient + 2 * G) / problem.mu
        assert row["nothing"] == pytest.approx(r)
        assert row["seconds"] > 0 and row["retrain"] > 0
    assert rows[2]["moved"] > rows[2]["Delta"]


def test_its_distances_and_accuracies_are_those_of_a_retrained_model(problem):
    G = problem.gradient_for(1.0)
    row = worth.forget_sets(problem, [20], seed=1)[0]
    order = torch.randperm(60, generator=worth.generator("sizes", 1))
    gone, kept = order[:20], order[20:].sort().values
    zero = torch.zeros(problem.F.p).double()
    w = problem.trained(G).w
    fewer = replace(
        problem.images, x_train=problem.images.x_train[kept], y_train=problem.images.y_train[kept]
    )
    F_r = problem.objective(fewer.x_train, fewer.y_train)
    exact = ul.refine(F_r, zero, gradient=1e-6 * G).w
    half = G / problem.mu  # how far from the minimiser either model may be
    assert row["moved"] == pytest.approx(distance(w, exact), abs=1.001 * half)
    again = problem.trained(G, without=gone.tolist()).w
    assert row["test, retrained"] == share_right(problem, again)
    x, y = proved.features(problem.images.x_train[gone]), problem.images.y_train[gone]
    right = (problem.F.outputs(again, x).argmax(1) == y).double().mean()
    assert row["forgotten, retrained"] == pytest.approx(float(right))
    release = problem.unlearn(w, gone, G, epsilon=1.0, seed=worth.seed_of("noise", 1))
    assert row["test"] == share_right(problem, release.w)
    right = (problem.F.outputs(release.w, x).argmax(1) == y).double().mean()
    assert row["forgotten"] == pytest.approx(float(right))
    assert row["error"] == pytest.approx(distance(release.estimate, again))


def test_a_history_reaches_epsilon_1_at_its_last_request(problem):
    requests, each = 5, 4
    rows = worth.sequence(problem, requests, each, seed=0)
    assert [row["request"] for row in rows] == [1, 2, 3, 4, 5]
    assert {row["holds"] for row in rows} == {"proved"}
    history = [row["history"] for row in rows]
    assert history == sorted(history) and history[-1] == pytest.approx(1.0, rel=1e-6)
    assert all(row["each"] == pytest.approx(history[0]) for row in rows)
    # k releases at one sigma are as one at a distance sqrt(k) as large
    Delta = 2 * problem.gradient_for(1.0) / problem.mu
    sigma = noise_by_hand(math.sqrt(requests) * Delta, 1.0)
    for k, epsilon in enumerate(history, 1):
        assert noise_by_hand(math.sqrt(k) * Delta, epsilon) == pytest.approx(sigma, rel=1e-6)


def test_a_history_forgets_what_is_asked_request_by_request(problem, monkeypatch):
    asked = []
    queue = problem.queue

    def listened(w, G, **budget):
        made = queue(w, G, **budget)
        forget = made.forget
        made.forget = lambda rows: asked.append(rows.tolist()) or forget(rows)
        return made

    monkeypatch.setitem(problem.__dict__, "queue", listened)
    rows = worth.sequence(problem, 3, 4, seed=0)
    assert [len(gone) for gone in asked] == [4, 4, 4] and len(set(sum(asked, []))) == 12
    G = problem.gradient_for(1.0)
    F_r = problem.F.without(asked[0])
    first = float(F_r.gradient(problem.trained(G).w).norm())
    assert rows[0]["gradient"] == pytest.approx(first)


# ---- audit --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_an_audit_finds_no_more_than_was_realised_or_claimed(images, name):
    row = worth.audited(images, MODELS[name], canaries=20, epsilon=2.0, seed=0)
    assert row["holds"] == "proved" and row["claimed"] == 2.0
    problem = MODELS[name](images)
    Delta = 2 * problem.gradient_for(2.0) / problem.mu
    assert 0 < row["distance"] <= Delta
    assert row["sigma"] == pytest.approx(noise_by_hand(Delta, 2.0), rel=1e-6)
    assert row["realised"] <= 2.0
    at_hand = noise_by_hand(row["distance"], row["realised"])
    assert at_hand == pytest.approx(row["sigma"], rel=1e-5)
    assert row["audited"] <= row["ceiling"] and row["audited"] <= row["claimed"]
    assert 0 <= row["right"] <= row["canaries"] == 20


def test_an_audit_knows_the_canaries_before_they_are_forgotten(images):
    """With next to no decay a model knows labels that make no sense, if it was trained on them."""
    row = worth.audited(
        images, lambda found: proved.softmax(found, 1e-4), canaries=20, epsilon=1.0, seed=0
    )
    assert row["right before"] >= 18 > row["right"] and row["before"] > 1
