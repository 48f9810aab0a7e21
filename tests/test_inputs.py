"""What an objective takes, what it refuses, and that neither depends on how samples are grouped."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, dropout

import unlearnlib as ul
from unlearnlib import InputError, Objective

N = 12


@pytest.fixture
def data(vectors, rng):
    return vectors(N, 4, seed=1), torch.randint(3, (N,), generator=rng(2))


def linear():
    torch.manual_seed(0)
    return nn.Linear(4, 3).double()


# ---- a sample counts alone ----------------------------------------------------------------------


def ignoring(outputs, y):
    return cross_entropy(outputs, y, ignore_index=2)


def weighted(outputs, y):
    return cross_entropy(outputs, y, weight=torch.tensor([1.0, 2.0, 3.0]).double())


def root(outputs, y):
    return cross_entropy(outputs, y).sqrt()


def contrastive(outputs, y):
    return cross_entropy(outputs, y) + (outputs @ outputs.T).mean()


def summed(outputs, y):
    return cross_entropy(outputs, y, reduction="sum")


def each(outputs, y):
    return cross_entropy(outputs, y, reduction="none")


@pytest.mark.parametrize("loss", [ignoring, weighted, root, contrastive, summed, each])
def test_a_loss_that_depends_on_the_batch_is_refused(data, loss):
    with pytest.raises(InputError, match="must return the mean over the batch, one number"):
        Objective(linear(), *data, loss=loss)


def test_it_is_found_where_one_label_in_many_is_ignored(vectors):
    y = torch.arange(40) % 20

    def ignores_one(outputs, y):
        return cross_entropy(outputs, y, ignore_index=17)

    with pytest.raises(InputError, match="no ignored labels"):
        Objective(nn.Linear(4, 20).double(), vectors(40, 4), y, loss=ignores_one)


@pytest.mark.parametrize("start", [0.0, 1.0])
def test_it_is_found_at_a_start_of_zero_too(data, start):
    model = linear()
    nn.init.constant_(model.weight, start)
    nn.init.zeros_(model.bias)
    with pytest.raises(InputError, match="one number"):
        Objective(model, *data, loss=root)


def test_a_loss_that_cannot_take_the_targets_is_refused_in_words(data):
    x, _ = data
    with pytest.raises(InputError, match=r"The loss cannot take outputs of shape .*\(\d+, 3\)"):
        Objective(linear(), x, x[:, 0], loss=lambda z, y: cross_entropy(z, y, reduction="mean"))


class WholeBatch(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = linear()

    def forward(self, x):
        return self.linear(x - x.mean(0))


@pytest.mark.parametrize(
    "model",
    [WholeBatch(), nn.Sequential(linear(), nn.BatchNorm1d(3, track_running_stats=False).double())],
)
def test_a_model_that_depends_on_the_batch_is_refused(data, model):
    with pytest.raises(InputError, match="other samples of its batch|more than 1 value"):
        Objective(model, *data)


class Random(nn.Module):
    def __init__(self, how):
        super().__init__()
        self.linear, self.how = linear(), how

    def forward(self, x):
        return self.how(self.linear(x))


@pytest.mark.parametrize(
    "how", [lambda z: dropout(z, 0.5), lambda z: z + 0.1 * torch.randn(z.shape)]
)
def test_a_random_model_is_refused_and_draws_nothing(data, how):
    state = torch.get_rng_state()
    model = Random(how)
    state = torch.get_rng_state()
    with pytest.raises(InputError, match="differ from one call to the next"):
        Objective(model, *data)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("pass_size", [1, 5, 12, 100])
def test_nothing_depends_on_the_size_of_a_pass(data, pass_size, vectors):
    F, same = (Objective(linear(), *data, weight_decay=0.1, pass_size=k) for k in (7, pass_size))
    w = vectors(15, seed=3)
    close = {"rtol": 1e-12, "atol": 1e-14}
    assert F.value(w) == pytest.approx(same.value(w), rel=1e-12)
    torch.testing.assert_close(F.gradient(w), same.gradient(w), **close)
    for form in ("retained", "forget"):
        step, other = (ul.newton_update(G, w, [0, 3], lam=1.0, gradient=form) for G in (F, same))
        torch.testing.assert_close(step, other, rtol=1e-4, atol=1e-4)


# ---- layers and weights that are shared, frozen or published ------------------------------------


class Repeated(nn.Module):
    """One block three times, and a last layer whose weight is the first one's."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        block = nn.Linear(4, 4)
        self.blocks = nn.ModuleList([block] * 3)
        self.other = nn.Linear(4, 4)
        self.other.weight = block.weight
        self.last = nn.Linear(4, 3)

    def forward(self, x):
        for block in self.blocks:
            x = torch.tanh(block(x))
        return self.last(torch.tanh(self.other(x)))


def repeated_by_hand(w, x, y):
    parts = zip(w.split([16, 4, 4, 12, 3]), [(4, 4), (4,), (4,), (3, 4), (3,)], strict=True)
    weight, bias, shift, last, end = (part.reshape(shape) for part, shape in parts)
    for _ in range(3):
        x = torch.tanh(x @ weight.T + bias)
    return cross_entropy(torch.tanh(x @ weight.T + shift) @ last.T + end, y)


