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
    terms = TERMS | dict(constants=ul.Constants())
    release = ul.unlearn(F, F.initial() * 0, [0], solver=solver, **terms)
    assert 0.499 < float(release.estimate.double().norm()) <= 0.5


# ---- the card checks its own conditions ---------------------------------------------------------


def plane(n=40):
    """(F, w): least squares in two directions, with curvature 4 and 1/4 on any samples kept."""
    pair = [[math.sqrt(8.0), 0.0], [0.0, math.sqrt(0.5)]]
    x = torch.tensor(pair * (n // 2), dtype=torch.float64)
    y = torch.linspace(-0.2, 0.2, n, dtype=torch.float64)[:, None]
    F = ul.Objective(nn.Linear(2, 1, bias=False).double(), x, y, loss=ul.squared_error)
    return F, torch.linalg.lstsq(x, y[:, 0]).solution


PLANE = ul.Constants(
    M=ul.proved(0, ""), L=ul.proved(4.5, ""), lam_min=ul.proved(0.2, ""), G=ul.chosen(1e-3)
)


def ending_at(point):
    """A solver whose update ends at this point, and that says it met any tolerance."""

    def solver(F_r, w, b, *, lam, tol):
        return replace(ul.conjugate_gradient(F_r, w, b, lam=lam, tol=tol), x=w - point)

    return solver


@pytest.mark.parametrize(("times", "voids"), [(1 - 1e-9, False), (1 + 1e-9, True)])
def test_the_residual_is_measured_and_at_most_tol(times, voids):
    F, w = plane()
    terms = TERMS | dict(constants=PLANE, C=2.0, tol=1e-3)
    F_r = F.without([0, 1])
    x = torch.linalg.solve(F_r.hessian(w), F_r.gradient(w))
    solver = ending_at(w - (1 + times * 1e-3) * x)
    card = ul.unlearn(F, w, [0, 1], solver=solver, **terms).certificate
    assert any("residual of 0.001 on all retained" in reason for reason in card.reasons) is voids
    assert card.holds == ("void" if voids else "proved"), card.reasons


@pytest.mark.parametrize(("times", "voids"), [(1 - 1e-9, False), (1 + 1e-9, True)])
def test_a_gradient_that_leaves_more_than_delta_voids(times, voids):
    """In the steep direction an error of Delta mu/4 already shows a gradient of mu Delta."""
    F, w = plane()
    terms = TERMS | dict(constants=PLANE, C=2.0, tol=0.01)
    F_r = F.without([0, 1])
    Delta = ul.unlearn(F, w, [0, 1], **terms).certificate.sensitivity.value
    exact = torch.linalg.lstsq(F.x[2:], F.y[2:, 0]).solution
    off = torch.tensor([times * (0.2 * Delta - 1e-3) / 4, 0.0], dtype=torch.float64)
    card = ul.unlearn(F, w, [0, 1], solver=ending_at(exact + off), **terms).certificate
    assert F_r.gradient(exact + off)[1].abs() < 1e-12
    assert any("exceeds Delta" in reason for reason in card.reasons) is voids


@pytest.mark.parametrize("below", [False, True])
def test_the_gradient_of_the_trained_model_is_at_most_G(below):
    F = means(torch.tensor([[3.0], [1.0], [1.25]]).double())
    w = F.y.mean(0) + 0.01
    G = float(F.gradient(w).norm())
    G *= 1 - 1e-9 if below else 1 + 1e-9
    terms = TERMS | dict(constants=ul.Constants(**IDENTITY, G=ul.chosen(G)), C=4.0)
    card = ul.unlearn(F, w, [0], **terms).certificate
    assert any("train on, down to G" in reason for reason in card.reasons) is below


@pytest.mark.parametrize(
    ("step", "met", "said"),
    [
        ([0.1, 0.0], 4.0, "meets curvature 4, above L = 3.9"),
        ([0.0, 0.1], 0.25, "meets curvature 0.25, below lam_min = 0.5"),
    ],
)
def test_the_curvature_met_is_that_along_the_update_whoever_made_it(step, met, said):
    F, w = plane()
    wrong = replace(PLANE, L=ul.proved(3.9, ""), lam_min=ul.proved(0.5, ""))
    terms = TERMS | dict(constants=wrong, C=2.0, lam=0.5)
    solver = ending_at(w - torch.tensor(step, dtype=torch.float64))
    card = ul.unlearn(F, w, [0, 1], solver=solver, **terms).certificate
    found = card.measurements["curvature of H + lam I along the update"]
    assert found == pytest.approx(met + 0.5)
    assert any(said in reason for reason in card.reasons), card.reasons


@pytest.mark.parametrize("samples", [5, 10])
def test_a_hessian_of_a_few_samples_is_no_proof(samples):
    """The solver reports the residual on those it took, which tells nothing of the others."""
    torch.manual_seed(0)
    x, y = torch.randn(200, 8).double(), torch.randn(200, 1).double()
    x = x / x.norm(dim=1, keepdim=True)
    F = ul.Objective(
        nn.Linear(8, 1, bias=False).double(), x, y, loss=ul.squared_error, weight_decay=0.02
    )
    w = ul.refine(F, F.initial(), gradient=1e-12).w
    known = dict(
        M=ul.proved(0, ""), L=ul.proved(1.02, ""), lam_min=ul.proved(0.02, ""), G=ul.chosen(1e-9)
    )
    terms = TERMS | dict(constants=ul.Constants(**known), C=4.0, tol=1e-4)

    def of_a_few(F_r, w, b, **terms):
        return ul.conjugate_gradient(F_r.only(range(samples)), w, b, **terms)

    release = ul.unlearn(F, w, range(60), solver=of_a_few, **terms)
    assert release.solution.residual <= 1e-4
    assert release.solution.residual_on == f"all {samples} samples"
    exact = ul.refine(F.without(range(60)), w, gradient=1e-13).w
    assert (release.estimate - exact).norm() > release.certificate.sensitivity.value
    assert release.certificate.holds == "void"


def test_a_kept_gradient_is_not_believed():
    F, w = logistic(0)
    stale = ul.unlearn(F, 0.9 * w, [1], whole=0 * w, **TERMS).certificate
    assert stale.holds == "conditional"
    stale = ul.unlearn(F, 0.1 * w, [1], whole=0 * w, **TERMS).certificate
    assert stale.holds == "void"
    kept = ul.unlearn(F, w, [1], whole=F.gradient(w), **TERMS).certificate
    assert kept.holds == "conditional" and "given as whole=" in kept.reasons[0]


@pytest.mark.parametrize("what", ["buffer", "frozen", "attribute", "list", "array"])
def test_what_is_published_beside_w_must_be_public(what):
    x, y = torch.randn(20, 3).double(), torch.randint(2, (20,))

    class Centred(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 2).double()
            if what == "buffer":
                self.register_buffer("mean", x.mean(0))
            else:
                mean = x.mean(0)
                held = {"list": [mean], "array": mean.numpy(), "attribute": mean}
                self.mean = nn.Parameter(mean, False) if what == "frozen" else held[what]

        def forward(self, x):
            mean = self.mean[0] if what == "list" else torch.as_tensor(self.mean)
            return self.linear(x - mean)

    F = ul.Objective(Centred(), x, y, weight_decay=0.1)
    terms = dict(delta=1e-5, epsilon=1.0)
    known = ul.Constants(lam_min=0.1, G=ul.chosen(10.0))
    with pytest.raises(ul.InputError, match=r"mean would be published.*public_buffers=\['mean'\]"):
        ul.unlearn(F, F.initial(), [0], C=9.0, lam=1.0, **terms)
    with pytest.raises(ul.InputError, match="mean would be published"):
        ul.SequentialUnlearner(F, F.initial(), C=9.0, lam=1.0, **terms)
    for entry in (
        ul.StronglyConvexUnlearner,
        lambda *a, **b: ul.unlearn_strongly_convex(*a, [0], **b),
    ):
        with pytest.raises(ul.InputError, match="mean would be published"):
            entry(F, F.initial(), constants=known, **terms)
    F = ul.Objective(Centred(), x, y, weight_decay=0.1, public_buffers=["mean"])
    card = ul.unlearn(F, F.initial(), [0], C=9.0, lam=1.0, **terms).certificate
    assert card.public()["known to all"]["public buffers"] == "mean"


def test_a_batchnorm_layer_may_hold_its_statistics_alone():
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).double()
    x, y, terms = torch.randn(20, 3).double(), torch.randint(2, (20,)), dict(delta=1e-5, sigma=1.0)
    ul.unlearn(F := ul.Objective(model, x, y), F.initial(), [0], C=9.0, lam=9.0, **terms)
    model[1].register_buffer("first", x[:1])
    F = ul.Objective(model, x, y)
    with pytest.raises(ul.InputError, match="1.first would be published"):
        ul.unlearn(F, F.initial(), [0], C=9.0, lam=9.0, **terms)


@pytest.mark.parametrize("x", [torch.ones(5, 3), torch.full((3,), math.nan), torch.ones(2)])
def test_an_update_that_is_no_finite_vector_is_never_released(x):
    F = means(torch.zeros(5, 3).double())
    terms = TERMS | dict(constants=ul.Constants(), C=9.0)
    with pytest.raises(ul.UnlearnError, match="the solver's x|not finite"):
        ul.unlearn(F, F.initial() * 0, [0], solver=reports(x=x.double()), **terms)


def test_what_is_known_to_all_can_not_be_overridden_but_for_the_first_days_number():
    F, w = logistic(0)
    said = {"samples at the start": 99, "weight decay": 7.0, "tuned on": "digits"}
    known = ul.unlearn(F, w, [1], known=said, **TERMS).certificate.known
    assert known == {
        "samples at the start": 99,
        "weight decay": 1.0,
        "weights": 3,
        "tuned on": "digits",
    }


# ---- rule 1: sigma knows nothing of the data. Rule 2: what holds, what is useful ----------------


def numbers(text):
    """The numbers in a JSON text that are not 0 to six digits."""
    found = re.findall(r"(?<=: )-?\d[\d.e+-]*", text)
    return {f"{float(number):.6g}" for number in found if abs(float(number)) > 1e-12}


def test_sigma_and_the_public_part_do_not_depend_on_the_data():
    cases = [(0, 40, [1]), (1, 23, range(9)), (2, 60, [5, 7])]
    cards = [ul.unlearn(*logistic(seed, n), u, **TERMS).certificate for seed, n, u in cases]
    public = [c.public() for c in cards]
    assert [part["known to all"].pop("samples at the start") for part in public] == [40, 23, 60]
    assert len({c.sigma for c in cards}) == len({json.dumps(part) for part in public}) == 1
    assert len({c.private_json() for c in cards}) == 3


def test_what_was_measured_is_right_and_stays_private():
    F, w = logistic(3)
    release = ul.unlearn(F, w, range(7), **TERMS)
    found = json.loads(release.certificate.private_json())["measurements"]
    assert found["samples forgotten"] == 7
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


def test_doing_nothing_is_never_further_than_the_ball_is_wide():
    c = ul.unlearn(*logistic(0, n=40), range(35), **TERMS).certificate  # 2 n_u / n = 1.75
    assert c.doing_nothing == 2 * TERMS["C"]


# What voids a certificate: wrong constants, other terms, what the reason says.
FALSE = {
    "G": (dict(), {}, r"grad F\(w\).* exceeds G = 1e-06"),
    "L by gradient": (dict(M=0, L=1e-4, lam_min=1e-5), {}, r"exceeds 2LC \+ G.*L = 0\.0001"),
    "L by curvature": (dict(M=0, L=0.5, lam_min=0.4), {}, r"curvature 1\..*L = 0\.5"),
    "lam_min": (dict(L=20, lam_min=10), {}, r"curvature 1\..*below lam_min = 10"),
    "residual": ({}, dict(max_steps=1), r"residual of 0\.0.*tol = 1e-06"),
    "a solver that lies": ({}, dict(max_steps=1, residual=0.0), r"residual of 0\.0.*tol = 1e-06"),
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
    claim = ul.proved if dtype == torch.float64 else lambda value, why: ul.assumed(value)
    known = ul.Constants(M=claim(0, ""), L=claim(1, ""), lam_min=claim(1, ""), G=ul.chosen(1e-3))
    holds, tol = ("proved", 1e-6) if dtype == torch.float64 else ("conditional", 1e-5)
    terms = TERMS | dict(constants=known, C=1.0, tol=tol)
    for seed in range(40):
        generator = torch.Generator().manual_seed(seed)
        F = means(0.1 * torch.randn(50, 7, generator=generator, dtype=dtype))
        c = ul.unlearn(F, F.y.mean(0), [0, 1], **terms).certificate
        assert c.holds == holds, c.reasons


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
    F = means(torch.zeros(3, 4000).double())
    terms = TERMS | dict(epsilon=None, sigma=0.3)
    first, second = (ul.unlearn(F, F.initial() * 0, [0], **terms) for _ in range(2))
    z = (first.w - first.estimate) / 0.3
    assert abs(float(z.mean())) < 5 / math.sqrt(4000) and abs(float(z.std()) - 1) < 5 / 89
    assert first.certificate.noise == "secret, exact" and not torch.equal(first.w, second.w)


def test_the_grid_of_the_noise_is_as_fine_as_the_certified_distance_asks():
    """A Delta of 2e-6 on 100 coordinates: far finer than 2^-40 of a sigma of 1."""
    F = means(torch.zeros(3, 100).double())
    terms = TERMS | dict(C=1e-6, epsilon=None, sigma=1.0, constants=ul.Constants(), lam=1.0)
    cells = ul.unlearn(F, F.initial() * 0, [0], **terms).w * 2**40
    assert not torch.equal(cells, cells.round())


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
]


def test_a_model_just_outside_the_ball_is_refused():
    F, w = logistic(0)
    norm = float(w.norm())
    ul.unlearn(F, w, [1], **TERMS | dict(C=norm * (1 + 1e-9)))
    with pytest.raises(ul.InputError, match="so no bound applies. Train with"):
        ul.unlearn(F, w, [1], **TERMS | dict(C=norm * (1 - 1e-9)))


@pytest.mark.parametrize(("wrong", "message"), REFUSED)
def test_bad_input_is_refused_and_changes_nothing(wrong, message):
    F, w = logistic(0)
    state, kept = torch.get_rng_state(), (w.clone(), F.initial(), F.x.clone(), F.y.clone())
    with pytest.raises(ul.InputError, match=message):
        ul.unlearn(**dict(F=F, w=w, forget=[1]) | TERMS | wrong)
    assert all(map(torch.equal, (w, F.initial(), F.x, F.y), kept)) and F.n == 40
    assert torch.equal(state, torch.get_rng_state())
