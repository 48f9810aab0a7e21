"""Approximate inverses against dense matrices, and what they are for: fewer products."""

import pytest
import torch

from unlearnlib import InputError, Objective, conjugate_gradient, refine
from unlearnlib.lab import preconditioners as pre
from unlearnlib.lab.convex_network import ConvexNetwork

CLASSES, INPUTS, NEURONS = 3, 4, 6


def inputs(n, size=INPUTS):
    """n inputs of norm 1, some of whose directions vary thirty times as much as others."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(n, size, generator=g, dtype=torch.float64) * torch.logspace(0.5, -1, size)
    return x / x.norm(dim=1, keepdim=True), torch.randint(CLASSES, (n,), generator=g)


def softmax(n=40, decay=1e-3, size=INPUTS):
    net = torch.nn.Linear(size, CLASSES, bias=False).double()
    return Objective(net, *inputs(n, size), weight_decay=decay, pass_size=16), pre.softmax_roots


def network(n=40, decay=1e-3):
    net = ConvexNetwork(INPUTS, CLASSES, width=NEURONS, strength=3.0, scale=1.0, seed=0).double()
    return Objective(net, *inputs(n), weight_decay=decay, pass_size=16), pre.network_roots


MODELS = {"softmax": softmax, "network": network}


@pytest.fixture(params=MODELS.values(), ids=MODELS)
def model(request):
    return request.param()


def somewhere(F):
    return torch.linspace(-1, 1, F.p, dtype=F.dtype)


def dense(apply, p):
    return torch.stack([apply(e) for e in torch.eye(p, dtype=torch.float64)])


def gauss_newton(F, w):
    return torch.stack([F.ggn(w, e) for e in torch.eye(F.p, dtype=torch.float64)])


def bend(F, w, x):
    """B of one sample: its Gauss-Newton matrix in W x, from the model's outputs by autograd."""
    (W,) = F.pieces(w).values()
    z = W @ x
    x_over = x / (x @ x)  # W + (z - W x) x^T / ||x||^2 takes x to z

    def outputs(z):
        return F.outputs((W + torch.outer(z - W @ x, x_over)).flatten(), x[None])[0]

    J, p = torch.func.jacfwd(outputs)(z), outputs(z).softmax(0)
    return J.T @ (torch.diag(p) - torch.outer(p, p)) @ J


def by_hand(F, w):
    B = torch.stack([bend(F, w, x) for x in F.x]).mean(0)
    S = F.x.T @ F.x / F.n
    return torch.kron(B, S) + F.weight_decay * torch.eye(F.p).double()


def test_roots_add_up_to_each_samples_gauss_newton_matrix(model):
    F, roots = model
    w = somewhere(F)
    R = roots(F, w, F.x)
    for x, r in zip(F.x[:5], R, strict=False):
        torch.testing.assert_close(r.T @ r, bend(F, w, x))


def test_kronecker_inverts_the_product_of_the_means(model):
    F, roots = model
    w = somewhere(F)
    P = pre.kronecker(F, w, pre.input_spectrum(F), roots)
    torch.testing.assert_close(dense(P, F.p) @ by_hand(F, w), torch.eye(F.p).double())


@pytest.mark.parametrize("n", [3, 14, 15, 60])
def test_the_spectrum_is_that_of_the_mean_for_few_samples_and_for_many(n):
    """30 inputs: from 14 samples down the mean has more zeros than not."""
    F, _ = softmax(n, size=30)
    found, x = pre.input_spectrum(F), F.x.flatten(1)
    d = x.shape[1]
    assert found.values.shape == (d,) and found.values.amin() >= 0
    torch.testing.assert_close(found.vectors.T @ found.vectors, torch.eye(d).double())
    made = found.vectors * found.values @ found.vectors.T
    torch.testing.assert_close(made, x.T @ x / n)


