"""Conjugate gradient against the dense solve, and what it says of itself."""

import re

import pytest
import torch

from unlearnlib import InputError, NegativeCurvatureError, conjugate_gradient
from unlearnlib.linearised import Linearised


def dense(problem, lam, weight_decay=0.0):
    p = len(problem.w)
    return problem.hessian_by_hand(weight_decay=weight_decay) + lam * torch.eye(p).double()


def true_residual(A, x, b):
    return float((A @ x - b).norm() / b.norm())


@pytest.mark.parametrize("lam", [3.0, 30.0])
def test_it_agrees_with_the_dense_solve(problem, vectors, lam):
    F, b = problem.objective(weight_decay=0.1), vectors(len(problem.w))
    found = conjugate_gradient(F, problem.w, b, lam=lam, tol=1e-12)
    expected = torch.linalg.solve(dense(problem, lam, 0.1), b)
    torch.testing.assert_close(found.x, expected, rtol=0, atol=1e-8)
    assert found.converged and found.status == "converged"


def test_it_solves_on_the_samples_of_its_objective_alone(softmax, vectors):
    rows = [2, 3, 5, 7]
    F, b = softmax.objective(weight_decay=0.1).only(rows), vectors(15)
    A = softmax.hessian_by_hand(rows, weight_decay=0.1)
    found = conjugate_gradient(F, softmax.w, b, lam=0.0, tol=1e-12)
    torch.testing.assert_close(found.x, torch.linalg.solve(A, b), rtol=0, atol=1e-8)
    assert found.residual_on == "all 4 samples"


@pytest.mark.parametrize("tol", [1e-1, 1e-4, 1e-9])
def test_the_residual_reported_is_the_true_one_and_meets_the_tolerance(softmax, vectors, tol):
    F, b = softmax.objective(), vectors(15)
    found = conjugate_gradient(F, softmax.w, b, lam=0.01, tol=tol)
    residual = true_residual(dense(softmax, 0.01), found.x, b)
    assert found.residual == pytest.approx(residual, rel=1e-3, abs=1e-14)
    assert found.residual <= tol
    assert found.history[-1] == (found.steps, found.residual)
    assert (found.floor, found.noise, found.scale, found.damping) == (0, 0, None, 0)


def test_it_takes_no_more_steps_than_it_has_eigenvalues(quadratic, vectors):
    # five distinct eigenvalues: each of the two outputs has the same Hessian
    F, b = quadratic.objective(), vectors(10)
    found = conjugate_gradient(F, quadratic.w, b, lam=0.0, tol=1e-10)
    assert found.converged and found.steps == 5


def test_a_preconditioner_changes_the_steps_and_not_the_solution(softmax, vectors):
    F, b, A = softmax.objective(), vectors(15), dense(softmax, 1e-3)
    expected, settings = torch.linalg.solve(A, b), dict(lam=1e-3, tol=1e-9)
    crude = A.diagonal()
    near = A + 1e-4 * torch.diag(torch.linspace(0.1, 1, 15).double())
    steps = {}
    for name, P in {
        "none": None,
        "diagonal": lambda v: v / crude,
        "near": lambda v: torch.linalg.solve(near, v),
        "exact": lambda v: torch.linalg.solve(A, v),
    }.items():
        found = conjugate_gradient(F, softmax.w, b, **settings, preconditioner=P)
        torch.testing.assert_close(found.x, expected, rtol=1e-6, atol=1e-6)
        assert found.converged and true_residual(A, found.x, b) <= 1.001e-9
        steps[name] = found.steps
    assert steps["exact"] == 1 < steps["near"] < steps["none"]


def test_a_caller_who_measures_saves_the_last_product(softmax, vectors, monkeypatch):
    F, b, products = softmax.objective(weight_decay=0.1), vectors(15), []
    true = Linearised.__call__
    monkeypatch.setattr(Linearised, "__call__", lambda H, v: products.append(v) or true(H, v))
    once = conjugate_gradient(F, softmax.w, b, lam=0.1, tol=1e-3, checked=False)
    assert len(products) == once.steps and once.residual <= 1e-3
    twice = conjugate_gradient(F, softmax.w, b, lam=0.1, tol=1e-3)
    assert len(products) == 2 * once.steps + 1 and twice.x.equal(once.x)
    assert twice.residual == pytest.approx(once.residual, rel=1e-6)


@pytest.mark.parametrize("after", [0, 1])
def test_a_preconditioner_that_is_not_positive_definite_is_refused(softmax, vectors, after):
    calls = []

    def turned(v):
        calls.append(v)
        return v if len(calls) <= after else -v

    with pytest.raises(InputError, match="preconditioner is not positive definite"):
        conjugate_gradient(
            softmax.objective(), softmax.w, vectors(15), lam=0.1, preconditioner=turned
        )


def test_steps_used_up_is_told_apart(softmax, vectors):
    F, b = softmax.objective(), vectors(15)
    found = conjugate_gradient(F, softmax.w, b, lam=1e-3, tol=1e-10, max_steps=3)
    assert (found.status, found.steps, found.converged) == ("steps used up", 3, False)
    residual = true_residual(dense(softmax, 1e-3), found.x, b)
    assert found.residual == pytest.approx(residual, rel=1e-9)


