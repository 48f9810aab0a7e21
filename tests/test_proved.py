"""The two proved models: inputs of norm 1, noise in a logit, the gradient to stop at, the store."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from digits import tiny
from scipy.optimize import brentq, minimize
from scipy.stats import norm
from torch.nn.functional import cross_entropy

import unlearnlib as ul
from unlearnlib.evaluation.metrics import distance
from unlearnlib.lab import proved
from unlearnlib.lab.features import PIXELS, Features
from unlearnlib.lab.seeds import generator

pytestmark = pytest.mark.usefixtures("own_store")

DECAY, STRENGTH, WIDTH = 0.1, 1.5, 4
GONE = [3, 17, 40]


MODELS = {
    "softmax regression": lambda images: proved.softmax(images, DECAY),
    "tanh network": lambda images: proved.network(images, 0, strength=STRENGTH, width=WIDTH),
}


@pytest.fixture(scope="module")
def images():
    return tiny(test=30)


@pytest.fixture(scope="module", params=MODELS)
def problem(request, images):
    return MODELS[request.param](images)


def features_by_hand(image):
    """One image (height, width): pixels averaged by two, centred and scaled, and the constant."""
    h, w = (size // 2 for size in image.shape)
    pixels = image[: 2 * h, : 2 * w].reshape(h, 2, w, 2).mean((1, 3)).ravel()
    pixels = pixels - pixels.mean()
    return np.append(math.sqrt(0.91) * pixels / np.linalg.norm(pixels), 0.3)


def logits(problem, w, x):
    """The models written out a second time, from a flat vector."""
    if problem.name == "softmax regression":
        return x @ w.view(10, -1).T
    net = problem.net
    neurons = torch.tanh(x @ (net.start + w.view_as(net.start)).T)
    return neurons @ net.signs.T * STRENGTH / math.sqrt(WIDTH)


def minimiser(problem, kept):
    """By scipy, on the images that are kept, from features and logits by hand."""
    x = np.stack([features_by_hand(image[0].double().numpy()) for image in problem.images.x_train])
    x, y = torch.tensor(x)[kept], problem.images.y_train[kept]

    def value(at):
        w = torch.tensor(at, requires_grad=True)
        loss = cross_entropy(logits(problem, w, x), y) + problem.weight_decay / 2 * w @ w
        loss.backward()
        return loss.item(), w.grad.numpy()

    exact = {"gtol": 1e-9, "ftol": 0.0, "maxiter": 10000, "maxfun": 10000}
    found = minimize(value, np.zeros(problem.F.p), jac=True, method="L-BFGS-B", options=exact)
    assert np.linalg.norm(value(found.x)[1]) < 1e-7 * problem.mu
    return torch.tensor(found.x)


def noise_by_hand(epsilon, delta):
    """Balle and Wang (2018): the sigma that hides a distance of one."""

    def excess(sigma):
        a, b = 1 / (2 * sigma), epsilon * sigma
        return norm.cdf(a - b) - math.exp(epsilon) * norm.cdf(-a - b) - delta

    return brentq(excess, 1e-2, 1e3, xtol=1e-12)


# ---- inputs -------------------------------------------------------------------------------------


def test_an_input_is_its_image_averaged_centred_and_scaled(images):
    by_hand = [features_by_hand(image[0].double().numpy()) for image in images.x_train]
    assert np.allclose(PIXELS(images.x_train), by_hand, rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 6, 9)])
def test_every_input_has_norm_1(rng, shape):
    x = torch.randint(256, (50, *shape), generator=rng(0), dtype=torch.uint8)
    x[1:20, :, :, 1:] = 7  # nearly flat
    sizes = PIXELS(x).norm(dim=1)
    assert torch.allclose(sizes, torch.ones(50, dtype=torch.float64), rtol=0, atol=1e-12)


@pytest.mark.parametrize("grey", [0, 255, 0.1])
def test_a_flat_image_has_no_larger_norm(grey):
    flat = PIXELS(torch.full((2, 1, 8, 8), grey))
    assert flat.isfinite().all() and (flat.norm(dim=1) <= 1).all()


def test_an_input_depends_on_its_image_alone(images):
    """No statistic of the data enters, or forgetting an image would move the inputs of others."""
    x = images.x_train
    whole = PIXELS(x)
    assert torch.equal(whole[[5]], PIXELS(x[[5]]))
    others = torch.cat([x[:5], 255 - x[5:]])
    assert torch.equal(whole[:5], PIXELS(others)[:5])


def test_units_do_not_matter(images):
    x = images.x_train.double()
    in_other_units = (x / 255 - 0.13) / 0.31
    assert torch.allclose(PIXELS(in_other_units), PIXELS(x), atol=1e-12)


# ---- constants ----------------------------------------------------------------------------------


def spread(problem, w, sigma):
    """Standard deviations of ten images' logits (10, 10), by simulation."""
    noise = torch.randn(800, problem.F.p, generator=torch.Generator().manual_seed(0)).double()
    x = PIXELS(problem.images.x_test[:10])
    moved = torch.stack([logits(problem, w + sigma * v, x) for v in noise])
    return moved.std(0)


