"""What a `proved` certificate must notice: cases in which its claim was wrong once."""

import math

import pytest
import torch
from torch import nn

import unlearnlib as ul
from unlearnlib.batchnorm import recomputed_buffers

EXACT = dict(M=ul.proved(0, "quadratic"))


def linear(x, y, dtype=torch.float64):
    x, y = torch.tensor(x, dtype=dtype), torch.tensor(y, dtype=dtype)[:, None]
    model = nn.Linear(x.shape[1], 1, bias=False, dtype=dtype)
    return ul.Objective(model, x, y, loss=ul.squared_error)


def two_camps(t):
    """Half the points want w = (t, t), half w = (-t, t); together they are content with (0, t)."""
    x = [[1.0, 0.0], [0.0, 4.0]] * 20
    wanted = [(t, t)] * 20 + [(-t, t)] * 20
    return linear(x, [a * u + b * v for (a, b), (u, v) in zip(x, wanted, strict=True)])


def minimum(F):
    return torch.linalg.lstsq(F.x, F.y[:, 0]).solution


@pytest.mark.parametrize("t", [0.8, 1.5])
def test_a_ball_that_holds_the_retrained_model_voids_a_small_G(t):
    F = two_camps(t)
    w = ul.project(minimum(F), 1.0)
    known = ul.Constants(**EXACT, L=ul.proved(8, ""), lam_min=ul.proved(0.5, ""), G=ul.chosen(1e-8))
    terms = dict(C=1.0, lam=0.0, tol=1e-6, delta=1e-5, epsilon=1.0, constants=known)
    card = ul.unlearn(F, w, range(20, 40), **terms, stationary=False).certificate
    assert card.holds == "void" and not card.useful
    assert any("ball holds the retrained model" in reason for reason in card.reasons)
    assert any("not as stationary as claimed" in reason for reason in card.reasons)
    assert "no promise" in str(card)


def test_where_the_ball_is_wide_enough_the_same_claim_is_proved():
    F = two_camps(0.8)
    known = ul.Constants(**EXACT, L=ul.proved(8, ""), lam_min=ul.proved(0.5, ""), G=ul.chosen(1e-8))
    terms = dict(C=4.0, lam=0.0, tol=1e-9, delta=1e-5, epsilon=1.0, constants=known)
    release = ul.unlearn(F, minimum(F), range(20, 40), **terms)
    retrained = torch.linalg.lstsq(F.x[:20], F.y[:20, 0]).solution
    assert release.certificate.holds == "proved", release.certificate.reasons
    assert (release.estimate - retrained).norm() <= release.certificate.sensitivity.value


def test_a_gradient_of_2LC_and_G_refutes_nothing():
    """The ball holds the retrained model where its gradient is 1/2; w is on the other side."""
    F = linear([[1.0]] * 3, [-8.0, 1.5, 1.5])
    terms = dict(C=1.0, lam=0.0, tol=1e-6, delta=1e-5, epsilon=1.0)
    w = torch.tensor([-1.0], dtype=torch.float64)
    for G, holds in ((1.0, "conditional"), (0.4, "void")):
        known = ul.Constants(M=0.0, L=1.0, lam_min=1.0, G=G)
        card = ul.unlearn(F, w, [0], **terms, constants=known, stationary=False).certificate
        assert card.holds == holds, card.reasons
    assert "exceeds 2LC + G" in card.reasons[0]


IDENTITY = ul.Constants(**EXACT, L=ul.proved(1, ""), lam_min=ul.proved(1, ""), G=ul.chosen(1e-6))


def test_what_one_request_refutes_is_refuted_for_the_sequence():
    F = linear([[1.0]] * 40, [0.1 * k for k in range(40)])
    w = torch.tensor([1.0], dtype=torch.float64)  # the minimum is at 1.95
    terms = dict(C=4.0, lam=0.0, tol=1e-6, delta=1e-5, epsilon=1.0, constants=IDENTITY)
    queue = ul.SequentialUnlearner(F, w, **terms)
    first, second = queue.forget([0]).certificate, queue.forget([1]).certificate
    assert first.holds == second.holds == "void"
    assert second.reasons[-1].startswith("Request 1 was void")
    with pytest.raises(ul.InputError, match="Release 1 is void.*retrain"):
        queue.budget(1e-5)


def test_a_void_request_leaves_the_balls_certificate_alone():
    F = linear([[1.0]] * 40, [0.1 * k for k in range(40)])
    w = torch.tensor([1.0], dtype=torch.float64)
    queue = ul.SequentialUnlearner(F, w, C=4.0, lam=0.0, delta=1e-5, epsilon=1.0)
    assert [queue.forget([k]).certificate.holds for k in range(2)] == ["proved", "proved"]


