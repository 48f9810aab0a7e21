"""LiSSA as a spectral filter: exact on full batches, on average otherwise, and what it reports."""

import re

import pytest
import torch

from unlearnlib import DivergenceError, InputError, lissa

DECAY = 0.1


def dense(problem, lam, weight_decay=DECAY, rows=slice(None)):
    p = len(problem.w)
    return problem.hessian_by_hand(rows, weight_decay=weight_decay) + lam * torch.eye(p).double()


def filtered(A, b, scale, steps):
    """(1/a)(1 - (1 - a/scale)^(steps+1)) on each eigenvalue a of A."""
    a, Q = torch.linalg.eigh(A)
    return Q @ ((1 - (1 - a / scale) ** (steps + 1)) / a * (Q.T @ b))


def relative(A, x, b):
    return float((A @ x - b).norm() / b.norm())


def named(what, refusal):
    return float(re.search(what + r" ([0-9.e+-]+?)[,.]?( |$)", str(refusal.value))[1])


@pytest.fixture
def F(softmax):
    """Softmax regression with decay: minibatch Hessians are positive definite."""
    return softmax.objective(weight_decay=DECAY)


@pytest.mark.parametrize(("steps", "scale"), [(1, 4.0), (7, 4.0), (100, 9.0)])
def test_on_full_batches_it_is_the_filter(problem, vectors, steps, scale):
    n, b = len(problem.x), vectors(len(problem.w))
    settings = dict(lam=2.0, scale=scale, steps=steps, tol=1e-14)
    objective = problem.objective(weight_decay=DECAY)
    found = lissa(objective, problem.w, b, chains=1, batch_size=n, **settings)
    expected = filtered(dense(problem, 2.0), b, scale, steps)
    torch.testing.assert_close(found.x, expected, rtol=0, atol=1e-8)
    assert (found.steps, found.scale, found.noise, found.floor) == (steps, scale, 0, 0)


def test_the_mean_over_chains_is_the_filter(F, softmax, vectors, rng):
    b, steps, scale = vectors(15), 6, 2.0
    settings = dict(lam=0.2, scale=scale, steps=steps, checks=1, tol=1e-12)
    runs = torch.stack(
        [
            lissa(F, softmax.w, b, chains=200, batch_size=2, generator=rng(seed), **settings).x
            for seed in range(40)
        ]
    )
    standard_error = runs.std(0) / 40**0.5
    expected, next_one = (filtered(dense(softmax, 0.2), b, scale, s) for s in (steps, steps + 1))
    assert ((runs.mean(0) - expected).abs() < 4 * standard_error).all()
    assert (4 * standard_error).norm() < (next_one - expected).norm()  # sharp enough to tell


def test_chains_draw_minibatches_of_their_own(F, softmax, vectors, rng):
    b, settings = vectors(15), dict(lam=0.2, scale=2.0, steps=30, checks=1, tol=1e-12)

    def spread(chains):
        runs = [
            lissa(F, softmax.w, b, chains=chains, batch_size=2, generator=rng(s), **settings).x
            for s in range(20)
        ]
        return float(torch.stack(runs).var(0).sum())

    assert 9 < spread(1) / spread(16) < 28  # 16 chains: a sixteenth of the variance


def test_eigenvalues_far_below_the_effective_damping_are_not_inverted(softmax):
    objective, flat = softmax.objective(), torch.zeros(15).double()
    flat[12:] = 1  # adding to all three outputs changes nothing: eigenvalue lam
    settings = dict(lam=1e-6, scale=2.0, steps=99, tol=1e-12)
    found = lissa(objective, softmax.w, flat, chains=1, batch_size=30, **settings)
    assert found.damping == pytest.approx(2.0 / 100)
    torch.testing.assert_close(found.x, flat / found.damping, rtol=1e-3, atol=1e-8)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["softmax", "quadratic", "mlp", "conv"])
def test_the_automatic_scale_does_not_diverge_and_converges(kind, seed, request, vectors, rng):
    problem = request.getfixturevalue(kind)
    b = vectors(len(problem.w))
    settings = dict(lam=3.0, steps=300, tol=0.1, generator=rng(seed))
    found = lissa(problem.objective(weight_decay=DECAY), problem.w, b, **settings)
    assert found.converged and found.steps < 300
    assert relative(dense(problem, 3.0), found.x, b) <= 0.1


def test_the_automatic_scale_is_half_as_much_again_as_the_largest_curvature(mlp, vectors, rng):
    objective = mlp.objective(weight_decay=DECAY).only([4])  # the only minibatch there is
    norm = float(torch.linalg.matrix_norm(mlp.hessian_by_hand([4], weight_decay=DECAY), 2))
    found = lissa(objective, mlp.w, vectors(43), lam=2.0, steps=5, generator=rng())
    assert 0.95 * 1.5 * norm + 2 <= found.scale <= 1.5 * norm + 2 + 1e-9


