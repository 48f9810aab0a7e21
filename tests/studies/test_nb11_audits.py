"""Audits of a small network: the right worlds, nothing seen where nothing is, and all where all."""

import math
from dataclasses import replace

import pytest
import torch
from digits import tiny

from studies.nb11_budget_and_utility import audits, worlds
from studies.nb11_budget_and_utility.worlds import Canaries, Shadows, Sizes
from unlearnlib import (
    Objective,
    conjugate_gradient,
    gaussian_delta,
    gaussian_sigma,
    noise,
    project,
    unlearn,
)
from unlearnlib.errors import InputError
from unlearnlib.evaluation.metrics import accuracy
from unlearnlib.lab import profiles, proved
from unlearnlib.lab.experiments import Experiment
from unlearnlib.lab.settings import DELTA

pytestmark = pytest.mark.usefixtures("own_store")

SMALL = replace(profiles.load("smoke").mlp_mnist, width=0.5)
SIZE = Sizes(images=60, epochs=80, canaries=40, mislabelled=6, models=8)
SIGMAS = (0.0, 0.01, 1.0)


@pytest.fixture(scope="module")
def d(own_store):
    return Experiment(SMALL, 0)


@pytest.fixture(scope="module")
def canaries(d):
    return canary_rows(d)


@pytest.fixture(scope="module")
def shadows(d):
    return shadow_rows(d)


def canary_rows(d, sigmas=SIGMAS):
    run = Canaries(d, SIZE)
    return [
        audits.canary_row(run, model, sigma)
        for model in ("trained", "unlearned", "retrained")
        for sigma in sigmas
    ]


def shadow_rows(d, sigmas=SIGMAS):
    runs = Shadows(d, SIZE)
    return [
        audits.shadow_row(runs, model, sigma)
        for model in ("trained", "unlearned")
        for sigma in sigmas
    ]


def of(rows, model, sigma):
    (row,) = (row for row in rows if (row["model"], row["sigma"]) == (model, sigma))
    return row


def where(d, x):
    """Positions of images among d's training images, found by their pixels."""
    return torch.cdist(x.flatten(1), d.F.x.flatten(1)).argmin(1)


def test_images_keep_their_labels_and_no_image_is_planted_twice(d):
    run = Canaries(d, SIZE)
    at = where(d, run.F.x)
    assert len(at.unique()) == run.F.n == 100
    assert run.F.y[:60].equal(d.F.y[at[:60]])
    assert 0.7 < float((run.F.y[60:] != d.F.y[at[60:]]).double().mean()) < 1.0
    shadows = Shadows(d, SIZE)
    at = where(d, shadows.F.x)
    assert shadows.F.y[:60].equal(d.F.y[at[:60]])
    assert not (shadows.F.y[60:] == d.F.y[at[60:]]).any() and shadows.F.y.max() <= 9


def test_coins_are_fair_and_nobodys_but_the_canaries(d):
    few = [Canaries(replace(d, seed=s), SIZE).chosen for s in range(30)]
    assert abs(float(torch.stack(few).double().mean()) - 0.5) < 0.06
    assert not few[0].equal(few[1])


def test_the_worlds_by_hand(d):
    """The first is trained on the chosen half, the second on no canary at all."""
    run = Canaries(d, SIZE)
    heads = [60 + k for k, coin in enumerate(run.chosen.tolist()) if coin]

    def trained(rows):
        F = Objective(d.F.model, run.F.x[rows], run.F.y[rows], weight_decay=SMALL.weight_decay)
        return F, d.train(F, d.F.initial(), epochs=80).w

    F, w = trained([*range(60), *heads])
    F_r, w_r = trained([*range(60)])
    assert w.equal(run.models["trained"]) and w_r.equal(run.models["retrained"])
    step = conjugate_gradient(F_r, w, F_r.gradient(w), lam=SMALL.lam, tol=1e-6).x
    moved = (run.models["unlearned"] - w).norm()
    assert (project(w - step, SMALL.C) - run.models["unlearned"]).norm() < 1e-2 * moved
    tails = [60 + k for k, coin in enumerate(run.chosen.tolist()) if not coin]
    assert accuracy(run.F.only(heads), w) == 1.0 and accuracy(run.F.only(tails), w) < 0.5
    assert accuracy(run.F.only(heads), w_r) < 0.5