def test_a_layer_under_several_names_and_a_weight_in_several_layers(data, vectors):
    F = Objective(Repeated().double(), *data)
    start, w = F.initial().clone(), vectors(39, seed=4) / 2
    assert F.p == 39
    by_hand = torch.func.grad(lambda w: repeated_by_hand(w, *data))(w)
    torch.testing.assert_close(F.gradient(w), by_hand)
    hessian = torch.func.hessian(lambda w: repeated_by_hand(w, *data))(w)
    torch.testing.assert_close(F.hessian(w), hessian)
    assert torch.equal(F.initial(), start)
    torch.testing.assert_close(F.module(w)(data[0]), F.outputs(w, data[0]))
    run = ul.projected_sgd(F, w, epochs=2, lr=0.1, batch_size=4)
    assert torch.isfinite(run.w).all() and torch.equal(F.initial(), start)
    solution = ul.lissa(F, w, by_hand, lam=20.0, batch_size=3, steps=20)
    assert solution.x.shape == (39,)


def frozen_first_layer():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    model[0].requires_grad_(False)
    return model


def test_a_frozen_layer_has_no_part_in_w(data, vectors):
    model = frozen_first_layer()
    F = Objective(model, *data, weight_decay=0.1)
    assert F.p == 21 and list(F.pieces(F.initial())) == ["2.weight", "2.bias"]
    hidden = torch.tanh(model[0](data[0])).detach()
    alone = Objective(nn.Linear(6, 3).double(), hidden, data[1], weight_decay=0.1)
    w = vectors(21, seed=5)
    torch.testing.assert_close(F.gradient(w), alone.gradient(w))
    torch.testing.assert_close(F.hessian(w), alone.hessian(w))
    run = ul.projected_sgd(F, w, C=2.0, epochs=3, lr=0.1)
    assert float(run.w.norm()) <= 2.0
    trained = F.module(run.w)
    assert torch.equal(trained[0].weight, model[0].weight)
    assert not trained[0].weight.requires_grad and trained[2].weight.requires_grad
    again = Objective(trained, *data, weight_decay=0.1)
    assert torch.equal(again.initial(), run.w)
    single = again.to(torch.float32)
    assert torch.equal(single.initial(), run.w.float())
    torch.testing.assert_close(
        single.gradient(run.w.float()).double(), F.gradient(run.w), atol=1e-6, rtol=1e-4
    )


def test_a_model_without_anything_to_train_is_refused(data):
    with pytest.raises(InputError, match="no parameters that can be trained"):
        Objective(linear().requires_grad_(False), *data)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.DataParallel(linear()), "of type DataParallel; give .* is model.module"),
        (lambda: torch.compile(linear()), "OptimizedModule; give .* model._orig_mod"),
        (lambda: nn.LazyLinear(3), "is UninitializedParameter .*called on a batch"),
        (lambda: nn.Linear(4, 3, device="meta"), "on meta; give real weights that hold numbers"),
        (lambda: nn.Linear(4, 3, dtype=torch.cfloat), "complex64 on cpu; give real weights"),
        (lambda: nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 3).double()), "give them one dtype"),
        (lambda: nn.Linear, "of type type; give the torch.nn.Module"),
        (lambda: "a path", "of type str; give the torch.nn.Module"),
        (lambda: nn.GRU(4, 3).double(), "returns a tuple; it must return one tensor"),
        (lambda: nn.Linear(5, 3).double(), r"cannot take inputs of shape \(4,\) in torch.float64"),
    ],
)
def test_a_model_that_is_no_function_of_one_vector_is_refused(data, make, message):
    with pytest.raises(InputError, match=message):
        Objective(make(), *data)


# ---- contexts -----------------------------------------------------------------------------------


def test_derivatives_work_inside_no_grad(data, vectors):
    F, w = Objective(linear(), *data), vectors(15)
    outside = F.gradient(w), F.hvp(w, w), F.ggn(w, w)
    with torch.no_grad():
        inside = F.gradient(w), F.hvp(w, w), F.ggn(w, w)
        ul.lissa(F, w, w, lam=20.0, steps=3)
    assert all(map(torch.equal, outside, inside))


def test_inference_mode_is_refused_for_derivatives_alone(data, vectors):
    F = Objective(linear(), *data)
    with torch.inference_mode():
        w = vectors(15)
        assert F.value(w) > 0
        for differentiate in (F.gradient, lambda w: F.hvp(w, w), lambda w: F.ggn(w, w)):
            with pytest.raises(InputError, match="inside torch.inference_mode; leave it"):
                differentiate(w)
    assert F.gradient(w).shape == (15,)
    with torch.inference_mode():
        x = data[0] + 0
    assert Objective(linear(), x, data[1]).gradient(w).shape == (15,)


# ---- types --------------------------------------------------------------------------------------


def asked(F, w):
    return F.gradient(w)