def test_the_residual_on_all_samples_is_the_true_one(F, softmax, vectors, rng):
    b, A = vectors(15), dense(softmax, 0.2)
    found = lissa(F, softmax.w, b, lam=0.2, steps=200, tol=1e-6, generator=rng())
    assert found.residual_on == "all 30 samples"
    assert found.residual == pytest.approx(relative(A, found.x, b), abs=1e-10)
    assert found.history[-1] == (found.steps, found.residual)
    assert [s for s, _ in found.history] == list(range(10, found.steps + 1, 10))


def test_it_stops_at_the_first_check_that_meets_the_tolerance(F, softmax, vectors):
    settings = dict(lam=0.2, scale=1.0, steps=1000, checks=500, tol=1e-3, batch_size=30)
    found = lissa(F, softmax.w, vectors(15), **settings)
    assert (found.status, found.converged) == ("converged", True)
    assert found.residual <= 1e-3 < found.history[-2][1]
    assert "converged after" in str(found) and "scale 1" in str(found)


def test_a_slow_bias_is_steps_used_up(F, softmax, vectors, rng):
    settings = dict(lam=1e-3, scale=50.0, steps=100, chains=100, tol=1e-3)
    found = lissa(F, softmax.w, vectors(15), generator=rng(), **settings)
    assert (found.status, found.steps, found.converged) == ("steps used up", 100, False)
    assert found.noise < 0.2 * found.residual


def test_minibatch_noise_is_a_floor_and_its_size_is_told(F, softmax, vectors, rng):
    b, A = vectors(15), dense(softmax, 0.5)
    settings = dict(lam=0.5, scale=1.5, steps=600, chains=4, batch_size=4, tol=1e-6)
    runs = [lissa(F, softmax.w, b, generator=rng(seed), **settings) for seed in range(16)]
    assert {run.status for run in runs} == {"stagnated at the noise floor"}
    assert all(run.steps < 600 and not run.converged for run in runs)
    images = torch.stack([A @ run.x for run in runs])
    spread = float((images - b).square().sum(1).mean().sqrt() / b.norm())
    told = float(torch.tensor([run.noise for run in runs]).square().mean().sqrt())
    assert told == pytest.approx(spread, rel=0.4)


