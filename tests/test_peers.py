"""The peers' bounds against models retrained by hand, and their formulas typed a second time."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from scipy.stats import norm
from torch import nn

import unlearnlib as ul
from unlearnlib.evaluation.peers import Guo, Neel, Sekhari, convex, guo, neel, sekhari

MU, CLASSES, D = 0.02, 3, 9  # p = 27
BUDGET = dict(epsilon=1.0, delta=1e-5)
EXACT = dict(M=convex.HESSIAN_LIPSCHITZ, L=convex.SAMPLE_GRADIENT)
STEPS = dict(beta=0.5 + MU, L=math.sqrt(2), D=math.sqrt(2) / MU)
SEQUENCES = ([[0]], [[3, 1, 4]], [list(range(20))], [[9], [2, 6], [5]])


# ---- by hand: softmax regression in numpy --------------------------------------------------------


def samples(seed=0, n=200):
    r = np.random.default_rng(seed)
    x = r.normal(size=(n, D))
    x /= np.maximum(1, np.linalg.norm(x, axis=1, keepdims=True))
    return x, (x @ r.normal(size=(D, CLASSES)) + r.gumbel(size=(n, CLASSES))).argmax(1)


def gradient(w, x, y):
    """Of the mean loss + (MU/2)||w||^2."""
    logits = x @ w.reshape(CLASSES, D).T
    q = np.exp(logits - logits.max(1, keepdims=True))
    q /= q.sum(1, keepdims=True)
    return ((q - np.eye(CLASSES)[y]).T @ x / len(x)).ravel() + MU * w, q


def minimiser(x, y, tilt=0.0):
    """Where gradient + tilt is below 1e-12, by Newton's method from 0."""
    w = np.zeros(CLASSES * D)
    for _ in range(40):
        g, q = gradient(w, x, y)
        if np.linalg.norm(g + tilt) < 1e-12:
            return w
        A = np.einsum("ik,kj->ikj", q, np.eye(CLASSES)) - np.einsum("ik,ij->ikj", q, q)
        H = np.einsum("ikj,ia,ib->kajb", A, x, x, optimize=True)
        H = H.reshape(len(w), len(w)) / len(x)
        w = w - np.linalg.solve(H + MU * np.eye(len(w)), g + tilt)
    raise AssertionError("the oracle did not converge")


def retained(data, gone):
    return tuple(np.delete(part, gone, 0) for part in data)


def objective(data, dtype=torch.float64, weight_decay=MU):
    x, y = (torch.tensor(part) for part in data)
    model = nn.Linear(D, CLASSES, bias=False, dtype=dtype)
    return ul.Objective(model, x, y, weight_decay=weight_decay)


@pytest.fixture(scope="module")
def data():
    return samples()


@pytest.fixture(scope="module")
def F(data):
    return objective(data)


def noise_by_hand(distance, epsilon, delta):
    """Balle and Wang (2018): the least sigma, by root finding on their condition."""

    def excess(sigma):
        a, b = distance / (2 * sigma), epsilon * sigma / distance
        return norm.cdf(a - b) - math.exp(epsilon) * norm.cdf(-a - b) - delta

    return brentq(excess, 1e-3 * distance, 1e3 * distance, xtol=1e-12 * distance)


# ---- the shared problem --------------------------------------------------------------------------


def hessian_in_logits(z):
    q = np.exp(z - z.max())
    q /= q.sum()
    return np.diag(q) - np.outer(q, q)