def test_almost_the_tolerance_is_not_the_tolerance(softmax, vectors):
    F, b = softmax.objective(), vectors(15)
    for steps, residual in conjugate_gradient(F, softmax.w, b, lam=0.1).history[1:-1]:
        found = conjugate_gradient(F, softmax.w, b, lam=0.1, tol=residual / 1.1, max_steps=steps)
        assert not found.converged and found.residual == pytest.approx(residual)


def test_a_tolerance_beyond_float32_stagnates_at_rounding_and_float64_is_the_remedy(softmax):
    softmax.model.float()
    F, w = softmax.objective(), softmax.w.float()
    settings = dict(lam=0.01, tol=1e-10)
    found = conjugate_gradient(F, w, w, **settings)
    assert (found.status, found.converged) == ("stagnated at rounding", False)
    assert 1e-10 < found.residual < 1e-4
    double = conjugate_gradient(F.to(torch.float64), w.double(), w.double(), **settings)
    assert double.converged


def test_restarts_push_float32_to_its_own_rounding(mlp, vectors):
    mlp.model.float()
    w, b = mlp.w.float(), vectors(43).float()
    found = conjugate_gradient(mlp.objective(), w, b, lam=0.25, tol=1e-12)
    A = mlp.hessian_by_hand(at=w.double()) + 0.25 * torch.eye(43).double()
    assert true_residual(A, found.x.double(), b.double()) < 1e-5


def test_a_zero_right_hand_side_has_the_zero_solution(softmax):
    found = conjugate_gradient(softmax.objective(), softmax.w, 0 * softmax.w, lam=0.1)
    assert torch.equal(found.x, torch.zeros(15).double())
    assert (found.residual, found.steps, found.converged) == (0, 0, True)


@pytest.mark.parametrize("factor", [1e-22, 1e-20, 1e19])
def test_the_solution_scales_with_the_right_hand_side_even_in_float32(softmax, factor):
    softmax.model.float()
    F, w = softmax.objective(weight_decay=0.1), softmax.w.float()
    usual, scaled = (conjugate_gradient(F, w, c * w, lam=0.1) for c in (1.0, factor))
    torch.testing.assert_close(scaled.x.double() / factor, usual.x.double(), rtol=1e-3, atol=1e-3)
    assert scaled.residual <= 1e-4


def named_lam(refusal):
    return float(re.search(r"smallest lam that would do is about (\S+)\.$", str(refusal.value))[1])


@pytest.mark.parametrize("kind", ["mlp", "conv"])
def test_negative_curvature_is_refused_with_a_lam_that_works(kind, request, vectors):
    problem = request.getfixturevalue(kind)
    F, b = problem.objective(), vectors(len(problem.w))
    lam_min = float(torch.linalg.eigvalsh(problem.hessian_by_hand())[0])
    message = "not positive definite at lam = 0.01: .* curvature -"
    with pytest.raises(NegativeCurvatureError, match=message) as refusal:
        conjugate_gradient(F, problem.w, b, lam=0.01)
    lam = named_lam(refusal)
    assert -lam_min < lam < 1.05 * -lam_min
    found = conjugate_gradient(F, problem.w, b, lam=lam, max_steps=5000)
    assert found.converged


def test_a_flat_direction_is_refused_with_a_lam_that_works(softmax, vectors):
    F, b = softmax.objective(), vectors(15)  # adding to all three outputs changes nothing
    with pytest.raises(NegativeCurvatureError) as refusal:
        conjugate_gradient(F, softmax.w, b, lam=0.0)
    found = conjugate_gradient(F, softmax.w, b, lam=named_lam(refusal))
    assert found.converged


def test_no_curvature_at_all_is_refused(quadratic, vectors):
    quadratic.loss = lambda outputs, y: (outputs * y).sum(1).mean()
    with pytest.raises(NegativeCurvatureError, match="has curvature 0"):
        conjugate_gradient(quadratic.objective(), quadratic.w, vectors(10), lam=0.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(lam=-0.1), "lam is -0.1; the damping must be a finite number >= 0"),
        (dict(lam=float("nan")), "lam is nan"),
        (dict(tol=0.0), "tol is 0.0; .* must be > 0"),
        (dict(max_steps=2.5), "max_steps is 2.5; .*a whole number"),
        (dict(max_steps=0), "max_steps is 0; it must be at least 1"),
        (dict(b=torch.zeros(14).double()), r"b has shape \(14,\); .* 15 parameters"),
        (dict(b=torch.ones(2, 15).double()), r"b has shape \(2, 15\)"),
        (dict(b=torch.zeros(15)), "b is torch.float32 and the objective torch.float64"),
        (dict(b=torch.zeros(15).double() / 0), "b holds 15 NaN"),
        (dict(w=torch.zeros(15)), "w is torch.float32"),
        (dict(w=torch.zeros(2, 15).double()), r"w has shape \(2, 15\)"),
    ],
)
def test_what_cannot_be_solved_is_refused(softmax, change, message):
    arguments = dict(w=softmax.w, b=softmax.w, lam=0.1) | change
    with pytest.raises(InputError, match=message):
        conjugate_gradient(softmax.objective(), **arguments)