@pytest.mark.parametrize("sigma", [1e-3, 0.1, 3.0])
def test_noise_moves_no_logit_by_more_than_its_reach(problem, sigma, vectors):
    for w in (torch.zeros(problem.F.p), 0.5 * vectors(problem.F.p)):
        assert (spread(problem, w.double(), sigma) <= 1.15 * problem.reach * sigma).all()


def test_that_reach_is_attained(problem):
    """By any softmax regression; by the network where no neuron is bent: U = -U0."""
    linear = problem.name == "softmax regression"
    w = torch.zeros(problem.F.p).double() if linear else -problem.net.start.flatten()
    moved = spread(problem, w, 1e-3)
    assert float(moved.mean()) == pytest.approx(1e-3 * problem.reach, rel=0.02)


def test_the_constants_hold_everywhere(problem, vectors):
    """Against dense Hessians, of all samples and of two, and gradients of single ones."""
    spots = [size * vectors(problem.F.p, seed=k) for k, size in enumerate((0.0, 0.3, 3.0, 30.0))]
    for F in (problem.F, problem.F.only([0, 1])):
        hessians = [F.hessian(w) for w in spots]
        for H in hessians:
            ends = torch.linalg.eigvalsh(H)
            assert ends[0] >= problem.mu * (1 - 1e-9) and ends[-1] <= problem.L
        for k in range(3):
            change = torch.linalg.matrix_norm(hessians[k + 1] - hessians[k], 2)
            assert change <= problem.M * distance(spots[k + 1], spots[k])
    for w in spots:
        for i in range(5):
            slope = problem.F.only([i]).gradient(w) - problem.weight_decay * w
            assert slope.norm() <= problem.sample_gradient


def test_those_of_softmax_regression_are_attained(images):
    """By one image and two classes, all others being out of the question."""
    problem = proved.softmax(images, DECAY)
    F = problem.F.only([0])
    x, true = PIXELS(images.x_train[:1])[0], int(images.y_train[0])

    def between(odds):
        logits = torch.full((10,), -200.0).double()
        logits[true], logits[(true + 1) % 10] = odds / 2, -odds / 2
        return (logits[:, None] * x).flatten()

    ends = torch.linalg.eigvalsh(F.hessian(between(0.0)))
    assert float(ends[0]) == pytest.approx(problem.mu)
    assert float(ends[-1]) == pytest.approx(problem.L)
    most, near = math.log(2 + math.sqrt(3)), 1e-4  # where the logistic function bends most
    a, b = between(most), between(most + near)
    change = torch.linalg.matrix_norm(F.hessian(b) - F.hessian(a), 2)
    assert float(change) == pytest.approx(problem.M * distance(a, b), rel=1e-3)
    wrong = between(-100.0)
    slope = float((F.gradient(wrong) - DECAY * wrong).norm())
    assert slope == pytest.approx(problem.sample_gradient)


