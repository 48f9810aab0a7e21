"""One request, against brute-force retraining; what voids a certificate; what is refused."""

import json
import math
import re
from dataclasses import replace
from unittest.mock import Mock

import mpmath
import numpy as np
import pytest
import torch
from oracles import minimiser
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits as log_loss

import unlearnlib as ul

# Logistic regression on inputs of norm 1, decay 1: known before any data is seen. C holds every
# minimiser, since ||w|| <= ||grad F(0)|| / decay <= 1/2.
SMOOTH = dict(
    M=ul.proved(1 / (6 * math.sqrt(3)), "max |sigmoid''|, ||x|| = 1"),
    L=ul.proved(1.25, "1/4 + decay"),
    lam_min=ul.proved(1.0, "decay"),
    G=ul.chosen(1e-6),
    sample_gradient=ul.proved(1.0, "|sigmoid - y| < 1"),
)
IDENTITY = dict(M=ul.proved(0, "quadratic"), L=ul.proved(1, ""), lam_min=ul.proved(1, ""))
TERMS = dict(C=0.5, lam=0.0, delta=1e-5, tol=1e-6, epsilon=1.0, constants=ul.Constants(**SMOOTH))


def logistic(seed, n=40, d=3):
    """(F, w at the minimum)."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    y = (x[:, :1] > 0).astype(float)
    model = nn.Linear(d, 1, bias=False, dtype=torch.float64)
    F = ul.Objective(model, torch.tensor(x), torch.tensor(y), loss=log_loss, weight_decay=1.0)
    return F, torch.tensor(minimiser(x, y[:, 0]))


def retrained(F, forget):
    x, y = (np.delete(data.numpy(), forget, 0) for data in (F.x, F.y[:, 0]))
    return torch.tensor(minimiser(x, y))


def means(y):
    """F(w) = mean ||w - y_i||^2 / 2: its Hessian is the identity, its minimum the mean of y."""
    model = nn.Linear(1, y.shape[1], bias=False, dtype=y.dtype)
    return ul.Objective(model, torch.ones(len(y), 1, dtype=y.dtype), y, loss=ul.squared_error)


def reports(max_steps=1000, **said):
    """Conjugate gradient whose solution says something else about itself."""

    def solver(*args, **terms):
        return replace(ul.conjugate_gradient(*args, max_steps=max_steps, **terms), **said)

    return solver


# ---- the claim ----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_the_retrained_model_is_never_further_than_certified(seed):
    F, w = logistic(seed)
    rng = np.random.default_rng(seed)
    for n_u in (1, 3, 8, 20, 35):
        forget = rng.permutation(F.n)[:n_u]
        release = ul.unlearn(F, w, forget, **TERMS)
        distance = float((release.estimate - retrained(F, forget)).norm())
        assert release.certificate.holds == "proved", release.certificate
        assert 0 < distance <= release.certificate.sensitivity.value < 2 * TERMS["C"]


def test_the_certified_distance_is_attained():
    # trained at -C, retrained at C; the step covers 1 / (1 + lam) of the way
    F, known = means(torch.tensor([[-10.0], [2], [2]]).double()), ul.Constants(**IDENTITY)
    terms = TERMS | dict(C=2.0, lam=0.5, constants=replace(known, G=ul.chosen(1e-9)))
    release = ul.unlearn(F, torch.tensor([-2.0]).double(), [0], **terms)
    left = 4 * 0.5 / 1.5
    assert release.certificate.holds == "proved"
    assert abs(float(release.estimate) - 2.0) == pytest.approx(left, rel=1e-6)
    assert release.certificate.sensitivity.value == pytest.approx(left, rel=1e-5)


def test_the_solver_is_given_the_retained_system():
    F, w = logistic(0)
    solver = Mock(side_effect=ul.conjugate_gradient)
    ul.unlearn(F, w, [0, 5], solver=solver, **TERMS | dict(lam=0.25))
    (F_r, at, b), terms = solver.call_args
    x, y = (np.delete(data.numpy(), [0, 5], 0) for data in (F.x, F.y[:, 0]))
    expected = x.T @ (1 / (1 + np.exp(-x @ w.numpy())) - y) / 38 + w.numpy()
    assert F_r.n == 38 and torch.equal(at, w) and terms == dict(lam=0.25, tol=1e-6)
    assert np.allclose(b.numpy(), expected, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [-100.0, 3.0])
def test_the_estimate_stays_in_the_ball_whatever_the_solver_says(dtype, size):
    F = means(torch.zeros(5, 300, dtype=dtype))
    solver = reports(x=torch.full((300,), size, dtype=dtype))
    release = ul.unlearn(F, F.initial() * 0, [0], solver=solver, **TERMS)
    assert 0.499 < float(release.estimate.double().norm()) <= 0.5


# ---- rule 1: sigma knows nothing of the data. Rule 2: what holds, what is useful ----------------


def numbers(text):
    """The numbers in a JSON text that are not 0 to six digits."""
    found = re.findall(r"(?<=: )-?\d[\d.e+-]*", text)
    return {f"{float(number):.6g}" for number in found if abs(float(number)) > 1e-12}


def test_sigma_and_the_public_part_do_not_depend_on_the_data():
    cases = [(0, 40, [1]), (1, 23, range(9)), (2, 60, [5, 7])]
    cards = [ul.unlearn(*logistic(seed, n), u, **TERMS).certificate for seed, n, u in cases]
    assert len({c.sigma for c in cards}) == len({c.public_json() for c in cards}) == 1
    assert len({c.private_json() for c in cards}) == 3


def test_what_was_measured_is_right_and_stays_private():
    F, w = logistic(3)
    release = ul.unlearn(F, w, range(7), **TERMS)
    found = json.loads(release.certificate.private_json())["measurements"]
    assert (found["samples trained on"], found["samples forgotten"]) == (40, 7)
    assert found["length of the update"] == pytest.approx(float((w - release.estimate).norm()))
    private = numbers(release.certificate.private_json())
    assert len(private) > 5 and not private & numbers(release.certificate.public_json())


def test_sigma_hides_the_certified_distance_at_epsilon_1():
    c = ul.unlearn(*logistic(0), [3], **TERMS).certificate
    mu = mpmath.mpf(c.sensitivity.value) / c.sigma
    spent = mpmath.ncdf(mu / 2 - 1 / mu) - mpmath.e * mpmath.ncdf(-mu / 2 - 1 / mu)
    assert float(spent) == pytest.approx(1e-5, rel=1e-9)


@pytest.mark.parametrize(("n_u", "useful"), [(1, False), (10, True)])
def test_useful_means_better_than_strong_convexity_alone(n_u, useful):
    # sensitivity 0.048; without an update 2 n_u / n, since g = mu = 1
    c = ul.unlearn(*logistic(0, n=60), range(n_u), **TERMS).certificate
    assert c.doing_nothing == pytest.approx(2 * n_u / 60, rel=1e-3) and c.useful is useful


# What voids a certificate: wrong constants, other terms, what the reason says.
FALSE = {
    "G": (dict(), {}, r"grad F\(w\).* exceeds G = 1e-06"),
    "L by gradient": (dict(M=0, L=1e-4, lam_min=1e-5), {}, r"exceeds 2LC \+ G.*L = 0\.0001"),
    "L by curvature": (dict(M=0, L=0.5, lam_min=0.4), {}, r"curvature 1\..*L = 0\.5"),
    "lam_min": (dict(L=20, lam_min=10), {}, r"curvature 1\..*below lam_min = 10"),
    "residual": ({}, dict(max_steps=1), r"residual of 0\.0.*tol = 1e-06"),
    "no residual": ({}, dict(residual=math.nan), r"residual of nan.*tol = 1e-06"),
    "a subset": ({}, dict(residual_on="9 of 33 samples"), "on 9 of 33 samples only"),
}


def refuted(case):
    constants, said, message = FALSE[case]
    F, w = logistic(0)
    terms = TERMS | dict(constants=ul.Constants(**SMOOTH | constants), solver=reports(**said))
    return ul.unlearn(F, 0.9 * w if case == "G" else w, range(7), **terms).certificate, message


@pytest.mark.parametrize("case", FALSE)
def test_a_condition_that_the_data_contradicts_voids(case):
    certificate, message = refuted(case)
    assert certificate.holds == "void"
    assert any(re.search(message, reason) for reason in certificate.reasons), certificate.reasons


@pytest.mark.parametrize("case", FALSE)
def test_each_reason_names_a_remedy(case):
    verbs = r"(?i)\b(train|retrain|take|give|use|set|claim|lower|raise|certify)\b"
    for reason in refuted(case)[0].reasons:
        assert re.search(verbs, reason), reason


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rounding_refutes_nothing(dtype):
    known = ul.Constants(**IDENTITY, G=ul.chosen(1e-3))
    for seed in range(40):
        generator = torch.Generator().manual_seed(seed)
        F = means(0.1 * torch.randn(50, 7, generator=generator, dtype=dtype))
        c = ul.unlearn(F, F.y.mean(0), [0, 1], **TERMS | dict(constants=known, C=1.0)).certificate
        assert c.holds == "proved", c.reasons


def test_batchnorm_gets_the_ball_and_fresh_buffers():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).double()
    x, terms = torch.randn(30, 3).double(), dict(C=9.0, lam=50.0, epsilon=None, sigma=0.1)
    F = ul.Objective(model, x, torch.randint(2, (30,)))
    release = ul.unlearn(F, F.initial(), [0, 29], **TERMS | terms)
    hidden = F.module(release.w)[0](x[1:29]).detach()
    assert release.certificate.sensitivity.value == 18 and release.certificate.holds == "proved"
    assert torch.allclose(release.buffers["1.running_mean"], hidden.mean(0))
    assert torch.allclose(release.buffers["1.running_var"], hidden.var(0))
    assert not F.buffers["1.running_mean"].any()


def test_noise_has_sigma_in_each_coordinate():
    F = means(torch.zeros(3, 4000))
    terms = TERMS | dict(epsilon=None, sigma=0.3)
    first, second = (ul.unlearn(F, F.initial() * 0, [0], **terms) for _ in range(2))
    z = (first.w - first.estimate) / 0.3
    assert abs(float(z.mean())) < 5 / math.sqrt(4000) and abs(float(z.std()) - 1) < 5 / 89
    assert first.certificate.noise == "secret" and not torch.equal(first.w, second.w)


def test_a_seed_is_confessed():
    first, again = (ul.unlearn(*logistic(0), [1], seed=5, **TERMS) for _ in range(2))
    assert torch.equal(first.w, again.w)
    assert json.loads(first.certificate.public_json())["noise"] == "reproducible: not private"


REFUSED = [
    (dict(forget=[]), "empty"),
    (dict(forget=range(40)), "All 40 .*at least one"),
    (dict(forget=[40]), "Index 40 .*40 samples.*0 to 39"),
    (dict(forget=[-1]), "Index -1 .*40 samples"),
    (dict(forget=[3, 3]), r"more than once: \[3\]"),
    (dict(C=0.01), r"\|\|w\|\| = 0\..*C = 0\.01.*Train with"),
    (dict(C=math.inf), "C is infinite.*finite C"),
    (dict(epsilon=None), "epsilon is None and sigma is None.*exactly one"),
    (dict(sigma=2.0), "epsilon is 1.0 and sigma is 2.0.*exactly one"),
    (dict(w=torch.zeros(2, 3).double()), r"\(2, 3\).*one model"),
    (dict(lam=1.0, constants=ul.Constants(L=2)), "lam = 1 .*lam_min = -2 .*lam > 2"),
    (dict(lam=-0.5), r"lam (is|=) -0\.5"),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "message"), REFUSED)
def test_bad_input_is_refused_and_changes_nothing(wrong, message):
    F, w = logistic(0)
    state, kept = torch.get_rng_state(), (w.clone(), F.initial(), F.x.clone(), F.y.clone())
    with pytest.raises(ul.InputError, match=message):
        ul.unlearn(**dict(F=F, w=w, forget=[1]) | TERMS | wrong)
    assert all(map(torch.equal, (w, F.initial(), F.x, F.y), kept)) and F.n == 40
    assert torch.equal(state, torch.get_rng_state())
