"""The constants proved in convex_network.py, against dense Hessians at many weights."""

import math

import pytest
import torch

from unlearnlib import InputError, Objective, squared_error
from unlearnlib.lab.convex_network import BEND, HESSIAN_LIPSCHITZ, ConvexNetwork, strong_convexity

INPUTS, CLASSES, N = 5, 4, 12


def network(width=6, strength=10.0, scale=1.0, seed=0):
    made = ConvexNetwork(INPUTS, CLASSES, width=width, strength=strength, scale=scale, seed=seed)
    return made.double()


@pytest.fixture
def data(vectors, rng):
    x = vectors(N, INPUTS, seed=1)
    return x / x.norm(dim=1, keepdim=True), torch.randint(CLASSES, (N,), generator=rng(2))


def places(net, vectors):
    """Weights near the start, far from it, and where neurons are bent most."""
    p = net.moved.numel()
    return [size * vectors(p, seed=seed) for seed, size in enumerate((0.0, 0.1, 1.0, 3.0, 30.0))]


SETTINGS = [
    {"strength": c, "width": m, "scale": s}
    for c in (0.3, 10.0, 300.0)
    for m, s in ((2, 1.0), (6, 0.2), (6, 3.0))
]


@pytest.mark.parametrize("setting", SETTINGS)
def test_no_loss_curves_down_by_more_than_proved(setting, data, vectors):
    net = network(**setting)
    F = Objective(net, *data)
    for w in places(net, vectors):
        for G in (F, F.only([0]), F.only([3, 7])):
            ends = torch.linalg.eigvalsh(G.hessian(w))
            assert ends[0] >= -net.curvature * (1 + 1e-9)
            assert ends[-1] <= net.gradient_lipschitz(0.0)


def test_that_bound_is_attained():
    """Two neurons bent as far as tanh bends, and a prediction that is surely wrong."""
    net = network(width=2, strength=1e3)
    net.signs = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).double()
    most_bent = math.atanh(1 / math.sqrt(3))
    x = torch.eye(INPUTS)[:1].double()
    w = torch.zeros_like(net.moved)
    w[:, 0] = torch.tensor([most_bent, -most_bent]) - net.start[:, 0]
    least = torch.linalg.eigvalsh(Objective(net, x, torch.tensor([1])).hessian(w.flatten()))[0]
    assert float(least) == pytest.approx(-net.curvature, rel=1e-9)


def surely_wrong(strength, z):
    """Two neurons at z and -z, on one sample of the other class: the network, F and w."""
    net = network(width=2, strength=strength)
    net.signs = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).double()
    w = torch.zeros_like(net.moved)
    w[:, 0] = torch.tensor([z, -z]) - net.start[:, 0]
    return net, Objective(net, torch.eye(INPUTS)[:1].double(), torch.tensor([1])), w.flatten()


def test_the_sample_gradient_is_attained():
    """Where tanh is steepest, and the gain so large that the prediction is surely wrong."""
    net, F, w = surely_wrong(strength=1e3, z=0.05)
    assert 0.99 <= float(F.gradient(w).norm()) / net.sample_gradient() <= 1


def test_the_hessian_of_a_weak_network_changes_as_its_neurons_bend():
    """With little gain p = 1/2, so r V = 1, times the third derivative of tanh, -2 at 0."""
    net, F, w = surely_wrong(strength=1e-3, z=0.0)
    step = torch.zeros_like(w)
    step[0] = 1e-4
    change = torch.linalg.matrix_norm(F.hessian(w + step) - F.hessian(w), 2) / 1e-4
    assert float(change) == pytest.approx(2 * net.gain, rel=1e-2)
    assert change <= net.hessian_lipschitz()


def test_decay_adds_itself_to_the_largest_curvature():
    net = network()
    assert net.gradient_lipschitz(2.5) == pytest.approx(net.gradient_lipschitz(0.0) + 2.5)