def test_the_networks_decay_and_width(images):
    wide = proved.network(images, 0, strength=1.0, width=proved.neurons(60))
    assert wide.F.p == 16 * 17
    assert [proved.neurons(n) for n in (60_000, 10_000, 4000)] == [490, 200, 126]
    net = proved.network(images, 0, strength=1.0, excess=3.0, width=WIDTH)
    curvature = 8 / (3 * math.sqrt(3)) / math.sqrt(WIDTH)
    assert net.weight_decay == pytest.approx(3 * curvature)
    assert net.mu == pytest.approx(2 * curvature)
    assert net.known["width"] == WIDTH and "MNIST" in net.known["tuned on"]
    with pytest.raises(ul.InputError, match="no convexity is proved"):
        proved.network(images, 0, excess=1.0, width=WIDTH)


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 20.0])
def test_noise_for_that_gradient_is_a_blur_of_a_tenth_of_a_logit(problem, epsilon):
    Delta = 2 * problem.gradient_for(epsilon) / problem.mu
    in_a_logit = problem.reach * Delta * noise_by_hand(epsilon, 1e-5)
    assert in_a_logit == pytest.approx(0.1, rel=1e-6)


def test_requests_that_share_an_epsilon_ask_for_a_smaller_gradient(problem):
    """The root of their number: that many Gaussians are as one at that many times the distance."""
    one = problem.gradient_for(1.0)
    assert problem.gradient_for(1.0, requests=9) == pytest.approx(one / 3)
    assert problem.gradient_for(1.0, requests=1) == one


def test_the_gradient_to_stop_at_is_known_before_any_image_is(problem, images):
    upside_down = replace(images, x_train=images.x_train.flip(2), y_train=images.y_train.flip(0))
    other = MODELS[problem.name](upside_down)
    assert other.gradient_for(1.0) == problem.gradient_for(1.0)


# ---- training -----------------------------------------------------------------------------------


@pytest.mark.parametrize("without", [[], GONE])
def test_trained_is_within_half_of_delta_of_the_minimiser(problem, without):
    kept = [i for i in range(60) if i not in without]
    exact = minimiser(problem, kept)
    start = float(exact.norm())
    for G in (problem.gradient_for(1.0), problem.gradient_for(1.0) / 1000):
        run = problem.trained(G, without=without)
        assert run.gradient <= G < run.history[0]
        assert distance(run.w, exact) <= G / problem.mu < start


def test_trained_is_found_in_the_store(problem, monkeypatch):
    G = problem.gradient_for(1.0)
    made = [problem.trained(G), problem.trained(G, without=GONE)]
    monkeypatch.setattr(proved, "refine", lambda *a, **b: pytest.fail("trained again"))
    again = MODELS[problem.name](tiny(test=30))
    found = [again.trained(G), again.trained(G, without=torch.tensor(GONE[::-1]))]
    for one, other in zip(made, found, strict=True):
        assert torch.equal(one.w, other.w) and one.history == other.history
        assert one.seconds == other.seconds


def test_what_decides_the_training_is_in_its_key(images, monkeypatch):
    made = []

    def counted(F, w, **how):
        made.append(F)
        return ul.refine(F, w, **how)

    monkeypatch.setattr(proved, "refine", counted)
    settings = {"strength": 0.5, "excess": 3.0, "width": WIDTH}
    relabelled = replace(images, y_train=images.y_train.flip(0))
    different = [
        proved.softmax(images, 0.3),
        proved.softmax(images, 0.4),
        proved.softmax(relabelled, 0.3),
        proved.network(images, 1, **settings),
        proved.network(images, 2, **settings),
        *(proved.network(images, 1, **settings | {name: 2 * settings[name]}) for name in settings),
    ]
    for problem in different:
        for G, without in ((0.1, []), (0.05, []), (0.1, [0]), (0.1, [1])):
            problem.trained(G, without=without)
    assert len(made) == 4 * len(different)


