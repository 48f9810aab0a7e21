"""The proved certificate: real error below 2G/mu, one noise in both worlds, and what voids it."""

import json
import math

import pytest
import torch

import unlearnlib as ul

DECAY = 0.1
TERMS = {"delta": 1e-5, "epsilon": 1.0}


def constants(G=1e-3, mu=DECAY):
    return ul.Constants(lam_min=ul.proved(mu, "decay"), G=ul.chosen(G), sample_gradient=20.0)


@pytest.fixture
def trained(many_softmax):
    """trained(G): objective, and a w of gradient at most G that is no smaller than it must be."""
    problem = many_softmax(60)
    F = problem.objective(weight_decay=DECAY)
    best = ul.refine(F, problem.w, gradient=1e-12).w

    def at(G):
        away = torch.ones_like(best)
        steps = torch.logspace(-14, 0, 400, dtype=torch.float64)
        return F, max((best + t * away for t in steps if F.gradient(best + t * away).norm() <= G),
                      key=lambda w: float(F.gradient(w).norm()))  # fmt: skip

    return at


@pytest.mark.parametrize("G", [1e-1, 1e-3, 1e-6])
@pytest.mark.parametrize("n_u", [1, 5, 40])
def test_the_real_error_never_exceeds_delta(trained, G, n_u):
    F, w = trained(G)
    forget = list(range(n_u))
    exact = ul.refine(F.without(forget), w, gradient=1e-12).w
    release = ul.unlearn_strongly_convex(F, w, forget, constants=constants(G), **TERMS)
    card = release.certificate
    # any retrained model with a gradient of at most G is within G/mu of the exact one
    assert (release.estimate - exact).norm() <= card.sensitivity.value - G / DECAY
    assert card.sensitivity.value == pytest.approx(2 * G / DECAY)
    assert (card.holds, card.useful) == ("proved", True)


def test_the_bound_is_attained():
    """F(w) = mu w^2/2: two points with gradient G on either side are exactly 2G/mu apart."""
    F = ul.Objective(
        torch.nn.Linear(1, 1, bias=False).double(), torch.zeros(3, 1, dtype=torch.float64),
        torch.zeros(3, 1, dtype=torch.float64), loss=ul.squared_error, weight_decay=0.25,
    )  # fmt: skip
    w = torch.tensor([4.0], dtype=torch.float64)
    assert float(F.gradient(w).norm()) == 1.0
    assert ul.bounds.strong_convexity_bound(1.0, 0.25, 1.0) == float((w - -w).norm())


def test_the_noise_is_the_same_in_both_worlds(trained):
    F, w = trained(1e-3)
    one, many = (
        ul.unlearn_strongly_convex(F, w, rows, constants=constants(), **TERMS).certificate
        for rows in ([0], list(range(30)))
    )
    assert one.sigma == many.sigma == ul.gaussian_sigma(2e-3 / DECAY, 1.0, 1e-5)
    assert one.public_json() == many.public_json()


def test_noise_is_added_to_the_estimate_and_repeats_with_its_seed(trained):
    F, w = trained(1e-3)
    first, second = (
        ul.unlearn_strongly_convex(F, w, [3], constants=constants(), seed=5, **TERMS)
        for _ in range(2)
    )
    assert torch.equal(first.w, second.w)
    noise = ul.noise.sample_noise(w, first.certificate.sigma, seed=5)
    assert torch.allclose(first.w - first.estimate, noise)
    assert first.certificate.noise == "reproducible: not private"


def test_an_assumed_mu_makes_it_conditional(trained):
    F, w = trained(1e-3)
    claim = ul.Constants(lam_min=DECAY, G=ul.chosen(1e-3))
    card = ul.unlearn_strongly_convex(F, w, [3], constants=claim, **TERMS).certificate
    assert card.holds == "conditional"


def test_a_measured_constant_that_it_does_not_rest_on_weakens_nothing(trained):
    F, w = trained(1e-3)
    terms = {"lam_min": ul.proved(DECAY, "decay"), "G": ul.chosen(1e-3)}
    claim = ul.Constants(M=ul.measured(1.0, "from below"), **terms)
    card = ul.unlearn_strongly_convex(F, w, [3], constants=claim, **TERMS).certificate
    assert (card.holds, card.reasons) == ("proved", ())
    claim = ul.Constants(lam_min=ul.measured(DECAY, "from above"), G=ul.chosen(1e-3))
    card = ul.unlearn_strongly_convex(F, w, [3], constants=claim, **TERMS).certificate
    assert card.holds == "conditional" and "lam_min: measured" in card.reasons[0]


