"""Products at one point: kept graphs give what fresh ones give, and take no more room."""

import pytest
import torch
from conftest import normal

from unlearnlib import conjugate_gradient, linearised
from unlearnlib.objective import Objective

EXACT = {"rtol": 1e-10, "atol": 1e-12}
BOTH = pytest.mark.parametrize("matrix", ["hessian_at", "ggn_at"])


def vectors(*shape):
    return normal(*shape, seed=7)


class Built:
    """Counts the passes whose graph is built, leaving out those that tell its size."""

    def __init__(self, monkeypatch):
        self.passes = 0
        plain = linearised.Linearised._built

        def counted(this, samples):
            self.passes += samples.stop - samples.start > 2
            return plain(this, samples)

        monkeypatch.setattr(linearised.Linearised, "_built", counted)


@BOTH
@pytest.mark.parametrize("keep", [0, 20_000, 2**30])
def test_every_product_is_that_of_the_dense_matrix(mlp, matrix, keep):
    F = mlp.objective(weight_decay=0.1, pass_size=7)
    product = getattr(F, matrix)(mlp.w, keep)
    dense = torch.stack([getattr(F, matrix)(mlp.w, 0)(e) for e in torch.eye(F.p).double()])
    if matrix == "hessian_at":
        torch.testing.assert_close(dense, mlp.hessian_by_hand(weight_decay=0.1), **EXACT)
    for v in (vectors(F.p), vectors(3, F.p), vectors(F.p)):
        torch.testing.assert_close(product(v), v @ dense, **EXACT)


@BOTH
def test_what_is_kept_is_built_once_and_the_rest_each_time(mlp, matrix, monkeypatch):
    F, v = mlp.objective(pass_size=10), vectors(43)  # three passes
    product = getattr(F, matrix)(mlp.w, 2**30)
    product(v)
    fixed, each = product.sizes
    one_pass, builds = fixed + 10 * each, {}
    for keep in (0, one_pass + 1, 2**30):
        counter, product = Built(monkeypatch), getattr(F, matrix)(mlp.w, keep)
        for _ in range(4):
            product(v)
        builds[keep] = counter.passes
        monkeypatch.undo()
    assert list(builds.values()) == [12, 1 + 2 * 4, 3]


@BOTH
@pytest.mark.parametrize("pass_size", [1, 10])
def test_kept_graphs_take_no_more_than_they_may(mlp, matrix, pass_size):
    """All that autograd saves, counted as it is saved; data and w are there anyway."""
    F, saved = mlp.objective(pass_size=pass_size), {}
    known = {tensor.untyped_storage().data_ptr() for tensor in (F.x, F.y, mlp.w)}

    def note(tensor):
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    product = getattr(F, matrix)(mlp.w, 2**30)
    product(vectors(43))
    fixed, each = product.sizes
    keep = 1 + sum(fixed + each * pass_size for _ in range(2))
    product = getattr(F, matrix)(mlp.w, keep)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        for samples in list(F.own_passes())[:2]:
            product._keep(samples)
    assert len(product.kept) == 2
    taken = sum(storage.nbytes() for at, storage in saved.items() if at not in known)
    assert keep / 20 < taken <= keep
    product._keep(slice(0, pass_size))
    assert len(product.kept) == 2


def test_conjugate_gradient_builds_each_pass_once(softmax, monkeypatch):
    counter = Built(monkeypatch)
    F = softmax.objective(weight_decay=0.1, pass_size=10)
    solution = conjugate_gradient(F, softmax.w, vectors(15), lam=0.1, tol=1e-8)
    assert solution.steps > 5 and counter.passes == 3


class Part:
    """One of several processes that never meet: sums stay partial."""

    def __init__(self, rank, size):
        self.rank, self.size = rank, size

    def share(self, items):
        k, R = self.rank, self.size
        return items[len(items) * k // R : len(items) * (k + 1) // R]

    def __call__(self, part):
        return part


@pytest.mark.parametrize("size", [2, 3, 40])
def test_the_shares_of_a_sum_add_up_to_it(mlp, size):
    v, F = vectors(43), mlp.objective(pass_size=4)
    parts = [
        Objective(mlp.model, mlp.x, mlp.y, pass_size=4, reduce=Part(k, size)) for k in range(size)
    ]
    for what in ("gradient", "hvp", "ggn"):
        terms = [mlp.w] if what == "gradient" else [mlp.w, v]
        total = sum(getattr(part, what)(*terms) for part in parts)
        torch.testing.assert_close(total, getattr(F, what)(*terms), **EXACT)
    assert sum(part.value(mlp.w) for part in parts) == pytest.approx(F.value(mlp.w), abs=1e-12)
