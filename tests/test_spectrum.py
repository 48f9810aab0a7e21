"""Curvature as measured, against dense spectra, and which way each measurement errs."""

import pytest
import torch
from torch import nn

from unlearnlib import Objective, squared_error
from unlearnlib.errors import InputError
from unlearnlib.spectrum import (
    extreme_eigenvalues,
    gradient_lipschitz,
    hessian_lipschitz,
    minibatch_curvature,
)

ROUNDING = 1e-9


def spectral_norm(matrix):
    return float(torch.linalg.matrix_norm(matrix, 2))


def with_spectrum(values, vectors, weight_decay=0.0):
    """A least-squares objective whose data term has these eigenvalues."""
    p = len(values)
    rotation = torch.linalg.qr(vectors(p, p))[0]
    x = (p * values).sqrt()[:, None] * rotation
    model, y = nn.Linear(p, 1, bias=False).double(), torch.zeros(p, 1).double()
    return Objective(model, x, y, loss=squared_error, weight_decay=weight_decay)


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_extreme_eigenvalues_are_those_of_the_dense_hessian(problem, weight_decay, rng):
    F = problem.objective(weight_decay=weight_decay)
    values = torch.linalg.eigvalsh(problem.hessian_by_hand(weight_decay=weight_decay))
    found = extreme_eigenvalues(F, problem.w, tol=1e-8, generator=rng())
    assert found.lam_min == pytest.approx(float(values[0]), abs=1e-6)
    assert found.lam_max == pytest.approx(float(values[-1]), abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_lanczos_errs_inwards_and_by_about_tol_times_the_width(vectors, rng, seed):
    F = with_spectrum(torch.linspace(0, 4, 200).double(), vectors)
    found = extreme_eigenvalues(F, F.initial(), tol=1e-2, generator=rng(seed))
    assert -ROUNDING <= found.lam_min <= 2 * 1e-2 * 4
    assert 4 - 2 * 1e-2 * 4 <= found.lam_max <= 4 + ROUNDING


@pytest.mark.parametrize("weight_decay", [0.0, 100.0])
def test_a_shift_of_the_spectrum_does_not_blur_its_ends(vectors, rng, weight_decay):
    F = with_spectrum(torch.linspace(0, 1, 300).double(), vectors, weight_decay)
    found = [extreme_eigenvalues(F, F.initial(), tol=1e-4, generator=rng(s)) for s in range(5)]
    low = sorted(e.lam_min - weight_decay for e in found)
    top = sorted(weight_decay + 1 - e.lam_max for e in found)
    assert low[2] <= 3 * 1e-4  # the median of five starts
    assert top[2] <= 3 * 1e-4


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_a_spectrum_of_one_point_has_equal_ends(vectors, rng, weight_decay):
    F = with_spectrum(torch.zeros(80).double(), vectors, weight_decay)
    found = extreme_eigenvalues(F, F.initial(), generator=rng())
    assert found.lam_min == pytest.approx(weight_decay, abs=1e-9)
    assert found.lam_max == pytest.approx(weight_decay, abs=1e-9)


def test_a_float32_objective_is_looked_at_in_float64(mlp):
    mlp.model.float()
    found = extreme_eigenvalues(mlp.objective(), mlp.w.float())
    values = torch.linalg.eigvalsh(mlp.hessian_by_hand(at=mlp.w.float().double()))
    assert found.lam_min == pytest.approx(float(values[0]), abs=1e-10)


def test_minibatch_curvature_is_the_norm_of_each_minibatch_from_below(mlp, rng):
    F = mlp.objective(weight_decay=0.3).only([4, 5, 6])
    single = [spectral_norm(mlp.hessian_by_hand([i], weight_decay=0.3)) for i in (4, 5, 6)]
    found = minibatch_curvature(F, mlp.w, 1, batches=40, iterations=40, generator=rng())
    assert found.shape == (40,)
    nearest = (found[:, None] - torch.tensor(single)).abs().min(1)
    assert (nearest.values < 0.02 * found).all()
    assert set(nearest.indices.tolist()) == {0, 1, 2}
    assert (found <= torch.tensor(single).double()[nearest.indices] + ROUNDING).all()


def test_minibatches_curve_less_the_larger_they_are(mlp, rng):
    F = mlp.objective()
    small, large = (minibatch_curvature(F, mlp.w, b, generator=rng()).max() for b in (1, 30))
    assert small > 1.5 * large


def test_gradient_lipschitz_is_the_norm_of_the_hessian_from_below(problem, rng):
    exact = spectral_norm(problem.hessian_by_hand(weight_decay=0.3))
    F = problem.objective(weight_decay=0.3)
    found = gradient_lipschitz(F, problem.w, iterations=200, generator=rng())
    assert 0.99 * exact <= found <= exact + ROUNDING


def test_gradient_lipschitz_counts_negative_curvature(quadratic, rng):
    quadratic.loss = lambda outputs, y: -squared_error(outputs, y)
    exact = spectral_norm(quadratic.hessian_by_hand())
    found = gradient_lipschitz(quadratic.objective(), quadratic.w, generator=rng())
    assert 0.99 * exact <= found <= exact + ROUNDING


def test_hessian_lipschitz_is_the_change_over_the_distance_from_below(mlp, vectors, rng):
    u = vectors(43, seed=6)
    there = mlp.w + 0.1 * u / u.norm()
    exact = spectral_norm(mlp.hessian_by_hand(at=there) - mlp.hessian_by_hand()) / 0.1
    settings = dict(iterations=200, generator=rng())
    found = hessian_lipschitz(mlp.objective(), mlp.w, 7 * u, 0.1, **settings)
    assert 0.99 * exact <= found <= exact + 1e-6


def test_a_quadratic_has_no_hessian_lipschitz_constant_to_speak_of(quadratic, vectors, rng):
    F, u = quadratic.objective(weight_decay=0.3), vectors(10)
    assert hessian_lipschitz(F, quadratic.w, u, 0.5, generator=rng()) < 1e-12


def test_power_iteration_without_a_step_is_refused(mlp):
    with pytest.raises(InputError, match="iterations is 0; .*at least 1"):
        gradient_lipschitz(mlp.objective(), mlp.w, iterations=0)
    with pytest.raises(InputError, match="batches is 0.5; .*a whole number"):
        minibatch_curvature(mlp.objective(), mlp.w, 1, batches=0.5)


@pytest.mark.parametrize(("distance", "length"), [(0.0, 1.0), (-1.0, 1.0), (0.1, 0.0)])
def test_a_change_along_nothing_is_refused(mlp, distance, length):
    direction = torch.full_like(mlp.w, length)
    with pytest.raises(InputError, match=f"distance is {distance} .* both must be > 0"):
        hessian_lipschitz(mlp.objective(), mlp.w, direction, distance)
