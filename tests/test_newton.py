"""The Newton update: exact on a quadratic, and its two forms of the gradient."""

from functools import partial

import pytest
import torch

from unlearnlib import InputError, conjugate_gradient, lissa, newton_update

FORGET = [1, 8, 13, 20, 21]
RETAINED = [i for i in range(30) if i not in FORGET]
DECAY = 0.05
EXACT = dict(rtol=0, atol=1e-8)
tight = partial(conjugate_gradient, tol=1e-13)


def least_squares(x, y):
    """The minimiser of mean ||Wx + b - y||^2 / 2 + (decay/2) ||(W, b)||^2, flat."""
    x = torch.cat([x, torch.ones(len(x), 1).double()], 1)
    A = x.T @ x / len(x) + DECAY * torch.eye(5).double()
    weights = torch.linalg.solve(A, x.T @ y / len(x))
    return torch.cat([weights[:4].T.reshape(-1), weights[4]])


def stationary(problem):
    """A minimiser on all samples, by Newton's method on the loss by hand."""
    w, by_hand = 0 * problem.w, problem.by_hand(weight_decay=DECAY)
    for _ in range(20):
        slope, H = torch.func.grad(by_hand)(w), problem.hessian_by_hand(weight_decay=DECAY, at=w)
        w = w - torch.linalg.solve(H, slope)
    assert torch.func.grad(by_hand)(w).norm() < 1e-12
    return w


def dense_update(problem, w, lam, b):
    H = problem.hessian_by_hand(RETAINED, weight_decay=DECAY, at=w)
    return w - torch.linalg.solve(H + lam * torch.eye(len(w)).double(), b)


def slope_on(problem, w, rows):
    return torch.func.grad(problem.by_hand(rows, weight_decay=DECAY))(w)


def test_on_a_quadratic_it_is_the_retrained_model_from_anywhere(quadratic):
    F = quadratic.objective(weight_decay=DECAY)
    retrained = least_squares(quadratic.x[RETAINED], quadratic.y[RETAINED])
    estimate = newton_update(F, quadratic.w, FORGET, lam=0.0, solver=tight)
    torch.testing.assert_close(estimate, retrained, **EXACT)


def test_on_a_quadratic_the_cheap_form_is_exact_from_the_minimiser(quadratic):
    F = quadratic.objective(weight_decay=DECAY)
    w = least_squares(quadratic.x, quadratic.y)
    retrained = least_squares(quadratic.x[RETAINED], quadratic.y[RETAINED])
    estimate = newton_update(F, w, FORGET, lam=0.0, solver=tight, gradient="forget")
    torch.testing.assert_close(estimate, retrained, **EXACT)
    assert (w - retrained).norm() > 0.01  # there was something to do


def test_it_is_the_damped_step_with_the_hessian_of_the_retained_samples(softmax):
    F, w = softmax.objective(weight_decay=DECAY), softmax.w
    expected = dense_update(softmax, w, 0.7, slope_on(softmax, w, RETAINED))
    estimate = newton_update(F, w, FORGET, lam=0.7, solver=tight)
    torch.testing.assert_close(estimate, expected, **EXACT)


def test_a_gradient_kept_from_training_saves_the_pass_over_the_retained(softmax, monkeypatch):
    F, w = softmax.objective(weight_decay=DECAY), softmax.w
    plain, whole, seen = newton_update(F, w, FORGET, lam=0.7, solver=tight), F.gradient(w), []
    gradient = type(F).gradient
    monkeypatch.setattr(type(F), "gradient", lambda F, w: seen.append(F.n) or gradient(F, w))
    prepared = newton_update(F, w, FORGET, lam=0.7, solver=tight, whole=whole)
    torch.testing.assert_close(prepared, plain, **EXACT)
    assert seen == [len(FORGET)]


def test_both_gradients_agree_where_w_is_stationary(softmax):
    F, w = softmax.objective(weight_decay=DECAY), stationary(softmax)
    retained, forget = (
        newton_update(F, w, FORGET, lam=0.1, solver=tight, gradient=form)
        for form in ("retained", "forget")
    )
    torch.testing.assert_close(retained, forget, **EXACT)
    assert (retained - w).norm() > 0.01


def test_elsewhere_the_cheap_form_misses_the_gradient_on_all_samples(softmax):
    F, w = softmax.objective(weight_decay=DECAY), softmax.w
    retained, forget = (
        newton_update(F, w, FORGET, lam=0.1, solver=tight, gradient=form)
        for form in ("retained", "forget")
    )
    missed = w - dense_update(softmax, w, 0.1, 30 / 25 * slope_on(softmax, w, range(30)))
    torch.testing.assert_close(forget - retained, missed, **EXACT)
    assert (retained - forget).norm() > 0.01


def test_the_cheap_form_adds_the_forget_gradient_times_nu_over_the_rest(softmax):
    F, w = softmax.objective(weight_decay=DECAY), softmax.w
    expected = dense_update(softmax, w, 0.7, -5 / 25 * slope_on(softmax, w, FORGET))
    estimate = newton_update(F, w, FORGET, lam=0.7, solver=tight, gradient="forget")
    torch.testing.assert_close(estimate, expected, **EXACT)


def test_it_forgets_within_a_subset(quadratic):
    F = quadratic.objective(weight_decay=DECAY).only(RETAINED)
    rest = RETAINED[2:]
    estimate = newton_update(F, quadratic.w, [0, 1], lam=0.0, solver=tight)
    retrained = least_squares(quadratic.x[rest], quadratic.y[rest])
    torch.testing.assert_close(estimate, retrained, **EXACT)


def test_lissa_on_full_batches_gives_the_same_update(softmax):
    F, w = softmax.objective(weight_decay=DECAY), softmax.w
    full = partial(lissa, batch_size=25, chains=1, scale=1.0, steps=400, tol=1e-12)
    torch.testing.assert_close(
        newton_update(F, w, FORGET, lam=0.5, solver=full),
        newton_update(F, w, FORGET, lam=0.5, solver=tight),
        **EXACT,
    )


@pytest.mark.parametrize(
    ("forget", "settings", "message"),
    [
        ([], {}, "empty; name at least one"),
        (range(30), {}, "All 30 samples would be forgotten; .* train a new model"),
        ([30], {}, "Index 30 is outside the trained set of 30 samples"),
        ([2, 2], {}, r"Named more than once: \[2\]"),
        ([1], dict(gradient="both"), "gradient is 'both'; choose from 'retained', 'forget'"),
        ([1], dict(lam=-1.0), "lam is -1.0"),
    ],
)
def test_bad_requests_are_refused_and_change_nothing(softmax, forget, settings, message):
    F, w = softmax.objective(), softmax.w.clone()
    with pytest.raises(InputError, match=message):
        newton_update(F, w, forget, **(dict(lam=0.1) | settings))
    assert torch.equal(w, softmax.w) and F.n == 30
