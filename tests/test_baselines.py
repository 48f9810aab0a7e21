"""Each baseline against what it claims to minimise, on problems small enough to know."""

import pytest
import torch

from unlearnlib import InputError, projected_sgd
from unlearnlib.evaluation.baselines import Contrast, fine_tune, negative_gradient, neggrad_plus

FORGET = [2, 7, 11]
STEP = dict(epochs=1, lr=0.1, batch_size=100)


def minimiser(F):
    return projected_sgd(F, F.initial(), epochs=4000, lr=0.1, batch_size=F.n, until_gradient=1e-8).w


def test_fine_tuning_ends_at_the_retrained_model(quadratic):
    F = quadratic.objective(weight_decay=0.1)
    settings = dict(epochs=4000, lr=0.1, batch_size=F.n, until_gradient=1e-8)
    tuned = fine_tune(F, quadratic.w, FORGET, **settings)
    assert torch.allclose(tuned, minimiser(F.without(FORGET)), atol=1e-6)


def test_one_step_of_negative_gradient_climbs_the_forgotten_loss_alone(softmax):
    F, w = softmax.objective(weight_decay=0.3), softmax.w
    climb = torch.func.grad(softmax.by_hand(FORGET))(w)
    stepped = negative_gradient(F, w, FORGET, **STEP)
    assert torch.allclose(stepped, w + 0.1 * climb - 0.1 * 0.3 * w)
    assert softmax.by_hand(FORGET)(stepped) > softmax.by_hand(FORGET)(w)


def test_the_objective_it_was_given_is_left_alone(softmax):
    F, w = softmax.objective(), softmax.w
    before = F.value(w)
    negative_gradient(F, w, FORGET, **STEP)
    neggrad_plus(F, w, FORGET, alpha=0.5, **STEP)
    assert F.value(w) == before


def test_neggrad_plus_at_one_is_fine_tuning(mlp):
    F, w = mlp.objective(weight_decay=0.1), mlp.w
    whole = dict(epochs=3, lr=0.1, batch_size=F.n)
    both = neggrad_plus(F, w, FORGET, alpha=1.0, **whole)
    assert torch.allclose(both, fine_tune(F, w, FORGET, **whole))


def test_the_contrast_is_the_weighted_difference_of_the_two_losses(softmax, rng):
    F, w, alpha = softmax.objective(), softmax.w, 0.7
    contrast = Contrast(F.without(FORGET), F.only(FORGET), alpha, rng(0))
    positions = torch.arange(contrast.n)
    x, y = contrast.batch(positions)
    assert len(x) == 2 * contrast.n
    retained = [i for i in range(30) if i not in FORGET]
    assert torch.equal(x[: contrast.n], softmax.x[retained])
    drawn = x[contrast.n :]
    forgotten = softmax.x[FORGET]
    assert all((row == forgotten).all(1).any() for row in drawn)
    wanted = alpha * softmax.data_loss(w, softmax.x[retained], softmax.y[retained])
    wanted -= (1 - alpha) * softmax.data_loss(w, drawn, y[contrast.n :])
    assert torch.isclose(contrast.batch_loss(w, x, y), wanted)


def test_neggrad_plus_trades_forgotten_for_retained(mlp, rng):
    F = mlp.objective(weight_decay=0.01)
    settings = dict(epochs=30, lr=0.2, batch_size=27)
    kept = neggrad_plus(F, mlp.w, FORGET, alpha=1.0, **settings, generator=rng(0))
    pushed = neggrad_plus(F, mlp.w, FORGET, alpha=0.8, **settings, generator=rng(0))
    assert F.only(FORGET).value(pushed) > F.only(FORGET).value(kept)


@pytest.mark.parametrize("alpha", [-0.1, 1.1])
def test_an_alpha_that_is_no_share_is_refused(softmax, alpha):
    with pytest.raises(InputError, match=r"alpha is .*in \[0, 1\]"):
        neggrad_plus(softmax.objective(), softmax.w, FORGET, alpha=alpha, **STEP)


def test_neggrad_plus_has_no_gradient_to_stop_at(softmax):
    with pytest.raises(InputError, match="set epochs"):
        neggrad_plus(softmax.objective(), softmax.w, FORGET, alpha=0.5, until_gradient=1, **STEP)


def test_all_stay_in_the_ball(softmax):
    F, C = softmax.objective(), 0.5
    start = softmax.w / softmax.w.norm() * C * 0.99
    for method in (fine_tune, negative_gradient):
        assert method(F, start, FORGET, C=C, **STEP | {"lr": 50.0}).norm() <= C
    assert neggrad_plus(F, start, FORGET, alpha=0.5, C=C, **STEP | {"lr": 50.0}).norm() <= C
