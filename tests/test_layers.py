"""Layers without a rule in PyTorch: products that are right, or one clear refusal in advance."""

import pytest
import torch
from conftest import labels, normal
from torch import nn
from torch.backends import mha
from torch.nn import functional

from unlearnlib import Objective, conjugate_gradient, lissa
from unlearnlib.errors import InputError


class Net(nn.Module):
    """forward(x, *layers), for layers that one line puts together."""

    def __init__(self, forward, *layers):
        super().__init__()
        self.how, self.layers = forward, nn.ModuleList(layers)

    def forward(self, x):
        return self.how(x, *self.layers)


def attention(x, q, k, v, last):
    return last(functional.scaled_dot_product_attention(q(x), k(x), v(x)).mean(1))


def by_pieces(x, body, last):
    return last(torch.zeros(len(x), 4, dtype=x.dtype).add_(body(x[:, 0])).tanh())


def encoder(**options):
    return nn.TransformerEncoderLayer(4, 2, 5, activation="gelu", batch_first=True, **options)


def lines(n):
    return [nn.Linear(4, 4) for _ in range(n)] + [nn.Linear(4, 3)]


NETS = {
    "attention": lambda: Net(attention, *lines(3)),
    "heads": lambda: Net(
        lambda x, body, last: last(body(x, x, x, need_weights=False)[0].mean(1)),
        nn.MultiheadAttention(4, 2, batch_first=True), *lines(0),
    ),
    "transformer": lambda: Net(
        lambda x, body, last: last(body(x).mean(1)), nn.TransformerEncoder(encoder(), 1), *lines(0)
    ),
    "masked": lambda: Net(
        lambda x, body, last: last(body(x, src_key_padding_mask=x[..., 0] > 0.8).mean(1)),
        nn.TransformerEncoder(encoder(), 1), *lines(0),
    ),
    **{kind.__name__: lambda kind=kind: Net(
        lambda x, body, last: last(body(x)[0][:, -1]), kind(4, 4, batch_first=True), *lines(0)
    ) for kind in (nn.LSTM, nn.GRU, nn.RNN)},
    "two ways": lambda: Net(
        lambda x, body, last: last(body(x)[0][:, 0]),
        nn.LSTM(4, 2, 2, batch_first=True, bidirectional=True), *lines(0),
    ),
    "cell": lambda: Net(
        lambda x, body, last: last(body(x[:, 1], body(x[:, 0]))[0]), nn.LSTMCell(4, 4), *lines(0)
    ),
    "groups": lambda: Net(lambda x, *all: nn.Sequential(*all)(x[:, 0]), nn.Linear(4, 4),
                          nn.GroupNorm(2, 4), nn.Tanh(), *lines(0)),
    "in place": lambda: Net(by_pieces, *lines(1)),
    "branching": lambda: Net(
        lambda x, body, last: last(body(x[:, 0]).tanh() if x.isfinite().all() else x), *lines(1)
    ),
}  # fmt: skip


@pytest.fixture(params=NETS)
def F(request):
    model = NETS[request.param]().double().eval()
    for seed, q in enumerate(model.parameters()):
        q.data = normal(*q.shape, seed=seed) / 2
    return Objective(model, normal(6, 5, 4, seed=9), labels(6), pass_size=4, weight_decay=0.1)


def along(function, w, v, step=1e-5):
    """The derivative of a function of w along v, by differences."""
    return (function(w + step * v) - function(w - step * v)) / (2 * step)


def close(found, wanted):
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-8)


def directions(F, k=3):
    v = normal(k, F.p, seed=7)
    return v / v.norm(dim=1, keepdim=True)


def test_derivatives_are_those_of_differences(F):
    w, V = F.initial(), directions(F)
    assert float(F.gradient(w) @ V[0]) == pytest.approx(along(F.value, w, V[0]), abs=1e-8)
    wanted = torch.stack([along(F.gradient, w, v) for v in V])
    close(F.hvp(w, V[0]), wanted[0])
    close(F.hvp(w, V), wanted)
    close(F.hessian_at(w)(V), wanted)
    close(V @ F.hessian(w), wanted)


def test_the_gauss_newton_product_is_that_of_differences(F):
    w, V = F.initial(), directions(F)

    def outputs(w):
        return F.outputs(w, F.x)

    for v, product in zip(V, F.ggn(w, V), strict=True):
        odds = outputs(w).softmax(1)
        pushed = along(outputs, w, v)
        bent = odds * (pushed - (odds * pushed).sum(1, keepdim=True)) / F.n
        leaf = w.clone().requires_grad_()
        (pulled,) = torch.autograd.grad(outputs(leaf), leaf, bent)
        close(product, pulled + F.weight_decay * v)
        close(F.ggn(w, v), product)


