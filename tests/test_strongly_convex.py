"""The proved certificate: real error below 2G/mu, one noise in both worlds, and what voids it."""

import json
import math
from collections import Counter

import pytest
import torch

import unlearnlib as ul
from unlearnlib import strongly_convex

DECAY = 0.1
TERMS = {"delta": 1e-5, "epsilon": 1.0}


def constants(G=1e-3, mu=DECAY):
    return ul.Constants(lam_min=ul.proved(mu, "decay"), G=ul.chosen(G), sample_gradient=20.0)


def means(y):
    """F(w) = mean ||w - y_i||^2 / 2: its Hessian is the identity, its minimum the mean of y."""
    model = torch.nn.Linear(1, y.shape[1], bias=False, dtype=y.dtype)
    return ul.Objective(model, torch.ones(len(y), 1, dtype=y.dtype), y, loss=ul.squared_error)


@pytest.fixture
def trained(many_softmax):
    """trained(G): objective, and a w of gradient at most G that is no smaller than it must be."""
    problem = many_softmax(60)
    F = problem.objective(weight_decay=DECAY)
    best = ul.refine(F, problem.w, gradient=1e-12).w

    def at(G):
        away = torch.ones_like(best)
        steps = torch.logspace(-14, 0, 400, dtype=torch.float64)
        return F, max(
            (best + t * away for t in steps if F.gradient(best + t * away).norm() <= G),
            key=lambda w: float(F.gradient(w).norm()),
        )

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
        torch.nn.Linear(1, 1, bias=False).double(),
        torch.zeros(3, 1, dtype=torch.float64),
        torch.zeros(3, 1, dtype=torch.float64),
        loss=ul.squared_error,
        weight_decay=0.25,
    )
    w = torch.tensor([4.0], dtype=torch.float64)
    assert float(F.gradient(w).norm()) == 1.0
    assert ul.bounds.strong_convexity_bound(1.0, 0.25, 1.0) == float((w - -w).norm())


def test_the_noise_is_the_same_in_both_worlds(trained):
    F, w = trained(1e-3)
    one, many = (
        ul.unlearn_strongly_convex(F, w, rows, constants=constants(), **TERMS).certificate
        for rows in ([0], list(range(30)))
    )
    hidden = 2e-3 / DECAY * (1 + 2**-40)  # what the sampler's grid adds counts
    assert one.sigma == many.sigma == ul.gaussian_sigma(hidden, 1.0, 1e-5)
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


def test_without_a_seed_the_noise_is_secret_and_never_repeats(trained):
    F, w = trained(1e-3)
    first, second = (
        ul.unlearn_strongly_convex(F, w, [3], constants=constants(), **TERMS) for _ in range(2)
    )
    assert torch.equal(first.estimate, second.estimate) and not torch.equal(first.w, second.w)
    assert first.certificate.noise == "secret, exact"


@pytest.mark.parametrize("unproved", [{"lam_min": DECAY}, {"G": 1e-3}])
def test_an_assumed_mu_or_G_makes_it_conditional(trained, unproved):
    F, w = trained(1e-3)
    claim = ul.Constants(**{"lam_min": ul.proved(DECAY, ""), "G": ul.chosen(1e-3)} | unproved)
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


@pytest.mark.parametrize(("far", "holds"), [(1e9, "proved"), (1e11, "void")])
def test_a_delta_within_rounding_is_void(far, holds):
    F = means(far + torch.arange(8.0, dtype=torch.float64)[:, None])
    claim = ul.Constants(lam_min=ul.proved(1, ""), G=ul.chosen(1e-3))
    card = ul.unlearn_strongly_convex(F, F.y.mean(0), [3], constants=claim, **TERMS).certificate
    assert card.holds == holds
    assert ("rounding of the estimate" in " ".join(card.reasons)) == (holds == "void")


def test_single_precision_proves_nothing(trained):
    F, w = trained(1e-3)
    with pytest.raises(ul.InputError, match=r"float32.*use F.to\(torch.float64\)"):
        ul.unlearn_strongly_convex(
            F.to(torch.float32), w.float(), [3], constants=constants(), **TERMS
        )


def test_the_card_speaks_of_no_ball(trained):
    F, w = trained(1e-3)
    card = ul.unlearn_strongly_convex(F, w, [3], constants=constants(), **TERMS).certificate
    public = json.loads(card.public_json())
    assert public["C"] == "inf" and public["tol"] is None
    assert "strong convexity" in repr(card) and "||w|| <= C" not in repr(card)
    assert "2C" not in repr(card) and "damping" not in repr(card) and public["below 2C"] is None
    assert card.doing_nothing == ul.bounds.stability_bound(60, 1, 20.0, DECAY, 1e-3)
    assert math.isclose(card.measurements["||grad F(w)||, all samples"], F.gradient(w).norm())