@pytest.mark.parametrize(
    "convert",
    [
        lambda x: x.numpy(),
        lambda x: x.tolist(),
        lambda x: x.numpy()[::-1][::-1],
        lambda x: pd.DataFrame(x.numpy(), index=range(5, 5 + N)),
    ],
)
def test_arrays_lists_and_tables_are_taken(data, convert, vectors):
    x, y = data
    w = vectors(15)
    expected = Objective(linear(), x, y).gradient(w)
    labels = pd.Series(y.numpy(), index=range(3, 3 + N))
    for given in (y.numpy(), y.tolist(), labels, y.to(torch.int32), y.to(torch.uint8)):
        assert torch.equal(Objective(linear(), convert(x), given).gradient(w), expected)


def test_labels_that_are_true_or_false_are_classes(data, vectors):
    x, y = data
    model = nn.Linear(4, 2).double()
    yes = Objective(model, x, y == 1).gradient(vectors(10))
    assert torch.equal(yes, Objective(model, x, (y == 1).long()).gradient(vectors(10)))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (None, "x is of type NoneType and no array of numbers"),
        ("images", "x is of type str"),
        ([["a"] * 4] * N, "x is of type list"),
        ([[1.0], [1.0, 2.0]], "x is of type list"),
        ({"a": 1}, "x is of type dict"),
        (torch.ones(N, 4, dtype=torch.cfloat), "complex64; give real"),
    ],
)
def test_what_holds_no_numbers_is_refused(data, x, message):
    with pytest.raises(InputError, match=message):
        Objective(linear(), x, data[1])


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_number_that_is_none_is_found_in_the_data(data, bad):
    x, y = data
    x[7, 2] = x[9, 0] = bad
    with pytest.raises(InputError, match="x holds NaN or infinity in 2 of 12 samples.* index 7;"):
        Objective(linear(), x, y)
    targets = torch.zeros(N, 1).double()
    targets[3] = bad
    with pytest.raises(InputError, match="y holds NaN or infinity in 1 of 12 samples.* index 3;"):
        Objective(nn.Linear(4, 1).double(), x.nan_to_num(0, 0, 0), targets, loss=ul.squared_error)


ROWS = [0, 3, 7]


@pytest.mark.parametrize("rows", [
    set(ROWS), frozenset(ROWS), dict.fromkeys(ROWS).keys(), (i for i in ROWS), iter(ROWS),
    np.array(ROWS), np.array(ROWS[::-1])[::-1], np.array(ROWS, dtype=np.uint8), tuple(ROWS),
    pd.Series(ROWS, index=[5, 9, 2]), pd.Series([0, 3, 7, 8])[lambda s: s < 8],
    torch.tensor(ROWS, dtype=torch.int32), pd.Index(ROWS),
])  # fmt: skip
def test_indices_of_any_kind_name_the_same_samples(data, rows, vectors):
    F, w = Objective(linear(), *data, weight_decay=0.1), vectors(15)
    update = ul.newton_update(F, w, rows, lam=5.0)
    assert torch.equal(update, ul.newton_update(F, w, ROWS, lam=5.0))


def test_a_generator_is_read_once_by_every_entry_point(data):
    F = Objective(linear(), *data, weight_decay=1.0)
    w = ul.refine(F, F.initial(), gradient=1e-6, curvature=None).w
    known = ul.Constants(lam_min=1.0, G=ul.chosen(1e-6))
    terms = {"delta": 1e-5, "epsilon": 1.0}
    ball = terms | {"C": 10.0, "lam": 1.0}

    def request():
        return (i for i in ROWS)

    answers = [
        ul.unlearn(F, w, request(), **ball),
        ul.SequentialUnlearner(F, w, **ball).forget(request()),
        ul.unlearn_strongly_convex(F, w, request(), constants=known, **terms),
        ul.StronglyConvexUnlearner(F, w, constants=known, **terms).forget(request()),
    ]
    assert [a.certificate.measurements["samples forgotten"] for a in answers] == [3] * 4


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (None, "of type NoneType"),
        ("0, 3", "of type str"),
        ({0: 1}, "of type dict"),
        ({"a", "b"}, "no array of numbers"),
        (pd.Series([True, False]), "torch.bool; give integers"),
        ([0.0, 3.0], "float64; give integers"),
        (set(), "is empty"),
    ],
)
def test_what_names_no_samples_is_refused(data, rows, message):
    F = Objective(linear(), *data)
    with pytest.raises(InputError, match=message):
        F.without(rows)


def test_a_public_buffer_that_is_not_there_is_refused(data):
    with pytest.raises(InputError, match="public_buffers names ..mean..; the model has no such"):
        Objective(linear(), *data, public_buffers=["mean"])


def test_a_forward_that_writes_a_buffer_is_refused(data):
    class Running(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = linear()
            self.register_buffer("mean", torch.zeros(4).double())

        def forward(self, x):
            self.mean.mul_(0.9).add_(0.1 * x.detach()[0])
            return self.linear(x)

    with pytest.raises(InputError, match=r"forward changes the buffers \['mean'\]"):
        Objective(Running(), *data, public_buffers=["mean"])
