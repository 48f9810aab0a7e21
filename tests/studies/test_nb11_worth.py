"""What a proved certificate costs: noise by epsilon, errors by request, and along a sequence."""

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
from studies.nb11_budget_and_utility import worth
from unlearnlib.evaluation.metrics import distance
from unlearnlib.lab import proved
from unlearnlib.lab.features import PIXELS
from unlearnlib.lab.seeds import generator, seed_of
from unlearnlib.lab.settings import DRAWS

pytestmark = pytest.mark.usefixtures("own_store")

ABOUT = {"pair": "some", "model": "softmax regression, pixels"}
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
        guessed = problem.F.outputs(w, PIXELS(problem.images.x_test)).argmax(1)
    return float((guessed == problem.images.y_test).double().mean())


# ---- prices -------------------------------------------------------------------------------------


def offer_of(problem, w, Delta, seed):
    return worth.Offer({"pair": "some", "model": "any"}, seed, problem.F_test, w, Delta)


def test_a_price_is_the_noise_for_delta_and_the_accuracy_that_it_leaves(problem):
    w = problem.trained(problem.gradient_for(1.0)).w
    Delta = 0.05 / problem.reach
    offer = offer_of(problem, w, Delta, seed=4)
    for epsilon in (0.3, 1.0, 8.0):
        for draw in range(DRAWS):
            row = worth.price_row(offer, epsilon, draw)
            assert row["sigma"] == pytest.approx(noise_by_hand(Delta, epsilon), rel=1e-6)
            noisy = w + ul.noise.sample_noise(w, row["sigma"], seed_of(f"price {draw}", 4))
            assert row["test"] == share_right(problem, noisy)
            assert (row["pair"], row["model"]) == ("some", "any")
            assert (row["seed"], row["Delta"]) == (4, Delta)
            assert (row["epsilon"], row["draw"]) == (epsilon, draw)


def test_no_two_draws_are_alike(problem, monkeypatch):
    """Nor are those of two seeds: the accuracy is taken at weights that differ by sigma sqrt(p)."""
    seen = []
    monkeypatch.setattr(worth, "accuracy", lambda F, w: seen.append(w) or 0.5)
    w = torch.zeros(problem.F.p).double()
    rows = [
        worth.price_row(offer_of(problem, w, 1.0, seed), 1.0, draw)
        for seed in (0, 1)
        for draw in range(DRAWS)
    ]
    assert len(seen) == 2 * DRAWS == len({tuple(v.tolist()) for v in seen})
    spread = torch.cat(seen).std()
    assert float(spread) == pytest.approx(rows[0]["sigma"], rel=0.15)


def test_less_noise_leaves_more_accuracy(problem):
    offer = worth.proved_offer(ABOUT, problem, seed=0)
    hidden, plain = (
        np.mean([worth.price_row(offer, epsilon, draw)["test"] for draw in range(DRAWS)])
        for epsilon in (1e-2, 1e3)
    )
    assert plain - hidden > 0.1
    without = share_right(problem, problem.trained(problem.gradient_for(1.0)).w)
    assert worth.unnoised(problem) == without == pytest.approx(plain, abs=0.02)


def test_a_proved_model_pays_for_one_delta_at_every_epsilon(problem):
    offer = worth.proved_offer(ABOUT, problem, seed=3)
    rows = [worth.price_row(offer, epsilon, draw=0) for epsilon in (0.5, 1.0, 4.0)]
    G = problem.gradient_for(1.0)
    assert {row["Delta"] for row in rows} == {2 * G / problem.mu}
    assert all(row | ABOUT == row and row["seed"] == 3 for row in rows)
    assert problem.reach * rows[1]["sigma"] == pytest.approx(0.1)


def test_the_papers_model_pays_for_the_ball(softmax):
    F = softmax.objective()
    pair = SimpleNamespace(C=7.0, name="a pair")
    d = SimpleNamespace(F_test=F, w=softmax.w, pair=pair, seed=2)
    row = worth.price_row(worth.paper_offer(d), 1.0, draw=0)
    assert (row["pair"], row["model"]) == ("a pair", worth.PAPER)
    assert row["Delta"] == 14.0 and row["seed"] == 2
    assert row["sigma"] == pytest.approx(noise_by_hand(14.0, 1.0), rel=1e-6)


# ---- requests -----------------------------------------------------------------------------------


def test_the_error_of_every_request_is_below_delta(problem):
    G = problem.gradient_for(1.0)
    prepared, order = problem.prepared(G), torch.randperm(60, generator=generator("sizes", 0))
    rows = [worth.request_row(problem, prepared, order[:size], seed=0) for size in (1, 5, 40)]
    assert [row["n_u"] for row in rows] == [1, 5, 40]
    for row in rows:
        assert row["holds"] == "proved" and row["verified"]
        assert row["Delta"] == pytest.approx(2 * G / problem.mu)
        assert 0 < row["error"] <= row["Delta"]
        assert row["moved"] <= row["nothing"]
        r = (2 * row["n_u"] / 60 * problem.sample_gradient + 2 * G) / problem.mu
        assert row["nothing"] == pytest.approx(r)
        assert row["seconds"] > 0 and row["retrain"] > 0
    assert 0 < rows[0]["gradients"] < rows[0]["retrain gradients"]
    assert rows[2]["moved"] > rows[2]["Delta"]