def test_what_is_claimed_is_the_certificate_of_the_release(d, canaries):
    run = Canaries(d, SIZE)
    heads = 60 + run.chosen.nonzero().squeeze(1)
    F = run.F.only(torch.cat([torch.arange(60), heads]))
    for sigma in SIGMAS[1:]:
        card = unlearn(
            F,
            run.models["trained"],
            range(60, F.n),
            C=SMALL.C,
            lam=SMALL.lam,
            delta=DELTA,
            sigma=sigma,
            seed=0,
        ).certificate
        assert of(canaries, "unlearned", sigma)["claimed"] == card.epsilon


def test_what_is_realised_is_of_the_distance_and_below_the_claim(canaries, shadows):
    for row in canaries + shadows:
        if row["model"] == "retrained":
            assert row["claimed"] == row["realised"] == row["distance"] == 0.0
        elif row["sigma"] == 0:
            assert row["claimed"] == row["realised"] == math.inf
        else:
            exact = gaussian_delta(row["distance"], row["sigma"], row["realised"])
            assert exact == pytest.approx(DELTA, rel=1e-4)
            assert 0 < row["realised"] < row["claimed"]
        assert row["audited"] <= min(row["ceiling"], row["claimed"] + 5, row["realised"] + 5)


def test_a_memorised_half_released_without_noise_is_caught_far_above(canaries):
    """Chance would show this much once in a million audits."""
    for model in ("trained", "unlearned"):
        row = of(canaries, model, 0.0)
        assert row["audited"] > 10 and row["right"] > 34
    assert of(canaries, "trained", 0.0)["ceiling"] == pytest.approx(
        40 * math.log(2) + math.log(0.05 - DELTA)
    )


def test_the_model_retrained_without_is_not_refuted(d, canaries):
    """By chance a row shows b or more with probability 0.05 e^-b: 3e-4 here."""
    more = [canary_rows(replace(d, seed=s), (0.0,)) for s in (1, 2)]
    rows = canaries + [row for rows in more for row in rows]
    shown = [row["audited"] for row in rows if row["model"] == "retrained"]
    assert len(shown) == 5 and max(shown) < 5


def test_noise_drowns_the_canaries(canaries):
    assert (
        of(canaries, "unlearned", 1.0)["audited"] < 5 < of(canaries, "unlearned", 0.01)["audited"]
    )


def test_shadow_models_differ_by_start_and_forget_the_same_request(d, shadows):
    run = Shadows(d, SIZE)
    starts = run.d.shadow_starts(8)
    assert len({float(start.norm()) for start in starts}) == 8
    for name in ("trained", "unlearned", "retrained"):
        assert run.models[name].shape == (8, d.F.p)
    alone = d.train(run.F, starts, epochs=80).w
    assert alone.allclose(run.models["trained"], atol=1e-4)
    w, F_r = run.models["trained"][5], run.F.without(range(60, 66))
    step = conjugate_gradient(F_r, w, F_r.gradient(w), lam=SMALL.lam, tol=1e-6).x
    moved = run.models["unlearned"][5] - w
    assert (moved + step).norm() < 1e-2 * moved.norm()
    apart = (run.models["unlearned"] - run.models["retrained"]).double().norm(dim=1)
    assert of(shadows, "unlearned", 0.01)["distance"] == pytest.approx(float(apart.max()))
    right = [accuracy(run.request, w) for w in run.models["trained"]]
    wrong = [accuracy(run.request, w) for w in run.models["retrained"]]
    assert min(right) > max(wrong)


def test_shadow_models_are_told_apart_without_noise_and_not_with_much(shadows):
    for model in ("trained", "unlearned"):
        row = of(shadows, model, 0.0)
        assert row["audited"] == row["ceiling"] > 0
        assert (row["hits"], row["positives"], row["alarms"]) == (6, 6, 0)
        assert of(shadows, model, 1.0)["audited"] == 0.0