def test_training_that_stopped_early_voids_it(trained):
    F, w = trained(1e-1)
    card = ul.unlearn_strongly_convex(F, w, [3], constants=constants(1e-3), **TERMS).certificate
    assert card.holds == "void" and not card.useful
    assert "exceeds G = 0.001: train on" in card.reasons[0]


def test_a_mu_that_is_too_large_is_refuted(trained):
    F, w = trained(1e-6)
    claim = constants(1e-6, mu=50.0)
    card = ul.unlearn_strongly_convex(F, w, range(40), constants=claim, **TERMS).certificate
    assert card.holds == "void" and "claim a smaller lam_min" in card.reasons[0]


def test_a_delta_within_rounding_is_void(trained):
    F, w = trained(1e-6)
    card = ul.unlearn_strongly_convex(
        F.to(torch.float32), w.float(), [3], constants=constants(1e-6, mu=DECAY), **TERMS
    ).certificate
    assert card.sensitivity.value < 1e-4 * float(w.norm())
    assert card.holds == "void" and "F.to(torch.float64)" in card.reasons[-1]


def test_the_card_speaks_of_no_ball(trained):
    F, w = trained(1e-3)
    card = ul.unlearn_strongly_convex(F, w, [3], constants=constants(), **TERMS).certificate
    public = json.loads(card.public_json())
    assert public["C"] == "inf" and public["tol"] is None
    assert "strong convexity" in repr(card) and "||w|| <= C" not in repr(card)
    assert "2C" not in repr(card) and "damping" not in repr(card) and public["below 2C"] is None
    assert card.doing_nothing == ul.bounds.stability_bound(60, 1, 20.0, DECAY, 1e-3)
    assert math.isclose(card.measurements["||grad F(w)||, all samples"], F.gradient(w).norm())


@pytest.mark.parametrize("missing", [{"G": ul.chosen(1e-3)}, {"lam_min": ul.proved(1.0, "decay")},
                                     {"lam_min": 0.1, "G": 0.0}])  # fmt: skip
def test_without_mu_or_g_there_is_no_such_certificate(softmax, missing):
    F = softmax.objective()
    with pytest.raises(ul.InputError, match="both must be > 0 and G finite"):
        ul.unlearn_strongly_convex(
            F, softmax.w, [0], constants=ul.Constants(**missing), **TERMS
        )  # fmt: skip


def test_batchnorm_is_refused(batchnorm_net, batchnorm_data):
    F = ul.Objective(batchnorm_net, *batchnorm_data)
    with pytest.raises(ul.InputError, match="norm='group'"):
        ul.unlearn_strongly_convex(F, F.initial(), [0], constants=constants(), **TERMS)


# ---- sequences ----------------------------------------------------------------------------------


def test_every_request_of_a_sequence_meets_the_same_delta(trained):
    F, w = trained(1e-3)
    queue = ul.StronglyConvexUnlearner(F, w, constants=constants(), **TERMS)
    gone = []
    for rows in ([0, 1], [7], list(range(20, 35))):
        release, gone = queue.forget(rows), gone + rows
        exact = ul.refine(F.without(gone), w, gradient=1e-12).w
        assert (release.estimate - exact).norm() <= 1e-3 / DECAY
        assert release.certificate.holds == "proved"
    budget = queue.budget(1e-5)
    assert budget.each == pytest.approx([1.0] * 3)
    assert budget.history[2] == pytest.approx(
        ul.gaussian_epsilon(math.sqrt(3), queue.releases[0].certificate.sigma / 2e-3 * DECAY, 1e-5)
    )


def test_a_sequence_refuses_at_once_what_its_first_request_would(softmax):
    F = softmax.objective()
    with pytest.raises(ul.InputError, match="lam_min"):
        ul.StronglyConvexUnlearner(F, softmax.w, constants=ul.Constants(), **TERMS)
    with pytest.raises(ul.InputError, match="give exactly one"):
        ul.StronglyConvexUnlearner(F, softmax.w, constants=constants(), delta=1e-5)