# ---- releases -----------------------------------------------------------------------------------


def test_a_release_is_proved_and_within_delta_of_retraining(problem):
    G = problem.gradient_for(1.0)
    w = problem.trained(G).w
    release = problem.unlearn(w, GONE, G, epsilon=1.0, seed=0)
    card = release.certificate
    assert (card.holds, card.epsilon, card.delta) == ("proved", 1.0, 1e-5)
    assert card.sensitivity.value == pytest.approx(2 * G / problem.mu)
    assert problem.reach * card.sigma == pytest.approx(0.1, rel=1e-6)
    assert distance(release.estimate, problem.trained(G, without=GONE).w) <= 2 * G / problem.mu
    assert distance(release.w, release.estimate) > 0
    second = ul.verify(problem.F, w, GONE, release)
    assert second.confirmed, second


def test_the_card_says_what_is_proved_and_what_is_chosen(problem):
    named = problem.constants(0.5).named()
    assert named.pop("G") == ul.chosen(0.5, "training and refining stop there")
    assert {q.provenance for q in named.values()} == {"proved"} and all(
        q.note == problem.why for q in named.values()
    )
    assert [named[name].value for name in ("lam_min", "L", "M", "sample_gradient")] == [
        problem.mu,
        problem.L,
        problem.M,
        problem.sample_gradient,
    ]


def test_the_card_names_what_is_public(problem):
    G = problem.gradient_for(1.0)
    card = problem.unlearn(problem.trained(G).w, GONE, G, epsilon=1.0).certificate
    known = card.public()["known to all"]
    assert known["samples at the start"] == 60 and known["weight decay"] == problem.weight_decay
    assert known["tuned on"] == problem.tuned_on == proved.TUNED_ON
    assert ("width" in known) == (problem.name == "tanh network")


def test_the_card_names_what_a_decay_was_chosen_on(images):
    for problem in (
        proved.softmax(images, DECAY, tuned_on="other digits"),
        proved.network(images, 0, strength=STRENGTH, width=WIDTH, tuned_on="other digits"),
    ):
        assert problem.known["tuned on"] == "other digits"


def test_training_that_stopped_early_is_void(problem):
    G = problem.gradient_for(1.0)
    card = problem.unlearn(torch.zeros(problem.F.p).double(), GONE, G, epsilon=1.0).certificate
    assert card.holds == "void" and "train on" in card.reasons[0]


def test_every_request_of_a_queue_is_proved(problem):
    G, gone = problem.gradient_for(1.0), []
    queue = problem.queue(problem.trained(G).w, G, epsilon=1.0)
    for rows in ([0, 1], [59], GONE):
        now, now_rows, before = problem.F.only(queue.kept), queue.kept, queue.w
        release, gone = queue.forget(rows), gone + rows
        exact = minimiser(problem, [i for i in range(60) if i not in gone])
        assert release.certificate.holds == "proved"
        assert distance(release.estimate, exact) <= G / problem.mu
        second = ul.verify(now, before, torch.searchsorted(now_rows, torch.tensor(rows)), release)
        assert second.confirmed, second
    assert queue.budget(1e-5).each == pytest.approx([1.0] * 3)


def test_curvature_is_that_of_all_samples_in_single_precision(problem):
    w = torch.zeros(problem.F.p).double()
    v = torch.linspace(-1, 1, problem.F.p).double()
    whole = proved.curvature(problem.F)
    assert (whole.n, whole.dtype) == (60, torch.float32)
    exact = problem.F.hvp(w, v)
    assert torch.allclose(whole.hvp(w.float(), v.float()).double(), exact, rtol=1e-3, atol=1e-4)