@pytest.mark.parametrize(
    "missing",
    [{"G": ul.chosen(1e-3)}, {"lam_min": ul.proved(1.0, "decay")}, {"lam_min": 0.1, "G": 0.0}],
)
def test_without_mu_or_g_there_is_no_such_certificate(softmax, missing):
    F = softmax.objective()
    with pytest.raises(ul.InputError, match="both must be > 0 and G finite"):
        ul.unlearn_strongly_convex(F, softmax.w, [0], constants=ul.Constants(**missing), **TERMS)


def test_batchnorm_is_refused(batchnorm_net, batchnorm_data):
    F = ul.Objective(batchnorm_net, *batchnorm_data)
    with pytest.raises(ul.InputError, match="norm='group'"):
        ul.unlearn_strongly_convex(F, F.initial(), [0], constants=constants(), **TERMS)


# ---- the card checks its own conditions ---------------------------------------------------------


def card_of(F, w, estimate, G, monkeypatch, mu=1.0):
    """The card where refining ends at this estimate and reports that it arrived."""
    said = ul.Refinement(estimate, 0 * estimate, 0.0, [1.0, 0.0], 1.0, 0.0)
    monkeypatch.setattr(strongly_convex, "refine", lambda *a, **b: said)
    claim = ul.Constants(lam_min=ul.proved(mu, ""), G=ul.chosen(G))
    return ul.unlearn_strongly_convex(F, w, [0], constants=claim, **TERMS).certificate


def test_the_gradient_at_the_estimate_is_measured_and_at_most_G(monkeypatch):
    F = means(torch.tensor([[3.0], [1.0], [1.25]], dtype=torch.float64))
    estimate = torch.tensor([1.125 + 0.01], dtype=torch.float64)
    reached = float(F.without([0]).gradient(estimate).norm())
    at, below = reached * (1 + 1e-12), reached * (1 - 1e-12)
    assert card_of(F, F.y.mean(0), estimate, at, monkeypatch).holds == "proved"
    card = card_of(F, F.y.mean(0), estimate, below, monkeypatch)
    assert card.holds == "void" and "refine further, down to G" in card.reasons[0]


def test_the_gradient_of_the_trained_model_is_measured_and_at_most_G(monkeypatch):
    F = means(torch.tensor([[3.0], [1.0], [1.25]], dtype=torch.float64))
    w, exact = F.y.mean(0) + 0.01, F.y[1:].mean(0)
    reached = float(F.gradient(w).norm())
    assert card_of(F, w, exact, reached, monkeypatch).holds == "proved"
    card = card_of(F, w, exact, math.nextafter(reached, 0), monkeypatch)
    assert card.holds == "void" and "train on" in card.reasons[0]


@pytest.mark.parametrize(("claimed", "holds"), [(0.999, "proved"), (1.001, "void")])
def test_a_mu_above_the_least_curvature_is_refuted(claimed, holds, vectors):
    """Least squares whose smallest eigenvalue is known, and no step goes in its direction."""
    x = vectors(40, 6, seed=1)
    model = torch.nn.Linear(6, 1, bias=False).double()
    w = vectors(6, seed=2)
    F = ul.Objective(model, x, (x @ w)[:, None], loss=ul.squared_error, weight_decay=0.01)
    least = float(torch.linalg.eigvalsh(x[1:].T @ x[1:] / 39)[0]) + 0.01
    best = ul.refine(F, w, gradient=1e-12).w
    claim = ul.Constants(lam_min=ul.proved(claimed * least, ""), G=ul.chosen(1e-2))
    card = ul.unlearn_strongly_convex(F, best, [0], constants=claim, **TERMS).certificate
    assert card.holds == holds
    assert ("A direction has curvature" in " ".join(card.reasons)) == (holds == "void")


def test_a_decay_claimed_tenfold_is_refuted(many_softmax):
    problem = many_softmax(200)
    F = problem.objective(weight_decay=1e-4)
    w = ul.refine(F, 0 * problem.w, gradient=1e-8).w
    card = ul.unlearn_strongly_convex(
        F, w, range(5), constants=constants(1e-7, mu=1e-3), **TERMS
    ).certificate
    assert card.holds == "void" and "below mu = 0.001" in card.reasons[-1]


def test_moving_further_than_the_gradients_differ_is_refuted(monkeypatch):
    F = means(torch.tensor([[3.0], [1.0], [1.25]], dtype=torch.float64))
    w, minimum = F.y.mean(0), F.y[1:].mean(0)
    for estimate in (minimum, (w + minimum) / 2):  # moved just as far as its gradient changed
        card = card_of(F, w, estimate, 1.0, monkeypatch, mu=1 + 1e-9)
        assert any("Refining moved" in reason for reason in card.reasons)
        assert card_of(F, w, estimate, 1.0, monkeypatch, mu=1.0).holds == "proved"


