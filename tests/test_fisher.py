"""The Fisher diagonal against per-sample gradients one by one, and the noise that it shapes."""

import math

import pytest
import torch

from unlearnlib import InputError
from unlearnlib.evaluation import fisher
from unlearnlib.evaluation.fisher import fisher_diagonal, fisher_forgetting


def exact_diagonal(problem):
    """sum over samples and classes of p(y|x) (d log p(y|x)/dw)^2 / n, one gradient at a time."""
    total = torch.zeros_like(problem.w)
    F = problem.objective()
    for x in problem.x:
        odds = F.outputs(problem.w, x[None]).softmax(-1).squeeze(0)
        for label, share in enumerate(odds):
            y = torch.tensor([label])
            slope = torch.func.grad(problem.data_loss)(problem.w, x[None], y)
            total += share * slope**2
    return total / len(problem.x)


@pytest.mark.parametrize("name", ["softmax", "mlp", "conv"])
def test_it_is_unbiased_for_the_fisher_diagonal(name, request, rng):
    problem = request.getfixturevalue(name)
    F, g = problem.objective(), rng(0)
    draws = torch.stack([fisher_diagonal(F, problem.w, generator=g) for _ in range(200)])
    error = draws.mean(0) - exact_diagonal(problem)
    standard_error = draws.std(0) / len(draws) ** 0.5
    assert (error.abs() <= 5 * standard_error + 1e-12).all()


def test_the_fisher_diagonal_is_that_of_gauss_newton(mlp):
    F = mlp.objective()
    dense = torch.stack([F.ggn(mlp.w, unit) for unit in torch.eye(F.p, dtype=F.dtype)])
    assert torch.allclose(exact_diagonal(mlp), dense.diagonal())


def test_squares_of_samples_are_not_the_square_of_the_mean(softmax, rng):
    """Labels drawn from the model have gradients of mean zero, so the latter is near nothing."""
    F, draws = softmax.objective(), range(20)
    found = sum(fisher_diagonal(F, softmax.w, generator=rng(k)).sum() for k in draws) / len(draws)
    assert torch.isclose(found, exact_diagonal(softmax).sum(), rtol=0.2)
    # that of a batch's mean would be n times less
    assert found > F.n / 2 * exact_diagonal(softmax).sum() / F.n


def test_chunks_change_nothing(softmax, rng, monkeypatch):
    F = softmax.objective()
    monkeypatch.setattr(fisher, "CHUNK", 1000)
    whole = fisher_diagonal(F, softmax.w, generator=rng(0))
    monkeypatch.setattr(fisher, "CHUNK", 30)
    assert torch.allclose(whole, fisher_diagonal(F, softmax.w, generator=rng(0)))


def test_the_noise_has_the_curvature_to_the_minus_a_quarter(softmax, rng):
    F, alpha = softmax.objective(weight_decay=0.1), 1e-3
    draws = torch.stack(
        [
            fisher_forgetting(F, softmax.w, [0], alpha=alpha, C=1e9, generator=rng(k)) - softmax.w
            for k in range(600)
        ]
    )
    curvature = exact_diagonal_without_first(softmax) + 0.1
    wanted = alpha * curvature**-0.25
    assert torch.allclose(draws.std(0) / wanted, torch.ones(15, dtype=F.dtype), atol=0.15)


def exact_diagonal_without_first(problem):
    problem.x, problem.y = problem.x[1:], problem.y[1:]
    return exact_diagonal(problem)


def test_no_noise_changes_nothing(softmax):
    F = softmax.objective(weight_decay=0.1)
    assert torch.equal(fisher_forgetting(F, softmax.w, [0], alpha=0.0, C=1e9), softmax.w)


def test_what_has_no_likelihood_or_no_curvature_is_refused(quadratic, softmax):
    with pytest.raises(InputError, match="use cross-entropy"):
        fisher_diagonal(quadratic.objective(), quadratic.w)
    softmax.x[:, 0] = 0.0  # no sample sees the first input
    with pytest.raises(InputError, match="weight_decay > 0"):
        fisher_forgetting(softmax.objective(), softmax.w, [0], alpha=1.0, C=1.0)
    for bad in (-1, math.nan, math.inf):
        with pytest.raises(InputError, match=f"alpha is {bad}"):
            fisher_forgetting(softmax.objective(weight_decay=1), softmax.w, [0], alpha=bad, C=1.0)
    with pytest.raises(InputError, match="C is nan"):
        fisher_forgetting(softmax.objective(weight_decay=1), softmax.w, [0], alpha=1, C=math.nan)
    with pytest.raises(InputError, match="samples is 0.5; .*a whole number"):
        fisher_diagonal(softmax.objective(), softmax.w, samples=0.5)