def test_with_more_decay_the_objective_is_strongly_convex(data, vectors):
    net = network(strength=30.0)
    decay = 1.5 * net.curvature
    F = Objective(net, *data, weight_decay=decay)
    mu = strong_convexity(F)
    assert mu == pytest.approx(0.5 * 2 * 4 / (3 * math.sqrt(3)) * 30 / math.sqrt(6))
    spots = places(net, vectors)
    for a, b in zip(spots, spots[1:], strict=False):
        apart = F.gradient(a) - F.gradient(b)
        assert apart.norm() >= mu * (a - b).norm()
        assert apart.norm() <= net.gradient_lipschitz(decay) * (a - b).norm()


@pytest.mark.parametrize("setting", SETTINGS)
def test_no_sample_has_a_steeper_gradient(setting, data, vectors):
    net = network(**setting)
    F = Objective(net, *data)
    for w in places(net, vectors):
        each = [float(F.only([i]).gradient(w).norm()) for i in range(N)]
        assert 0 < max(each) <= net.sample_gradient()


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_hessian_changes_no_faster_than_proved(setting, data, vectors):
    net = network(**setting)
    F, step = Objective(net, *data), 1e-4
    for w in places(net, vectors)[:3]:
        for seed in range(5):
            E = vectors(len(w), seed=90 + seed)
            change = F.hessian(w + step * E / E.norm()) - F.hessian(w)
            assert torch.linalg.matrix_norm(change, 2) / step <= net.hessian_lipschitz()


def test_the_constants_of_softmax_and_tanh(vectors):
    z = torch.linspace(-5, 5, 100_001, dtype=torch.float64)
    t = torch.tanh(z)
    assert float((2 * t * (1 - t**2)).max()) == pytest.approx(BEND, rel=1e-8)
    assert float((2 * (1 - t**2) * (3 * t**2 - 1)).abs().max()) == pytest.approx(2)
    worst = 0.0
    for seed in range(300):
        p = (5 * vectors(CLASSES, seed=seed)).softmax(0)
        u, v = (q / q.norm() for q in vectors(2, CLASSES, seed=1000 + seed))
        worst = max(worst, float((p * (u - p @ u) ** 2 * (v - p @ v)).sum().abs()))
    assert 0.05 < worst <= HESSIAN_LIPSCHITZ


def test_it_says_nothing_at_the_start(data):
    net = network()
    assert float(net(data[0]).detach().abs().max()) < 1e-13
    assert [name for name, _ in net.named_parameters()] == ["moved"]


def test_the_start_follows_from_the_seed_and_the_global_state_stays():
    before = torch.random.get_rng_state()
    one, two, other = network(seed=1), network(seed=1), network(seed=2)
    assert torch.equal(one.start, two.start) and not torch.equal(one.start, other.start)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_what_proves_nothing_is_refused(data):
    with pytest.raises(InputError, match="width is 5; .*even"):
        network(width=5)
    with pytest.raises(InputError, match="strength is 0"):
        network(strength=0.0)
    net = network()
    with pytest.raises(InputError, match="does not exceed the curvature .*Give more decay"):
        strong_convexity(Objective(net, *data, weight_decay=net.curvature))


def test_convexity_is_proved_for_short_inputs_and_one_loss_alone(data):
    """At ||x|| = 2 the formula would give a positive mu where a Hessian is indefinite."""
    (x, y), net = data, network(width=2, strength=30.0)
    decay = 1.5 * net.curvature
    assert strong_convexity(Objective(net, x, y, weight_decay=decay)) > 0
    for times, error in ((1 + 1e-9, "norm 1.000000001"), (2.0, "norm 2")):
        with pytest.raises(InputError, match=f"An input has {error}.*divide by it"):
            strong_convexity(Objective(net, times * x, y, weight_decay=decay))
    one_hot = torch.eye(CLASSES).double()[y]
    doubled = network(width=2, strength=30.0)
    doubled.signs *= 2
    for other in (
        Objective(net, x, one_hot, loss=squared_error, weight_decay=decay),
        Objective(torch.nn.Linear(INPUTS, CLASSES).double(), x, y, weight_decay=decay),
        Objective(doubled, x, y, weight_decay=decay),
    ):
        with pytest.raises(InputError, match="The proof is for cross-entropy on a ConvexNetwork"):
            strong_convexity(other)