def test_a_curvature_that_changes_what_it_is_given_changes_no_card(trained):
    F, w = trained(1e-3)

    def damped(F_r):
        F_r.weight_decay += 0.01
        return F_r

    release = ul.unlearn_strongly_convex(
        F, w, [0, 1], constants=constants(), curvature=damped, **TERMS
    )
    exact = ul.refine(F.without([0, 1]), w, gradient=1e-12).w
    assert release.certificate.holds == "proved" and F.weight_decay == DECAY
    assert (release.estimate - exact).norm() <= 1e-3 / DECAY


def test_the_gradient_at_the_estimate_is_summed_in_another_order(trained, monkeypatch):
    """As where rounding hides it in the order in which refining summed."""
    F, w = trained(1e-3)
    plain = ul.Objective.gradient

    def hidden_in_order(F, w):
        in_order = F.rows is None or bool((F.rows.diff() > 0).all())
        return plain(F, w) * (not in_order)

    monkeypatch.setattr(ul.Objective, "gradient", hidden_in_order)
    card = ul.unlearn_strongly_convex(F, w + 1, [3], constants=constants(), **TERMS).certificate
    assert card.holds == "void" and "refine further" in card.reasons[0]


class SingleInside(torch.nn.Linear):
    def forward(self, x):
        return (x.float() @ self.weight.float().T).double()


def test_a_model_that_computes_in_single_precision_inside_proves_nothing():
    x = torch.rand(9, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    model = SingleInside(2, 1, bias=False).double()
    F = ul.Objective(model, x, x[:, :1], loss=ul.squared_error, weight_decay=0.1)
    claim = ul.Constants(lam_min=ul.proved(0.1, ""), G=ul.chosen(1e-3))
    with pytest.raises(ul.InputError, match="or less inside; use"):
        ul.unlearn_strongly_convex(F, F.initial(), [0], constants=claim, **TERMS)


def test_what_the_check_costs(monkeypatch, trained):
    F, w = trained(1e-3)
    seen = Counter()
    for name in ("gradient", "hvp"):
        plain = getattr(ul.Objective, name)
        monkeypatch.setattr(
            ul.Objective,
            name,
            lambda F, *a, plain=plain, name=name: (seen.update([(name, F.n)]), plain(F, *a))[1],
        )
    card_of(F, w, w, 1e-3, monkeypatch, mu=DECAY)
    assert seen == {("gradient", 60): 1, ("gradient", 59): 1, ("gradient", 1): 1, ("hvp", 59): 1}


def test_the_card_says_what_is_known_to_all(trained):
    F, w = trained(1e-3)
    terms = TERMS | {"constants": constants(), "known": {"tuned on": "other digits"}}
    queue = ul.StronglyConvexUnlearner(F, w, **terms)
    for rows in ([0], [1, 2]):
        card = queue.forget(rows).certificate
        known = json.loads(card.public_json())["known to all"]
        assert known == {
            "samples at the start": 60,
            "weights": 15,
            "weight decay": DECAY,
            "tuned on": "other digits",
        }
        assert "tuned on" in repr(card)


def test_what_is_printed_does_not_hold_the_estimate(trained):
    F, w = trained(1e-3)
    release = ul.unlearn_strongly_convex(F, w, [0], constants=constants(), **TERMS)
    for thing in (release, release.solution):
        assert "estimate=" not in repr(thing) and "w=" not in repr(release.solution)


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


# ---- the kept gradient ---------------------------------------------------------------------------


def test_a_kept_gradient_saves_a_pass_and_a_wrong_one_harms_nothing(trained):
    F, w = trained(1e-6)
    terms = dict(constants=constants(1e-6), seed=0, **TERMS)
    plain = ul.unlearn_strongly_convex(F, w, [0, 1, 2], **terms)
    whole = F.gradient(w)
    kept = ul.unlearn_strongly_convex(F, w, [0, 1, 2], whole=whole, **terms)
    assert kept.solution.gradients == plain.solution.gradients - 1
    torch.testing.assert_close(kept.estimate, plain.estimate)
    for wrong in (whole * 0, whole + 1.0):
        release = ul.unlearn_strongly_convex(F, w, [0, 1, 2], whole=wrong, **terms)
        assert release.certificate.holds == "proved"
        assert F.without([0, 1, 2]).gradient(release.estimate).norm() <= 1e-6


def test_each_request_leaves_the_gradient_from_which_the_next_one_starts(trained):
    F, w = trained(1e-6)
    terms = dict(constants=constants(1e-6), seed=0, **TERMS)
    queue = ul.StronglyConvexUnlearner(F, w, whole=F.gradient(w), **terms)
    for rows in ([0, 1], [2]):
        release = queue.forget(rows)
        left = F.only(queue.kept)
        torch.testing.assert_close(queue.whole, left.gradient(release.estimate))
        assert release.certificate.holds == "proved"
    before = ul.StronglyConvexUnlearner(F, w, **terms)
    assert before.forget([0, 1]).solution.gradients == queue.releases[0].solution.gradients + 1
    assert before.forget([2]).solution.gradients == queue.releases[1].solution.gradients