def test_its_distances_and_accuracies_are_those_of_a_retrained_model(problem):
    G = problem.gradient_for(1.0)
    w = problem.trained(G).w
    order = torch.randperm(60, generator=generator("sizes", 1))
    gone, kept = order[:20], order[20:].sort().values
    row = worth.request_row(problem, None, gone, seed=1)
    zero = torch.zeros(problem.F.p).double()
    fewer = replace(
        problem.images, x_train=problem.images.x_train[kept], y_train=problem.images.y_train[kept]
    )
    F_r = problem.objective(fewer.x_train, fewer.y_train)
    exact = ul.refine(F_r, zero, gradient=1e-6 * G).w
    half = G / problem.mu  # how far from the minimiser either model may be
    assert row["moved"] == pytest.approx(distance(w, exact), abs=1.001 * half)
    again = problem.trained(G, without=gone.tolist()).w
    assert row["test, retrained"] == share_right(problem, again)
    x, y = PIXELS(problem.images.x_train[gone]), problem.images.y_train[gone]
    right = (problem.F.outputs(again, x).argmax(1) == y).double().mean()
    assert row["forgotten, retrained"] == pytest.approx(float(right))
    before = (problem.F.outputs(w, x).argmax(1) == y).double().mean()
    assert row["forgotten, trained"] == pytest.approx(float(before))
    slope = problem.trained(G).slope
    release = problem.unlearn(w, gone, G, epsilon=1.0, seed=seed_of("noise", 1), whole=slope)
    assert row["test"] == share_right(problem, release.w)
    right = (problem.F.outputs(release.w, x).argmax(1) == y).double().mean()
    assert row["forgotten"] == pytest.approx(float(right))
    assert row["error"] == pytest.approx(distance(release.estimate, again))


def test_requests_name_random_images_the_worst_and_a_class(problem):
    w = problem.trained(problem.gradient_for(1.0)).w
    asked = worth.requests(problem, w, forget=7, seed=3)
    order = torch.randperm(60, generator=generator("sizes", 3))
    assert asked["one image"].tolist() == order[:1].tolist()
    assert asked[worth.AS_PAPER].tolist() == order[:7].tolist()
    assert asked["a tenth"].tolist() == order[:6].tolist()
    losses = torch.tensor([problem.F.only([i]).value(w) for i in range(60)])
    worst = asked["those of largest loss"]
    assert len(worst) == 7
    left = losses[[i for i in range(60) if i not in worst]]
    assert losses[worst].min() >= left.max()
    of_class = asked["all of one class"]
    last = len(problem.images.classes) - 1
    assert of_class.tolist() == (problem.images.y_train == last).nonzero().flatten().tolist()
    assert len(of_class) > 0


def test_a_queue_spends_epsilon_1_at_its_last_request(problem):
    count = 5
    queue = worth.planned_queue(problem, count, seed=0)
    parts = worth.random_requests(problem, count, 4, seed=0)
    rows = [
        worth.queued_row(problem, queue, part, checked=k % 2 == 0) for k, part in enumerate(parts)
    ]
    assert {row["holds"] for row in rows} == {"proved"}
    assert [row["verified"] for row in rows] == [True, None, True, None, True]
    budget = queue.budget(1e-5)
    history = list(budget.history)
    assert history == sorted(history) and history[-1] == pytest.approx(1.0, rel=1e-6)
    assert all(each == pytest.approx(history[0]) for each in budget.each)
    # k releases at one sigma are as one at a distance sqrt(k) as large
    Delta = 2 * problem.gradient_for(1.0, requests=count) / problem.mu
    sigma = noise_by_hand(math.sqrt(count) * Delta, 1.0)
    for k, epsilon in enumerate(history, 1):
        assert noise_by_hand(math.sqrt(k) * Delta, epsilon) == pytest.approx(sigma, rel=1e-6)
    # and each bears no more noise than a release that has epsilon = 1 for itself
    assert problem.reach * sigma == pytest.approx(0.1)


def test_a_queue_forgets_what_is_asked_request_by_request(problem):
    queue = worth.planned_queue(problem, 3, seed=0)
    parts = worth.random_requests(problem, 3, 4, seed=0)
    assert [len(part) for part in parts] == [4, 4, 4] and len(torch.cat(parts).unique()) == 12
    assert queue.w.equal(problem.trained(problem.gradient_for(1.0, requests=3)).w)
    for k, part in enumerate(parts, 1):
        before = queue.w
        row = worth.queued_row(problem, queue, part, checked=False)
        gone = torch.cat(parts[:k])
        assert queue.kept.tolist() == sorted({*range(60)} - {*gone.tolist()})
        slope = float(problem.F.without(gone).gradient(before).norm())
        assert row["gradient"] == pytest.approx(slope)


def test_a_preconditioner_that_is_made_again_knows_only_what_is_left(problem):
    queue = worth.planned_queue(problem, 2, seed=0)
    gone, later = worth.random_requests(problem, 2, 20, seed=0)
    queue.forget(gone)
    worth.prepare_again(problem, queue)
    v = torch.ones(problem.F.p)
    made = queue.preconditioner(problem.F.without(gone), queue.w)(v)
    left, everyone = (
        problem.prepare(F, queue.w).P(v) for F in (problem.F.without(gone), problem.F)
    )
    torch.testing.assert_close(made, left, rtol=1e-4, atol=1e-5)
    assert float((made - left).norm()) < 1e-2 * float((made - everyone).norm())
    assert queue.forget(later).certificate.holds == "proved"