def test_the_softmax_constants_hold_and_are_reached():
    r, change, size = np.random.default_rng(0), 0.0, 0.0
    for scale in (0.3, 1.0, 3.0):
        for _ in range(200):
            z, step = r.normal(size=(2, r.integers(2, 6))) * scale
            moved = np.linalg.norm(hessian_in_logits(z + step) - hessian_in_logits(z), 2)
            change = max(change, moved / np.linalg.norm(step))
            size = max(size, np.linalg.norm(hessian_in_logits(z), 2))
    assert change <= convex.HESSIAN_LIPSCHITZ and size <= convex.SMOOTHNESS
    # two classes, where sigmoid'' is largest: sigmoid = (1 + 1/sqrt 3)/2; and even odds
    t, step = math.log((math.sqrt(3) + 1) / (math.sqrt(3) - 1)), np.array([1.0, -1.0]) * 1e-6
    moved = hessian_in_logits(np.array([t, 0]) + step) - hessian_in_logits(np.array([t, 0]))
    assert np.linalg.norm(moved, 2) / np.linalg.norm(step) == pytest.approx(
        convex.HESSIAN_LIPSCHITZ, rel=1e-4
    )
    assert np.linalg.norm(hessian_in_logits(np.zeros(2)), 2) == pytest.approx(convex.SMOOTHNESS)


def test_no_samples_gradient_is_larger(data):
    r = np.random.default_rng(1)
    for scale in (0.1, 10.0, 1000.0):
        w = r.normal(size=CLASSES * D) * scale
        for i in range(20):
            g, _ = gradient(w, data[0][i : i + 1], data[1][i : i + 1])
            assert np.linalg.norm(g - MU * w) <= convex.SAMPLE_GRADIENT * (1 + 1e-9)


def test_the_closed_form_hessian_is_the_hessian(F, vectors):
    for part in (F, F.only([5, 3, 100])):
        w = 2 * vectors(F.p)
        assert torch.allclose(convex.hessian(part, w), part.hessian(w), rtol=1e-10, atol=1e-14)


def test_a_tilted_objective_has_the_tilt_in_its_gradient(F, data, vectors):
    tilt = 0.05 * vectors(F.p, seed=4)
    tilted = guo._tilted(F, tilt)
    w = vectors(F.p)
    assert torch.allclose(tilted.gradient(w), F.gradient(w) + tilt)
    found = ul.refine(tilted, w, gradient=1e-12).w
    assert np.linalg.norm(found.numpy() - minimiser(*data, tilt.numpy())) <= 2e-12 / MU


# ---- nobody is further from the retrained model than it claims -----------------------------------


def gone_after(sequence):
    return [sum(sequence[: k + 1], []) for k in range(len(sequence))]


@pytest.mark.parametrize("sequence", SEQUENCES, ids=len)
@pytest.mark.parametrize("seed", range(2))
def test_sekhari_is_as_close_as_claimed(sequence, seed):
    data = samples(seed)
    method = Sekhari.train(objective(data), capacity=20, **EXACT, **BUDGET)
    for wanted, gone in zip(sequence, gone_after(sequence), strict=True):
        answer = method.forget(wanted)
        w_r = minimiser(*retained(data, gone))
        distance = np.linalg.norm(answer.estimate.numpy() - w_r)
        claim = sekhari.sensitivity(len(gone), n=200, mu=MU, G=method.G, **EXACT)
        assert distance <= claim <= answer.sensitivity and not answer.retrained
        assert distance < 0.2 * np.linalg.norm(method.trained.estimate.numpy() - w_r)


@pytest.mark.parametrize("G", [1e-2, 1e-3])
@pytest.mark.parametrize("m", [1, 10, 100])
def test_sekhari_counts_what_training_left_in_both_worlds(data, m, G):
    F = objective(data)
    method = Sekhari.train(F, capacity=m, G=G, **EXACT, **BUDGET)
    answer, gone = method.forget(range(m)), list(range(m))
    w_r, r = minimiser(*retained(data, gone)), np.random.default_rng(0)
    off = np.linalg.norm(answer.estimate.numpy() - w_r)
    assert 0 < off <= sekhari.sensitivity(m, n=200, mu=MU, G=G, **EXACT) - G / MU
    for _ in range(5):  # retrained models that stop at G
        tilt = r.normal(size=F.p)
        other = minimiser(*retained(data, gone), G * tilt / np.linalg.norm(tilt))
        assert np.linalg.norm(answer.estimate.numpy() - other) <= answer.sensitivity