def test_a_step_of_training_is_preconditioned_by_some_samples_of_its_own(problem, monkeypatch):
    monkeypatch.setattr(proved, "BENDS_SAMPLE", 25)
    looked_at = []
    plain = proved.kronecker
    monkeypatch.setattr(
        proved, "kronecker", lambda F, *rest: looked_at.append(F) or plain(F, *rest)
    )
    G = problem.gradient_for(1.0) / 7  # a G of its own: made here, not found
    run = problem.trained(G, without=GONE)
    assert len(looked_at) == len(run.history) - 1 and {F.n for F in looked_at} == {25}
    left = torch.tensor([i for i in range(60) if i not in GONE])
    assert all(torch.isin(F.rows, left).all() for F in looked_at)


# ---- what is prepared ---------------------------------------------------------------------------


def test_what_is_prepared_saves_work_and_changes_no_promise(problem):
    G = problem.gradient_for(1.0) / 100
    w, prepared = problem.trained(G).w, problem.prepared(G)
    slow = problem.unlearn(w, GONE, G, epsilon=1.0, seed=0)
    quick = problem.unlearn(w, GONE, G, epsilon=1.0, seed=0, prepared=prepared)
    assert quick.solution.gradients <= slow.solution.gradients
    assert distance(quick.estimate, slow.estimate) <= 2 * G / problem.mu
    for release in (slow, quick):
        card = release.certificate
        assert card.holds == "proved" and card.sigma == slow.certificate.sigma
        assert "kept secret" in card.public()["known to all"]["preconditioner"]
        assert ul.verify(problem.F, w, GONE, release).confirmed


def test_what_is_prepared_is_found_in_the_store(problem, vectors):
    G, v = problem.gradient_for(1.0), vectors(problem.F.p).float()
    made = problem.prepared(G)
    found = MODELS[problem.name](tiny(test=30)).prepared(G)
    torch.testing.assert_close(made.P(v), found.P(v))
    assert made.seconds == found.seconds
    w = problem.trained(G).w
    torch.testing.assert_close(made(problem.F, w)(v), problem.prepare(problem.F, w).P(v))


def test_it_is_left_alone_where_less_than_half_of_a_class_is_left(problem, vectors):
    """Of what a queue has left as well, which has other positions than the images."""
    G = problem.gradient_for(1.0)
    w, v = problem.trained(G).w, vectors(problem.F.p).float()
    part = problem.F.only(range(1, 60))
    threes = (part.y[part.rows] == 3).nonzero().flatten()
    half = len(threes) // 2
    for prepared in (problem.prepare(part, w), problem.prepared(G)):
        found = prepared(part.without(threes[:half]), w)
        assert found is prepared.P
        few = proved.curvature(part.without(threes[: half + 1]))
        own = problem.anew()(few, w.float())
        torch.testing.assert_close(prepared(few, w.float())(v), own(v))
        assert not torch.allclose(own(v), prepared.P(v), rtol=1e-3)