def test_models_come_from_the_store_the_second_time(d, canaries, shadows, monkeypatch):
    monkeypatch.setattr(Experiment, "train", lambda *a, **k: pytest.fail("trained again"))
    monkeypatch.setattr(worlds, "unlearn", lambda *a, **k: pytest.fail("forgot again"))
    afresh = Experiment(SMALL, 0)
    assert canary_rows(afresh) == canaries
    assert shadow_rows(afresh) == shadows


def test_sizes_follow_the_images_there_are():
    class Images:
        def __init__(self, n):
            self.F = type("F", (), {"n": n})

    assert worlds.sizes(Images(600)) == Sizes(100, worlds.EPOCHS, 30, 4, 8)
    assert worlds.sizes(Images(4000)) == Sizes(666, worlds.EPOCHS, 200, 6, 10)
    assert worlds.sizes(Images(60_000)) == Sizes(4000, worlds.EPOCHS, 1000, 40, 32)


def test_more_images_than_there_are_is_refused(d):
    with pytest.raises(InputError, match="590 images and 40 to plant .* 600 training images"):
        audits.canary_row(Canaries(d, replace(SIZE, images=590)), "trained", 0.0)


def test_both_worlds_get_noise_of_the_same_sigma_but_not_the_same_draw(d, shadows, monkeypatch):
    drawn, draw = [], noise.sample_noise

    def noted(*terms):
        drawn.append(draw(*terms))
        return drawn[-1]

    monkeypatch.setattr(noise, "sample_noise", noted)
    shadow_rows(d, (0.5,))
    with_it, without = drawn[:2]
    assert float(with_it.std()) == pytest.approx(0.5, rel=0.01)
    assert float(without.std()) == pytest.approx(0.5, rel=0.01)
    assert abs(float((with_it * without).mean())) < 0.01


def test_no_noise_leaves_the_model_as_it_is(d):
    w = d.F.initial()
    assert audits._noisy(d, w, 0.0, "any").equal(w)


# ---- the proved models --------------------------------------------------------------------------

MODELS = {
    "softmax regression": lambda images: proved.softmax(images, 0.01),
    "tanh network": lambda images: proved.network(images, 0, strength=1e3, width=16),
}


def audited(build, epsilon):
    planted, coins = audits.with_canaries(tiny(), 20, seed=0)
    return audits.proved_row(build(planted), coins, epsilon, seed=0)


def test_canaries_get_random_labels_and_fair_coins_and_other_images_keep_theirs():
    images = tiny()
    planted, coins = audits.with_canaries(images, 30, seed=0)
    assert planted.y_train[:30].equal(images.y_train[:30])
    assert 0.6 < float((planted.y_train[30:] != images.y_train[30:]).double().mean()) <= 1
    assert len(coins) == 30 and 5 < int(coins.sum()) < 25
    assert planted.x_train.equal(images.x_train) and planted.y_test.equal(images.y_test)


@pytest.mark.parametrize("name", MODELS)
def test_an_audit_of_a_proof_finds_no_more_than_was_realised_or_claimed(name):
    row = audited(MODELS[name], 2.0)
    assert row["holds"] == "proved" and row["claimed"] == 2.0 and row["verified"]
    problem = MODELS[name](tiny())
    Delta = 2 * problem.gradient_for(2.0) / problem.mu
    assert 0 < row["distance"] <= Delta
    assert row["sigma"] == pytest.approx(gaussian_sigma(Delta, 2.0, DELTA))
    assert row["realised"] <= 2.0
    exact = gaussian_delta(row["distance"], row["sigma"], row["realised"])
    assert exact == pytest.approx(DELTA, rel=1e-4)
    assert row["audited"] <= row["ceiling"] and row["audited"] <= row["claimed"]
    assert 0 <= row["right"] <= row["canaries"] == 20


def test_an_audit_knows_the_canaries_before_they_are_forgotten():
    """With next to no decay a model knows labels that make no sense, if it was trained on them."""
    row = audited(lambda planted: proved.softmax(planted, 1e-4), 1.0)
    assert row["right before"] >= 18 > row["right"] and row["before"] > 1