def test_sekhari_steps_as_published_from_what_it_stored(F, data):
    """The step typed out; the samples that stay are spoilt after training and change nothing."""
    method = Sekhari.train(F, capacity=20, **EXACT, **BUDGET)
    w, gone = method.w.clone(), [3, 1, 4, 15]
    hessian_r = F.without(gone).hessian(w)
    total = sum(F.only([i]).gradient(w) for i in gone)
    expected = w + torch.linalg.solve(hessian_r, total) / (200 - 4)
    x = F.x.clone()
    x[[i for i in range(200) if i not in gone]] = 0.0
    method.F = ul.Objective(F.model, x, F.y, weight_decay=MU)
    method.forget(gone[:2])
    assert torch.allclose(method.forget(gone[2:]).estimate, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("iterations", [1, 120])
@pytest.mark.parametrize("sequence", SEQUENCES, ids=len)
def test_neel_is_as_close_as_claimed(F, data, sequence, iterations):
    most = max(map(len, sequence))
    terms = STEPS | dict(iterations=iterations, per_request=most)
    method = Neel.train(F, **terms, **BUDGET)
    claim = neel.sensitivity(iterations, m=most, n=100, mu=MU, beta=0.5 + MU, L=math.sqrt(2))
    assert method.sensitivity == pytest.approx(claim)
    apart = np.linalg.norm(method.trained.estimate.numpy() - minimiser(*data))
    assert apart <= method.sensitivity / 2
    for wanted, gone in zip(sequence, gone_after(sequence), strict=True):
        answer, left = method.forget(wanted), retained(data, gone)
        assert np.linalg.norm(answer.estimate.numpy() - minimiser(*left)) <= answer.sensitivity / 2
        share = len(left[0]) / 200
        assert not answer.retrained and answer.gradients == pytest.approx(iterations * share)
    again = Neel.train(objective(left), **terms, **BUDGET).trained.estimate
    assert 0 < float((answer.estimate - again).norm()) <= answer.sensitivity


def test_a_bound_below_rounding_of_the_weights_is_refused(F):
    """gamma = 1/3 here: 25 steps promise 1e-12, and 31 what no sum of floats could keep."""
    few, tiny = (
        dict(BUDGET, beta=2.0, L=math.sqrt(2), D=2.0),
        objective(samples(), weight_decay=1.0),
    )
    kept = Neel.train(tiny, iterations=24, **few)
    rounding = 2**10 * np.finfo(float).eps * float(kept.w.norm())
    assert rounding < kept.sensitivity < 100 * rounding
    with pytest.raises(ul.InputError, match="below .*, rounding of the weights; promise less"):
        Neel.train(tiny, iterations=31, **few)
    w = kept.w
    convex.require_above_rounding(rounding, w)
    with pytest.raises(ul.InputError, match="rounding"):
        convex.require_above_rounding(0.999 * rounding, w)


def test_neel_stays_as_close_down_to_the_last_sample_it_covers(data):
    method = Neel.train(objective(samples(0, 12)), iterations=3, **STEPS, **BUDGET)
    for i in range(6):
        answer = method.forget([i])
        w_r = minimiser(*retained(samples(0, 12), list(range(i + 1))))
        assert np.linalg.norm(answer.estimate.numpy() - w_r) <= answer.sensitivity / 2
        assert not answer.retrained
    sigma = method.sigma
    assert method.forget([6]).retrained and method.sigma > sigma


def test_the_minimiser_moves_no_further_than_the_drift():
    for seed in range(3):
        data = samples(seed, 60)
        w = minimiser(*data)
        for m in (1, 5, 30, 59):
            moved = np.linalg.norm(w - minimiser(*retained(data, list(range(m)))))
            assert 0 < moved <= neel.drift(m, n=60, mu=MU, L=math.sqrt(2))


def test_one_descent_step_contracts_as_stated(F, data, vectors):
    method = Neel.train(F, iterations=1, **STEPS, **BUDGET)
    w_r, gamma = torch.tensor(minimiser(*data)), neel.contraction(MU, 0.5 + MU)
    assert gamma == pytest.approx(0.5 / 0.54)
    for seed in range(5):
        w = w_r + 3 * vectors(F.p, seed=seed)
        after = method._descend(torch.arange(F.n), w, 1)
        assert float((after - w_r).norm()) <= gamma * float((w - w_r).norm())


# ---- Guo: the residual ---------------------------------------------------------------------------


def left_in_the_gradient(method, data, gone):
    """||grad L_b(w; D_r)||, in units of the sum, and the distance to its exact minimiser."""
    left, b = retained(data, gone), method.b.numpy()
    g, _ = gradient(method.w.numpy(), *left)
    n = len(left[0])
    again = minimiser(*left, b / n)
    return np.linalg.norm(n * g + b), np.linalg.norm(method.w.numpy() - again) * MU * n


@pytest.mark.parametrize("sequence", SEQUENCES, ids=len)
@pytest.mark.parametrize(("seed", "tol"), [(0, 1e-6), (1, 0.9)])
def test_the_residual_stays_below_guos_bound(sequence, seed, tol):
    data = samples(seed)
    ample = dict(epsilon=1e8, delta=1e-5)
    method = Guo.train(objective(data), sigma=2.0, tol=tol, seed=seed, **ample)
    assert left_in_the_gradient(method, data, [])[0] <= method.residual
    for wanted, gone in zip(sequence, gone_after(sequence), strict=True):
        before, answer = method.residual, method.forget(wanted)
        residual, distance = left_in_the_gradient(method, data, gone)
        assert not answer.retrained and method.residual > before
        assert distance <= residual * (1 + 1e-6) and residual <= method.residual
        assert answer.sensitivity == pytest.approx(method.residual + (200 - len(gone)) * method.G)


def test_guos_bound_on_steps_of_any_size(F, data, vectors):
    """The change of the gradient that a Newton step does not see, against the bound alone."""
    X = torch.tensor(data[0])
    for scale in (0.01, 1.0, 30.0):
        for seed in range(10):
            w, step = vectors(F.p, seed=seed), scale * vectors(F.p, seed=seed + 50)
            unseen = F.gradient(w + step) - F.gradient(w) - F.hvp(w, step)
            norm_X = float(torch.linalg.matrix_norm(X, 2))
            bound = guo.residual_bound(X, step.view(CLASSES, D), norm_X)
            assert 0 < 200 * float(unseen.norm()) <= bound / 2  # the integral halves it


def test_guos_bound_is_corollary_1(vectors):
    X, step = vectors(7, D), vectors(CLASSES, D)
    by_hand = math.sqrt(2 / 27) * np.linalg.norm(X, 2) * np.linalg.norm(step, 2)
    by_hand *= np.linalg.norm(X.numpy() @ step.numpy().T)
    assert guo.residual_bound(X, step, float(np.linalg.norm(X, 2))) == pytest.approx(by_hand)


def test_guos_budget_is_the_distance_that_the_noise_hides(F):
    method = Guo.train(F, sigma=2.0, seed=0, **BUDGET)
    assert noise_by_hand(method.budget, 1.0, 1e-5) == pytest.approx(2.0, rel=1e-6)
    # theirs, with delta = 1.5 exp(-c^2/2), allows less
    assert method.budget > 2.0 * 1.0 / math.sqrt(2 * math.log(1.5 / 1e-5))


def test_guo_retrains_out_of_budget_with_a_fresh_b(F, data):
    method = Guo.train(F, sigma=0.5, seed=3, **BUDGET)
    retrained, gone, spent = [], [], []
    for i in range(12):
        b, answer = method.b, method.forget([i])
        gone.append(i)
        retrained.append(answer.retrained)
        spent.append(method.residual)
        assert answer.sensitivity <= method.budget and torch.equal(b, method.b) != retrained[-1]
        assert left_in_the_gradient(method, data, gone)[0] <= method.residual
        if answer.retrained:
            assert method.residual == pytest.approx((200 - len(gone)) * method.G)
    assert 1 <= sum(retrained) < 12 and retrained != sorted(retrained)
    first = retrained.index(True)
    assert spent[:first] == sorted(spent[:first]) and method.kept.tolist() == list(range(12, 200))


# ---- formulas as published, and their inverses ---------------------------------------------------


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 10.0])
def test_sigma_as_published(epsilon):
    n, mu, M, L, delta, m = 1000, 0.1, 0.3, 1.5, 1e-5, 4
    gamma = 2 * M * m**2 * L**2 / (mu**3 * n**2)
    known = dict(n=n, mu=mu, M=M, L=L)
    assert sekhari.sensitivity(m, **known) == pytest.approx(gamma)
    assert sekhari.published_sigma(m, epsilon=epsilon, delta=delta, **known) == pytest.approx(
        gamma / epsilon * math.sqrt(2 * math.log(1.25 / delta))
    )
    shrink = ((0.7 - mu) / (0.7 + mu)) ** 6
    root = math.sqrt(math.log(1 / delta) + epsilon) - math.sqrt(math.log(1 / delta))
    by_hand = 4 * math.sqrt(2) * L * shrink / (mu * n * (1 - shrink) * root)
    terms = dict(n=n, mu=mu, beta=0.7, L=L)
    published = neel.published_sigma(6, m=1, epsilon=epsilon, delta=delta, **terms)
    assert published == pytest.approx(by_hand)
    # zCDP at half the samples: rho = s^2/(2 sigma^2), epsilon = rho + 2 sqrt(rho ln(1/delta))
    halved = neel.sensitivity(6, m=1, **terms | dict(n=n // 2))
    rho = (halved / published) ** 2 / 2
    assert rho + 2 * math.sqrt(rho * math.log(1 / delta)) == pytest.approx(epsilon)
    assert ul.gaussian_sigma(halved, epsilon, delta) < published


def test_training_iterations_as_published():
    terms = dict(n=1000, mu=0.1, beta=0.7, L=1.5)
    exact = 6 + math.log(40 * 0.1 * 1000 / (2 * 1.5)) / math.log((0.7 + 0.1) / (0.7 - 0.1))
    assert neel.training_iterations(6, D=40.0, **terms) == math.ceil(exact)
    assert neel.training_iterations(1, D=1e-9, **terms) == 1


@pytest.mark.parametrize("G", [0.0, 1e-4])
@pytest.mark.parametrize("n", [50, 1000, 60000])
def test_capacity_inverts_the_noise(n, G):
    known = dict(n=n, mu=0.3, G=G, **EXACT)
    for m in sorted({1, 2, 3, 7, n // 7, n // 2 - 1}):
        sigma = ul.gaussian_sigma(sekhari.sensitivity(m, **known), **BUDGET)
        assert sekhari.deletion_capacity(sigma, **known, **BUDGET) == m
        for less in (1 - 1e-6, 1 - 2e-10):
            assert sekhari.deletion_capacity(sigma * less, **known, **BUDGET) == m - 1
    assert sekhari.deletion_capacity(1e6, **known, **BUDGET) == n // 2


def test_capacity_scales_as_published():
    """n sqrt(epsilon)/(d log(1/delta))^(1/4), where sigma sqrt(d) is what utility bears."""
    known = dict(mu=0.1, epsilon=0.5, delta=1e-5, **EXACT)

    def capacity(n, d):
        return sekhari.deletion_capacity(1 / math.sqrt(d), n=n, **known)

    assert capacity(2 * 10**7, 100) / capacity(10**7, 100) == pytest.approx(2, rel=1e-3)
    assert capacity(10**7, 1600) / capacity(10**7, 100) == pytest.approx(1 / 2, rel=1e-3)


@pytest.mark.parametrize("m", [1, 10])
def test_iterations_invert_the_sensitivity(m):
    terms = dict(m=m, n=500, mu=0.01, beta=0.51, L=1.5)
    for iterations in (*range(1, 30), 100, 1000):
        s = neel.sensitivity(iterations, **terms)
        assert neel.iterations_needed(s, **terms) == iterations
        for less in (0.9999, 1 - 1e-10):
            assert neel.iterations_needed(s * less, **terms) == iterations + 1


# ---- one face for all three ----------------------------------------------------------------------

METHODS = {
    "guo": lambda F, **more: Guo.train(F, **dict(sigma=5.0) | more, **BUDGET),
    "sekhari": lambda F, **more: Sekhari.train(F, **dict(capacity=3) | EXACT | more, **BUDGET),
    "neel": lambda F, **more: Neel.train(
        F, **dict(iterations=4, per_request=3) | STEPS | more, **BUDGET
    ),
}


@pytest.fixture(params=METHODS)
def train(request):
    return METHODS[request.param]


def test_releases_are_estimates_with_the_stated_noise(train, F):
    method, again = train(F, seed=7), train(F, seed=7)
    answers = [method.trained, method.forget([4]), method.forget([2, 8])]
    for k, answer in enumerate(answers):
        if isinstance(method, Guo):
            assert torch.equal(answer.w, answer.estimate)
            continue
        noise = ul.noise.sample_noise(answer.w, answer.sigma, seed=7 + k)
        assert torch.allclose(answer.w - answer.estimate, noise, atol=1e-12)
        assert noise_by_hand(answer.sensitivity, 1.0, 1e-5) == pytest.approx(answer.sigma, rel=1e-6)
    assert torch.equal(again.trained.w, answers[0].w) and answers[0].retrained
    assert method.kept.tolist() == [i for i in range(200) if i not in (2, 4, 8)]
    assert all(answer.gradients > 0 and answer.seconds > 0 for answer in answers)


def test_noise_is_secret_unless_a_seed_is_given(train, F):
    assert not torch.equal(train(F).trained.w, train(F).trained.w)


def test_guo_draws_b_at_the_stated_size(F):
    draws = torch.stack([Guo.train(F, sigma=5.0, seed=s, G=1e-3, **BUDGET).b for s in range(8)])
    assert float(draws.std()) == pytest.approx(5.0, rel=0.15)


def test_sekhari_retrains_beyond_its_capacity(F, data):
    method = METHODS["sekhari"](F)
    assert not method.forget([0, 1]).retrained and not method.forget([2]).retrained
    answer, gone = method.forget([3]), [0, 1, 2, 3]
    assert answer.retrained and answer.gradients > 1
    apart = answer.estimate.numpy() - minimiser(*retained(data, gone))
    assert np.linalg.norm(apart) <= method.G / MU
    # a new count, at the sigma of 196 samples
    claim = sekhari.sensitivity(3, n=196, mu=MU, G=method.G, **EXACT)
    assert answer.sensitivity == pytest.approx(claim)
    assert not method.forget([4, 5, 6]).retrained and method.forget([7]).retrained


def test_neel_retrains_once_half_is_gone(data):
    small = samples(0, 7)
    method = METHODS["neel"](objective(small), per_request=2)
    assert not method.forget([0, 1]).retrained and not method.forget([2]).retrained
    answer = method.forget([3])
    left = retained(small, [0, 1, 2, 3])
    again = METHODS["neel"](objective(left), per_request=2).trained
    assert answer.retrained and answer.sigma == again.sigma
    assert torch.allclose(answer.estimate, again.estimate, rtol=0, atol=1e-12)


# ---- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ([3], r"Already forgotten: \[3\].*retained"),
        ([], "empty"),
        ([200], "Index 200 .*200"),
        ([5, 5], r"once: \[5\]"),
        (range(200), "Already forgotten"),
        ([i for i in range(200) if i != 3], "All 199 samples left"),
    ],
)
def test_a_refused_request_changes_nothing(train, F, indices, message):
    method = train(F, seed=1)
    method.forget([3])
    kept, w = method.kept.clone(), method.w.clone()
    with pytest.raises(ul.InputError, match=message):
        method.forget(indices)
    assert torch.equal(kept, method.kept) and torch.equal(w, method.w)


def test_what_is_not_proved_is_refused(train, F, data):
    with pytest.raises(ul.InputError, match="weight_decay is 0; .*strong convexity"):
        train(objective(data, weight_decay=0.0))
    with pytest.raises(ul.InputError, match=r"float32.*F.to\(torch.float64\)"):
        train(objective(data, torch.float32))


@pytest.mark.parametrize("name", ["guo", "sekhari"])
def test_other_models_and_longer_inputs_are_refused(name, F, data, softmax):
    x, y = data
    long = objective((2 * x, y))
    with pytest.raises(ul.InputError, match=r"norm 2.*\|\|x\|\| <= 1: divide"):
        METHODS[name](long)
    for other in (softmax.objective(weight_decay=1.0), F.with_loss(lambda o, y: o.sum(1).mean())):
        with pytest.raises(ul.InputError, match="softmax regression.*Append a constant feature"):
            METHODS[name](other)


REFUSED = [
    ("guo", dict(sigma=0.0), "sigma is 0.0"),
    ("guo", dict(G=0.0), "G is 0.0"),
    ("guo", dict(sigma=1e-7), r"2 n G = .*budget.*larger sigma or a smaller G"),
    ("sekhari", dict(capacity=0), "capacity is 0"),
    ("sekhari", dict(M=-1.0), "M is -1.0"),
    ("sekhari", dict(capacity=101), "capacity is 101 of 200 samples.*half"),
    ("neel", dict(iterations=0), "iterations is 0"),
    ("neel", dict(beta=0.01), "mu = 0.02 and"),
    ("neel", dict(D=math.inf), "D is inf"),
    ("neel", dict(per_request=0), "per_request is 0"),
    ("neel", dict(L=0.0), "L is 0.0"),
]


@pytest.mark.parametrize(("name", "terms", "message"), REFUSED)
def test_constants_out_of_range_are_refused_by_name(F, name, terms, message):
    with pytest.raises(ul.InputError, match=message):
        METHODS[name](F, **terms)


def test_requests_and_noise_that_are_too_large_or_small(F):
    with pytest.raises(ul.InputError, match="4 samples asked for.*3 a request.*split"):
        METHODS["neel"](F).forget([1, 2, 3, 4])
    known = dict(n=100, mu=MU, **EXACT)
    with pytest.raises(ul.InputError, match="51 of 100 samples.*half"):
        sekhari.sensitivity(51, **known)
    with pytest.raises(ul.InputError, match="sigma = 1e-05 .*larger sigma or train"):
        sekhari.deletion_capacity(1e-5, G=1e-3, **known, **BUDGET)
    with pytest.raises(ul.InputError, match="m is 0.5; .*a whole number"):
        sekhari.sensitivity(0.5, **known)
    with pytest.raises(ul.InputError, match="n is 60.5; .*a whole number"):
        neel.drift(1, n=60.5, mu=MU, L=1.0)
    for bad in (-1.0, math.nan):
        with pytest.raises(ul.InputError, match=f"G is {bad}"):
            sekhari.sensitivity(1, G=bad, **known)


def test_an_answer_is_frozen(F):
    answer = METHODS["neel"](F).trained
    with pytest.raises(AttributeError):
        answer.sigma = 0.0
    assert replace(answer, sigma=1.0).sigma == 1.0
