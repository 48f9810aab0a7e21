"""The linear system: at the paper's steps, then to a relative residual of 1e-2."""

import time
from dataclasses import replace
from functools import partial

import curvlinops
import pytest
import torch
from conftest import residual, some
from curvlinops.examples import IdentityLinearOperator
from released import Pictures, released_inverse
from torch import nn

import unlearnlib as ul
from unlearnlib.lab.experiments import Experiment

STEPS = "LiSSA, 10 chains of 1,000 steps on batches of 10 (MLP)"
SOLVE = "residual 1e-2 on all retained samples (MLP)"
CNN = "residual 1e-2 on 512 samples (AllCNN with BatchNorm)"
CHAINS, LENGTH, SCALE = 10, 1000, 1000.0  # released code defaults
CAP = 120.0  # seconds
TOL = 1e-2
BLOCK = 64  # columns


@pytest.fixture
def mlp(system):
    return system("mlp_mnist")


@pytest.fixture
def released(mlp):
    """The released recursion on the same system: job(steps, chains, seconds)."""
    images, rows = mlp.d.images, mlp.F.rows
    labels = images.y_train[rows]
    pictures = Pictures(images.x_train[rows], labels, images.mean, images.std)
    damping = mlp.lam + mlp.F.weight_decay
    model = mlp.F.module(mlp.w)
    return lambda **how: released_inverse(
        model, pictures, mlp.b, damping=damping, scale=SCALE, **how
    )


def test_released_at_the_papers_steps(mlp, released, row):
    check = residual(mlp.F, mlp.w, mlp.b, mlp.lam)
    job = lambda: released(steps=LENGTH, chains=CHAINS)  # noqa: E731
    row(STEPS, "released", job, rounds=1, reached=check, against=True)


def test_ours_at_the_papers_steps(mlp, row):
    check = residual(mlp.F, mlp.w, mlp.b, mlp.lam)
    g = torch.Generator().manual_seed(0)

    def job():
        return ul.lissa(
            mlp.F, mlp.w, mlp.b, lam=mlp.lam, scale=SCALE, steps=LENGTH, chains=CHAINS,
            batch_size=10, checks=1, tol=1e-9, generator=g,
        )  # fmt: skip

    row(STEPS, "LiSSA", job, rounds=3, reached=check)


def test_released_until_the_cap(mlp, released, row):
    """As many chains as the time allows, each long enough that what it left of b is below 1e-2.

    What stays is the noise of batches of ten, which no number of steps lowers.
    """
    check = residual(mlp.F, mlp.w, mlp.b, mlp.lam)
    enough = int(5 * SCALE / mlp.lam)
    job = lambda: released(steps=enough, chains=10**9, seconds=CAP)  # noqa: E731
    note = f"not reached: stopped at {CAP:.0f} s, so that the ratios here are lower limits"
    row(SOLVE, "released", job, rounds=1, reached=check, against=True, note=note)


def test_ours_to_the_residual(mlp, row):
    check = residual(mlp.F, mlp.w, mlp.b, mlp.lam)
    job = lambda: ul.conjugate_gradient(mlp.F, mlp.w, mlp.b, lam=mlp.lam, tol=TOL)  # noqa: E731
    row(SOLVE, "conjugate gradient", job, reached=check)


def theirs(F, w, b, lam, inverse, passes):
    """curvlinops' inverse of H + lam I on the samples of F, times b."""
    model = F.module(w)
    x, y = F.batch(slice(0, F.n))
    data = list(zip(x.split(passes), y.split(passes), strict=True))
    H = curvlinops.HessianLinearOperator(
        model.eval(),
        nn.CrossEntropyLoss(),
        list(model.parameters()),
        data,
        check_deterministic=False,
    )
    identity = IdentityLinearOperator([q.shape for q in model.parameters()], w.device, w.dtype)
    return inverse(H + (lam + F.weight_decay) * identity) @ b


def by_cg(steps):
    """Theirs, for as many steps as ours needs: alone it takes ten at least."""
    return partial(
        curvlinops.CGInverseLinearOperator,
        tolerance=TOL,
        eps=1e-12,
        max_iter=steps,
        max_tridiag_iter=1,
    )


def neumann_terms(mlp):
    """The terms that the series needs, and its scale: found beforehand, with products of ours."""
    top = ul.spectrum.gradient_lipschitz(mlp.F, mlp.w) + mlp.lam
    H, x, terms = mlp.F.hessian_at(mlp.w), mlp.b / top, 0
    while float((r := mlp.b - H(x) - mlp.lam * x).norm()) > TOL * float(mlp.b.norm()):
        x, terms = x + r / top, terms + 1
    return terms, 1 / top


@pytest.mark.parametrize("inverse", ["CG", "Neumann"])
def test_curvlinops_to_the_residual(mlp, inverse, row):
    check = residual(mlp.F, mlp.w, mlp.b, mlp.lam)
    steps = ul.conjugate_gradient(mlp.F, mlp.w, mlp.b, lam=mlp.lam, tol=TOL).steps
    terms, scale = neumann_terms(mlp)
    by_neumann = partial(curvlinops.NeumannInverseLinearOperator, num_terms=terms, scale=scale)
    inverses = {"CG": by_cg(steps), "Neumann": by_neumann}
    job = lambda: theirs(mlp.F, mlp.w, mlp.b, mlp.lam, inverses[inverse], 1024)  # noqa: E731
    row(SOLVE, f"curvlinops {inverse}", job, rounds=3 if inverse == "CG" else 1, reached=check)


def test_dense(mlp, row):
    """Form H from p/64 blocks of columns and solve by Cholesky: one block, and a quarter of p."""
    p, few = mlp.F.p, mlp.F.p // 4

    def job():
        started = time.perf_counter()
        mlp.F.hvp(mlp.w, torch.eye(BLOCK, p))
        formed = time.perf_counter()
        H = torch.eye(few).add_(0.1 / few)
        torch.cholesky_solve(mlp.b[:few, None], torch.linalg.cholesky(H))
        return formed - started, time.perf_counter() - formed

    def seconds(found):
        block, solve = found
        return {"seconds": block * p / BLOCK + solve * (p / few) ** 3}

    note = f"exact; extrapolated from {BLOCK} of {p:,} columns, and in p cubed"
    row(SOLVE, "dense solve", job, rounds=1, reached=seconds, note=note)


@pytest.fixture(scope="module")
def allcnn(system):
    """The paper's AllCNN at the profile's width, trained: with GroupNorm curvlinops cannot run."""
    pair = replace(system("allcnn_cifar10").d.pair, norm="batch", epochs=3)
    d = Experiment(pair, pair.seeds[0])
    F = some(d.F_trained, 512)
    return F, d.w, F.gradient(d.w), pair.lam


def test_ours_on_the_cnn(allcnn, row):
    F, w, b, lam = allcnn
    job = lambda: ul.conjugate_gradient(F, w, b, lam=lam, tol=TOL)  # noqa: E731
    row(CNN, "conjugate gradient", job, rounds=3, reached=residual(F, w, b, lam))


def test_curvlinops_on_the_cnn(allcnn, row):
    F, w, b, lam = allcnn
    steps = ul.conjugate_gradient(F, w, b, lam=lam, tol=TOL).steps
    job = lambda: theirs(F, w, b, lam, by_cg(steps), 128)  # noqa: E731
    row(CNN, "curvlinops CG", job, rounds=3, reached=residual(F, w, b, lam), against=True)