@pytest.mark.parametrize("n", [2400, 40000])
def test_too_many_samples_are_gauged_on_a_subset_with_a_floor(many_softmax, vectors, rng, n):
    problem, b, lam = many_softmax(n), vectors(15), 0.2
    exact = torch.linalg.solve(dense(problem, lam), b)
    subsets = [torch.randperm(n, generator=rng(seed))[:2048] for seed in range(20)]
    shown = [relative(dense(problem, lam, rows=rows), exact, b) for rows in subsets]
    typical = float(torch.tensor(shown).square().mean().sqrt())
    objective = problem.objective(weight_decay=DECAY)
    settings = dict(lam=lam, scale=1.5, steps=60, chains=n // 300, batch_size=4, tol=1e-6)
    runs = [lissa(objective, problem.w, b, generator=rng(s), **settings) for s in range(5)]
    assert {run.residual_on for run in runs} == {f"2,048 of {n:,} samples"}
    floor = float(torch.tensor([run.floor for run in runs]).square().mean().sqrt())
    assert typical / 1.3 < floor < typical * 1.3
    assert all(f"floor there {run.floor:.2g}" in str(run) for run in runs)


def test_a_subset_cannot_tell_better_than_its_floor(many_softmax, vectors, rng):
    objective = many_softmax(40000).objective(weight_decay=DECAY)
    settings = dict(lam=0.2, scale=1.5, steps=60, chains=150, batch_size=4, tol=1e-6)
    w = vectors(15)
    runs = [lissa(objective, w, w, generator=rng(seed), **settings) for seed in range(6)]
    at_floor = [run for run in runs if run.residual <= run.floor]
    assert len(at_floor) >= 2
    assert all(run.status == "stagnated at the noise floor" for run in at_floor)
    assert not any(run.converged for run in at_floor)


@pytest.mark.parametrize("n", [1, 2, 7, 20])
@pytest.mark.parametrize("steps", [1, 3])
def test_few_samples_and_little_work_are_no_obstacle(softmax, vectors, n, steps):
    objective = softmax.objective(range(n), weight_decay=DECAY)
    settings = dict(lam=0.2, steps=steps, chains=1, batch_size=1)
    assert torch.isfinite(lissa(objective, softmax.w, vectors(15), **settings).x).all()


def test_a_zero_right_hand_side_has_the_zero_solution(F, softmax):
    found = lissa(F, softmax.w, 0 * softmax.w, lam=0.1, steps=20)
    assert torch.equal(found.x, torch.zeros(15).double())
    assert (found.residual, found.converged) == (0, True)


@pytest.mark.parametrize("factor", [1e-24, 1e-20, 1e19])
def test_the_report_scales_with_the_right_hand_side_even_in_float32(softmax, factor, rng):
    softmax.model.float()
    F, w = softmax.objective(weight_decay=DECAY), softmax.w.float()
    settings = dict(lam=0.1, scale=2.0, steps=30, tol=1e-4)
    usual, scaled = (lissa(F, w, c * w, generator=rng(), **settings) for c in (1.0, factor))
    assert (scaled.status, scaled.steps) == (usual.status, usual.steps)
    assert scaled.residual == pytest.approx(usual.residual, rel=1e-2)


def test_the_same_seed_gives_the_same_bits_and_another_does_not(F, softmax, vectors, rng):
    first, second, third = (
        lissa(F, softmax.w, vectors(15), lam=0.1, steps=50, generator=rng(s)).x for s in (1, 1, 2)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, third)


@pytest.mark.parametrize("seed", range(3))
def test_a_scale_that_diverges_is_refused_with_one_that_works(F, softmax, vectors, rng, seed):
    b, message = vectors(15), r"diverges at step \d+ with scale = 0.2 and lam = 0.1\. .*of 10 curve"
    with pytest.raises(DivergenceError, match=message) as refusal:
        lissa(F, softmax.w, b, lam=0.1, scale=0.2, generator=rng(seed))
    scale = named("use scale =", refusal)
    found = lissa(F, softmax.w, b, lam=0.1, scale=scale, steps=3000, generator=rng(seed))
    assert found.residual < 0.2


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("batch_size", [10, 30])
def test_negative_curvature_is_refused_with_the_damping_to_use(mlp, vectors, rng, batch_size, seed):
    lam_min = float(torch.linalg.eigvalsh(mlp.hessian_by_hand())[0])
    settings = dict(batch_size=batch_size, steps=2000, generator=rng(seed))
    message = "diverges at .* curvature is negative: .* larger batch_size"
    with pytest.raises(DivergenceError, match=message) as refusal:
        lissa(mlp.objective(), mlp.w, vectors(43), lam=0.0, **settings)
    lam = named("use lam well above", refusal)
    assert lam == pytest.approx(-lam_min, rel=0.02)
    assert lissa(mlp.objective(), mlp.w, vectors(43), lam=5 * lam, **settings).residual < 0.2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1e-30, 1e-3, 0.1])
def test_it_raises_rather_than_return_nan(softmax, vectors, rng, dtype, scale):
    softmax.model.to(dtype)
    w, F = softmax.w.to(dtype), softmax.objective()
    with pytest.raises(DivergenceError, match="use scale = "):
        lissa(F, w, vectors(15).to(dtype), lam=0.0, scale=scale, generator=rng())


def test_a_scale_below_what_lam_alone_needs_is_refused(F, softmax, vectors):
    with pytest.raises(InputError, match=r"0\.5 is too small: .* add 1\.1 .* > 0\.55\. Use 'auto'"):
        lissa(F, softmax.w, vectors(15), lam=1.0, scale=0.5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(scale="atuo"), "scale is 'atuo'; give a number > 0, or 'auto'"),
        (dict(scale=-1.0), "scale is -1.0; give a number > 0"),
        (dict(scale=float("nan")), "scale is nan"),
        (dict(scale=float("inf")), "scale is inf"),
        (dict(steps=2.5), "steps is 2.5; .*a whole number"),
        (dict(steps=0), "steps is 0; it must be at least 1"),
        (dict(chains=0), "chains is 0; it must be at least 1"),
        (dict(batch_size=0), "batch_size is 0; it must be at least 1"),
        (dict(checks=0), "checks is 0; it must be at least 1"),
        (dict(lam=-0.1), "lam is -0.1; the damping must be a finite number >= 0"),
        (dict(tol=0.0), "tol is 0.0; .* must be > 0"),
        (dict(b=torch.ones(2, 15).double()), r"b has shape \(2, 15\)"),
        (dict(b=torch.zeros(15).double() / 0), "b holds 15 NaN"),
    ],
)
def test_arguments_out_of_range_are_refused(F, softmax, change, message):
    arguments = dict(w=softmax.w, b=softmax.w, lam=0.1, steps=2) | change
    with pytest.raises(InputError, match=message):
        lissa(F, **arguments)