def test_where_all_samples_bend_alike_it_is_the_hessian():
    F, roots = softmax()
    w = torch.zeros(F.p, dtype=torch.float64)
    P = pre.kronecker(F, w, pre.input_spectrum(F), roots)
    torch.testing.assert_close(dense(P, F.p) @ F.hessian(w), torch.eye(F.p).double())


def test_sharpened_in_all_directions_it_is_the_gauss_newton_matrix(model):
    F, roots = model
    w = somewhere(F)
    P = pre.sharpened(F, w, pre.input_spectrum(F), roots, directions=10 * F.p)
    torch.testing.assert_close(dense(P, F.p) @ gauss_newton(F, w), torch.eye(F.p).double())


def test_sharpened_in_some_it_is_so_in_the_strongest_ones_alone(model):
    F, roots = model
    w, m = somewhere(F), 5
    P = pre.sharpened(F, w, pre.input_spectrum(F), roots, directions=m)
    values, Q = torch.linalg.eigh(by_hand(F, w))
    order = values.argsort(descending=True)
    Q, expected = Q[:, order], torch.diag(values[order])
    expected[:m, :m] = (Q.T @ gauss_newton(F, w) @ Q)[:m, :m]
    torch.testing.assert_close(Q.T @ dense(P, F.p) @ Q @ expected, torch.eye(F.p).double())


def test_each_takes_fewer_products_than_the_one_before():
    F, roots = softmax(400, decay=1e-4, size=30)
    w, spectrum = 5 * somewhere(F), pre.input_spectrum(F)
    b = w - w.view(CLASSES, -1).mean(0).repeat(CLASSES)
    steps = [
        conjugate_gradient(F, w, b, lam=0.0, tol=1e-8, preconditioner=P).steps
        for P in (
            None,
            pre.kronecker(F, w, spectrum, roots),
            pre.sharpened(F, w, spectrum, roots, directions=40),
            pre.sharpened(F, w, spectrum, roots, directions=F.p),
        )
    ]
    assert steps == sorted(steps, reverse=True) and len(set(steps)) == 4 and steps[-1] == 1, steps


def test_newton_steps_end_where_they_did_with_fewer_products():
    F, roots = softmax(400, decay=1e-4)
    start, spectrum = torch.zeros(F.p, dtype=torch.float64), pre.input_spectrum(F)
    plain = refine(F, start, gradient=1e-10)
    anew = lambda on, w: pre.kronecker(on, w, spectrum, roots)  # noqa: E731
    quick = refine(F, start, gradient=1e-10, preconditioner=anew)
    assert (quick.w - plain.w).norm() <= 2e-10 / F.weight_decay
    assert quick.gradients < plain.gradients


def test_it_is_made_in_single_precision_for_single_precision(model):
    F, roots = model
    w, single = somewhere(F), F.to(torch.float32)
    exact = pre.sharpened(F, w, pre.input_spectrum(F), roots, directions=5)
    rough = pre.sharpened(single, w.float(), pre.input_spectrum(single), roots, directions=5)
    assert rough(w.float()).dtype == torch.float32
    torch.testing.assert_close(rough(w.float()).double(), exact(w), rtol=1e-2, atol=1e-2)


def test_nothing_but_the_samples_of_the_objective_is_looked_at():
    F, roots = softmax()
    some = F.only(range(10))
    alone = Objective(F.model, F.x[:10], F.y[:10], weight_decay=F.weight_decay)
    w = somewhere(F)
    found = [pre.sharpened(on, w, pre.input_spectrum(on), roots, 20)(w) for on in (some, alone)]
    torch.testing.assert_close(*found)


def test_without_decay_there_is_no_inverse():
    F, roots = softmax(decay=0.0)
    with pytest.raises(InputError, match="weight_decay is 0; .*make it > 0"):
        pre.kronecker(F, somewhere(F), pre.input_spectrum(F), roots)


def test_a_number_of_directions_is_a_count():
    F, roots = softmax()
    with pytest.raises(InputError, match="directions is 0"):
        pre.sharpened(F, somewhere(F), pre.input_spectrum(F), roots, directions=0)