def test_each_batch_and_each_model_is_that_alone(F):
    w, V, rows = F.initial(), directions(F), torch.tensor([[0, 1], [2, 3], [4, 5]])
    parts = [F.only(part) for part in rows]
    alone = [part.hvp(w, v) - F.weight_decay * v for part, v in zip(parts, V, strict=True)]
    close(F.hvp_each(w, V, *F.batch(rows)), torch.stack(alone))
    decay = F.weight_decay / 2 * (w + V).square().sum(1)
    losses = [part.value(w + v) for part, v in zip(parts, V, strict=True)]
    close(F.batch_loss(w + V, *F.batch(rows)), torch.tensor(losses).double() - decay)


def test_both_solvers_solve(F):
    w, b = F.initial(), normal(F.p, seed=8)
    A = F.hessian(w) + 8 * torch.eye(F.p)
    exact = torch.linalg.solve(A, b)
    close(conjugate_gradient(F, w, b, lam=8.0, tol=1e-10).x, exact)
    how = dict(
        batch_size=3, steps=30, chains=2, checks=3, generator=torch.Generator().manual_seed(0)
    )
    found = lissa(F, w, b, lam=8.0, scale=16.0, tol=0.05, **how)
    assert (found.x - exact).norm() < 0.2 * exact.norm()


def test_attention_elsewhere_is_as_fast_as_before():
    before = mha.get_fastpath_enabled(), torch.backends.cuda.flash_sdp_enabled()

    def during(x, last):
        assert not mha.get_fastpath_enabled() and not torch.backends.cuda.flash_sdp_enabled()
        return last(x / (x.sum() > 0))

    model = Net(during, nn.Linear(4, 3)).double()
    F = Objective(model, normal(2, 4).abs(), labels(2))
    F.value(F.initial())
    model.how = None
    with pytest.raises(InputError, match="cannot take inputs"):
        Objective(model, F.x, F.y)
    assert before == (mha.get_fastpath_enabled(), torch.backends.cuda.flash_sdp_enabled())


WORDS = torch.tensor([[0, 1, 2], [2, 1, 1]])
REFUSED = {
    r"Layer 'layers.0' \(EmbeddingBag\) .* use nn.Embedding": lambda: nn.EmbeddingBag(5, 4),
    "no sparse or max_norm embedding": lambda: nn.Embedding(5, 4, sparse=True),
    "sparse or max_norm embedding": lambda: nn.Embedding(5, 4, max_norm=0.1),
}


@pytest.mark.parametrize("said", REFUSED)
def test_a_table_of_words_without_a_hessian_is_refused(said):
    model = Net(lambda x, body, last: last(body(x).flatten(1)[:, :4]), REFUSED[said](), *lines(0))
    with pytest.raises(InputError, match=said):
        Objective(model.double(), WORDS, labels(2))


def bent(layer):
    return nn.Sequential(layer, nn.Tanh(), *lines(0)).double()


@pytest.mark.parametrize(
    ("norm", "off"),
    [
        (nn.utils.parametrizations.weight_norm, nn.utils.parametrize.remove_parametrizations),
        (nn.utils.weight_norm, nn.utils.remove_weight_norm),
    ],
)
@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
def test_weight_norm_is_refused_until_it_is_taken_off(norm, off):
    model, x = bent(norm(nn.Linear(4, 4))), normal(6, 4)
    with pytest.raises(InputError, match="Layer '0.*take off weight_norm"):
        Objective(model, x, labels(6))
    off(model[0], "weight")
    assert Objective(model, x, labels(6)).p == 35


@pytest.mark.parametrize("where", [torch.no_grad, torch.enable_grad])
def test_what_has_no_second_derivative_is_refused_by_layer_or_by_operation(where):
    x, y = normal(6, 4), labels(6)
    with where():
        with pytest.raises(InputError, match=r"Layer '0' \(Hardsigmoid\) .* use nn.Sigmoid"):
            Objective(bent(nn.Hardsigmoid()), x, y)
        with pytest.raises(InputError, match="can't differentiate .*: .*hardsigmoid_backward"):
            model = Net(lambda x, *all: functional.hardsigmoid(all[0](x)), *lines(0)).double()
            Objective(model, x, y)
        with pytest.raises(
            InputError, match="can't differentiate .*: .*multi_margin_loss_backward"
        ):
            Objective(bent(nn.Linear(4, 4)), x, y, loss=functional.multi_margin_loss)
        assert Objective(bent(nn.Linear(4, 4)), x, y).p == 35