@pytest.mark.parametrize(("dtype", "holds"), [(torch.float32, "void"), (torch.float64, "proved")])
def test_a_distance_within_rounding_is_not_certified(dtype, holds):
    F = linear([[1.0]] * 8, [0.5] * 8, dtype)
    L = 1.0 if dtype == torch.float32 else ul.proved(1, "")  # single precision proves nothing
    tight = ul.Constants(**EXACT, L=L, lam_min=ul.proved(1, ""), G=ul.chosen(1e-7))
    terms = dict(C=4.0, lam=0.0, tol=1e-9, delta=1e-5, epsilon=1.0, constants=tight)
    card = ul.unlearn(F, torch.tensor([0.5], dtype=dtype), [0], **terms).certificate
    assert card.holds == holds
    assert ("within rounding of torch.float32" in " ".join(card.reasons)) == (holds == "void")


def test_single_precision_proves_nothing():
    F = linear([[1.0]] * 8, [0.5] * 8, torch.float32)
    known = ul.Constants(**EXACT, L=ul.proved(1, ""), lam_min=ul.proved(1, ""), G=ul.chosen(1e-3))
    terms = dict(C=4.0, lam=0.0, tol=1e-6, delta=1e-5, epsilon=1.0, constants=known)
    with pytest.raises(ul.InputError, match=r"float32.*use F.to\(torch.float64\)"):
        ul.unlearn(F, torch.tensor([0.5]), [0], **terms)


def test_measured_constants_that_set_sigma_are_named():
    F = linear([[1.0]] * 8, [0.5] * 8)
    known = ul.Constants(
        **EXACT, L=ul.measured(1, "from below"), lam_min=ul.proved(1, ""), G=ul.chosen(1e-3)
    )
    terms = dict(C=4.0, lam=0.0, tol=1e-6, delta=1e-5, epsilon=1.0, constants=known)
    card = ul.unlearn(F, torch.tensor([0.5], dtype=torch.float64), [0], **terms).certificate
    assert card.holds == "conditional"
    assert any("L: measured" in reason and "round number" in reason for reason in card.reasons)


def kinked(outputs, y):
    """The norm of the error: no second derivative where a sample is fitted exactly."""
    return (outputs - y).norm(dim=1).mean()


@pytest.mark.parametrize("solver", [ul.conjugate_gradient, ul.lissa])
def test_a_hessian_that_does_not_exist_is_refused_and_never_released(solver):
    x, y = torch.ones(6, 1).double(), torch.tensor([[0.5]] + [[1.0]] * 5).double()
    F = ul.Objective(nn.Linear(1, 1, bias=False).double(), x, y, loss=kinked)
    w = torch.tensor([0.5], dtype=torch.float64)
    with pytest.raises(ul.DivergenceError, match="smooth loss"):
        ul.unlearn(F, w, [5], C=4.0, lam=0.1, delta=1e-5, sigma=1.0, solver=solver)


def test_a_loss_that_is_a_sum_is_refused():
    def total(outputs, y):
        return nn.functional.cross_entropy(outputs, y, reduction="sum")

    with pytest.raises(ul.InputError, match="the mean over the batch"):
        ul.Objective(nn.Linear(2, 3), torch.ones(4, 2), torch.zeros(4).long(), loss=total)


def test_the_published_model_carries_the_buffers_of_the_release():
    torch.manual_seed(0)
    x, y = torch.randn(40, 3) + 5, torch.randint(2, (40,))
    F = ul.Objective(nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2)), x, y)
    F = F.with_buffers(recomputed_buffers(F, F.initial()))
    release = ul.unlearn(F, F.initial(), range(5), C=9.0, lam=1.0, delta=1e-5, sigma=0.01, seed=1)
    published = release.module(F)
    torch.testing.assert_close(published[0].running_mean, x[5:].mean(0))
    assert torch.equal(nn.utils.parameters_to_vector(published.parameters()), release.w)
    assert not torch.allclose(published[0].running_mean, F.buffers["0.running_mean"])


def test_claiming_to_know_less_does_not_make_a_certificate_useful():
    F = linear([[1.0]] * 100, [0.5] * 100)
    w = torch.tensor([0.5], dtype=torch.float64)
    for claim in (ul.proved, lambda value, why: ul.assumed(value)):
        known = ul.Constants(
            M=claim(1, ""),
            L=claim(1, ""),
            lam_min=claim(1, ""),
            G=ul.chosen(1e-6),
            sample_gradient=claim(1, ""),
        )
        terms = dict(C=0.9, lam=0.0, tol=1e-6, delta=1e-5, epsilon=1.0, constants=known)
        card = ul.unlearn(F, w, [0], **terms).certificate
        assert card.doing_nothing == pytest.approx(0.02, rel=1e-3) and not card.useful
        assert math.isfinite(card.epsilon)