@pytest.mark.parametrize("ask", ["unlearn", "queue"])
def test_requests_leave_it_alone_there(problem, ask, monkeypatch):
    G = problem.gradient_for(1.0)
    run, prepared = problem.trained(G), problem.prepared(G)
    made, true = [], proved.kronecker
    monkeypatch.setattr(proved, "kronecker", lambda *a: made.append(1) or true(*a))
    threes = (problem.F.y == 3).nonzero().flatten().tolist()
    for gone, kept in ((threes[: len(threes) // 2], True), (threes, False)):
        made.clear()
        if ask == "unlearn":
            release = problem.unlearn(run.w, gone, G, prepared=prepared, sigma=1.0)
        else:
            release = problem.queue(run.w, G, prepared, sigma=1.0).forget(gone)
        assert (not made) is kept and release.certificate.holds == "proved"


def test_it_may_be_made_anew_of_the_samples_that_are_left(problem, vectors):
    """And of nothing else: its eigenvectors are of what is left too."""
    G = problem.gradient_for(1.0)
    w = problem.trained(G).w
    queue = problem.queue(w, G, problem.prepared(G), epsilon=1.0)
    queue.forget([0, 1])
    left = problem.F.only(queue.kept)
    queue.preconditioner = problem.prepare(left, queue.w)
    assert queue.forget([2]).certificate.holds == "proved"
    v = vectors(problem.F.p).float()
    few, at = proved.curvature(left), problem.trained(G).w
    inputs = proved.input_spectrum(few)
    by_hand = proved.sharpened(few, at.float(), inputs, problem.roots, 57 // 5)
    torch.testing.assert_close(problem.prepare(left, at).P(v), by_hand(v), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(by_hand(v), problem.prepared(G).P(v), rtol=1e-3)


def test_it_is_made_of_some_samples_where_there_are_many(problem, vectors, monkeypatch):
    monkeypatch.setattr(proved, "PREPARED_ON", 15)
    w, v = problem.trained(problem.gradient_for(1.0)).w, vectors(problem.F.p).float()
    some = torch.randperm(60, generator=generator("curvature", 0))[:15]
    few = proved.curvature(problem.F.only(some))
    by_hand = proved.sharpened(few, w.float(), problem.inputs, problem.roots, 15 // 5)
    torch.testing.assert_close(problem.prepare(problem.F, w).P(v), by_hand(v), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("most", "found"), [(7, 7), (12, 12), (13, 12), (3000, 12)])
def test_it_has_a_direction_for_each_five_samples_at_most(problem, monkeypatch, most, found):
    monkeypatch.setattr(proved, "DIRECTIONS", most)
    w = problem.trained(problem.gradient_for(1.0)).w
    assert len(problem.prepare(problem.F, w).P.positions) == found


def test_the_kept_gradient_starts_a_request(problem):
    G = problem.gradient_for(1.0) / 100
    w = problem.trained(G).w
    whole = problem.F.gradient(w)
    kept = problem.unlearn(w, GONE, G, epsilon=1.0, seed=0, whole=whole)
    plain = problem.unlearn(w, GONE, G, epsilon=1.0, seed=0)
    assert kept.solution.gradients == pytest.approx(plain.solution.gradients - 1)
    torch.testing.assert_close(kept.estimate, plain.estimate)
    assert kept.certificate.holds == "proved"


# ---- other features -----------------------------------------------------------------------------


def test_a_model_on_other_features_is_proved_as_well(images):
    other = Features("halves", "a formula", lambda x: x.float()[..., :4] + 0.01)
    for problem in (
        proved.softmax(images, DECAY, other),
        proved.network(images, 0, strength=STRENGTH, width=WIDTH, features=other),
    ):
        G = problem.gradient_for(1.0)
        assert problem.F.x.dtype == torch.float32 and problem.F.dtype == torch.float64
        release = problem.unlearn(problem.trained(G).w, GONE, G, epsilon=1.0, seed=0)
        card = release.certificate
        assert card.holds == "proved"
        assert card.public()["known to all"]["inputs"] == "halves: a formula"
        assert ul.verify(problem.F, problem.trained(G).w, GONE, release).confirmed
        shown = problem.objective(images.x_test, images.y_test)
        assert torch.equal(shown.x, problem.F_test.x)


def test_features_are_in_the_key_of_a_training(images):
    G = 1e-3
    ends = [
        proved.softmax(images, DECAY, Features("f", "a formula", lambda x: x + 1.0, {"k": k}))
        for k in (0, 1)
    ]
    keys = [problem.key(G) for problem in (*ends, proved.softmax(images, DECAY))]
    assert keys[0] != keys[1] and len({repr(key) for key in keys}) == 3
