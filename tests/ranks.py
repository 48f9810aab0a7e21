"""What test_processes.py has several processes run, and how it starts them.

    python tests/ranks.py compute FOLDER 2 4        with 2 processes, then with 4

The processes are forked by torchrun's launcher, for the sake of time: torch is imported once.
Started by torchrun itself, this file is what each process runs.
"""

import importlib
import os
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from conftest import labels, make_conv, make_mlp, normal, seeded
from safetensors.torch import save_file
from torch import nn
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

import unlearnlib as ul
from unlearnlib.errors import InputError, RankLostError
from unlearnlib.evaluation import baselines
from unlearnlib.lab import files, store
from unlearnlib.lab.processes import Ranks, ranks
from unlearnlib.reduce import ALONE
from unlearnlib.spectrum import extreme_eigenvalues


def computed(reduce):
    """Everything that is shared among processes, by name, in float64; no secret in it."""
    mlp, conv = make_mlp(), make_conv()
    F = mlp.objective(weight_decay=0.1, pass_size=4, reduce=reduce)
    F_conv = conv.objective(weight_decay=0.1, pass_size=7, reduce=reduce)
    w, b, several = mlp.w, normal(43, seed=7), normal(3, 43, seed=8)
    ends = extreme_eigenvalues(F_conv, conv.w, tol=1e-3, generator=seeded(5))
    solve = partial(ul.lissa, lam=20.0, chains=5, batch_size=4, steps=12, tol=1e-14)
    terms = dict(C=20.0, lam=20.0, delta=1e-5, sigma=0.1, seed=3)
    queue = ul.SequentialUnlearner(F, w, **terms, tol=1e-10)
    return {
        "value": torch.tensor(F.value(w)),
        "gradient": F.gradient(w),
        "gradient, fewer samples than processes": F.only([7, 2, 3]).gradient(w),
        "Hessian product": F.hvp(w, b),
        "several": F.hvp(w, several),
        "Gauss-Newton product": F.ggn(w, several),
        "Hessian": F.hessian(w),
        "eigenvalues": torch.tensor([ends.lam_min, ends.lam_max]),
        "conjugate gradient": ul.conjugate_gradient(F, w, b, lam=20.0, tol=1e-12).x,
        "LiSSA": solve(F, w, b, generator=seeded(6)).x,
        "LiSSA, all samples": solve(F, w, b, batch_size=30, generator=seeded(6)).x,
        "released": ul.unlearn(F, w, [3, 14, 15], **terms, tol=1e-10).w,
        "sequence": torch.stack([queue.forget(each).w for each in ([3], [14, 15], [9])]),
        **trained(F, w, "MLP", optimizer="adam", batch_size=7),
        **trained(F, w, "MLP, batches smaller than the processes are many", batch_size=3),
        **trained(F, w, "MLP, until", batch_size=30, until_gradient=0.2),
        **trained(F_conv, conv.w, "convolutions", batch_size=8, momentum=0.9),
        **trained(F, torch.stack([w, -w]), "two models", batch_size=8),
        **trained(normed(reduce), normed().initial(), "BatchNorm", batch_size=8),
        "NegGrad+": baselines.neggrad_plus(
            F, w, [3, 14, 15], alpha=0.7, epochs=2, lr=0.1, batch_size=8, generator=seeded(6)
        ),
    } | dict(zip(("noise", "history"), noise_and_history(solve, F, w, b), strict=True))


def trained(F, w, name, **settings):
    """Weights, losses and buffers after three epochs in a ball that binds."""
    run = ul.projected_sgd(F, w, C=2.5, epochs=3, lr=0.1, generator=seeded(6), **settings)
    losses = torch.tensor([epoch["loss"] for epoch in run.history])
    buffers = {f"training, {name}, {k}": q.double() for k, q in run.buffers.items()}
    return {f"training, {name}": run.w, f"training, {name}, losses": losses} | buffers


def normed(reduce=ALONE):
    net = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3)).double()
    for q in net.parameters():
        q.data = normal(*q.shape, seed=9)
    return ul.Objective(net, normal(30, 5, seed=1), labels(30), reduce=reduce)


def noise_and_history(solve, F, w, b):
    solution = solve(F, w, b, generator=seeded(6))
    return torch.tensor(solution.noise), torch.tensor(solution.history)


def alike(together):
    """What each process may draw or make for itself, and all have to have alike."""
    mlp = make_mlp()
    F = mlp.objective(weight_decay=0.1, reduce=together)
    mine = torch.tensor([float(together.rank)])
    made = store.load_or_make("made", {"a": 1}, lambda: ({"rank": mine}, {}))
    read = store.load_or_make("made", {"a": 1}, lambda: ({"rank": mine - 100}, {}))
    secret = ul.unlearn(F, mlp.w, [3], C=20.0, lam=20.0, delta=1e-5, sigma=0.1)
    return {
        "drawn": torch.rand(3),
        "secret": secret.w,
        "whose": torch.cat([made.tensors["rank"], read.tensors["rank"]]),
        "fresh": torch.tensor([made.fresh, read.fresh]),
        "agreed": together.agree(mine),
        "truth": together.agree(mine > 0),
    }


def refusals(together):
    """Messages of what is refused, in this process."""
    said, part = {}, torch.ones(3)
    assert together(part)[0] == together.size and torch.equal(part, torch.ones(3))
    unequal = torch.ones(2 + together.rank)
    mlp = make_mlp()
    F = mlp.objective(reduce=together)
    few = dict(lam=20.0, chains=1, scale=50.0)
    noise, both = dict(lam=20.0, delta=1e-5, sigma=0.1), [1, 2] if together.rank else [2, 1]
    proof = dict(constants=ul.Constants(lam_min=1.0, G=9.0), delta=1e-5, sigma=0.1)
    mlp.y = (mlp.y + together.rank) % 3
    F_own = mlp.objective(reduce=together)
    other = together if together.rank else together.agree
    for name, error, call in (
        ("shapes", RankLostError, lambda: together(unequal)),
        ("calls", RankLostError, lambda: other(part)),
        ("chains", InputError, lambda: ul.lissa(F, mlp.w, mlp.w, **few)),
        ("forget", InputError, lambda: ul.unlearn(F, mlp.w, [together.rank], C=20.0, **noise)),
        ("order", InputError, lambda: ul.unlearn(F, mlp.w, both, C=20.0, **noise)),
        ("C", InputError, lambda: ul.unlearn(F, mlp.w, [1], C=20.0 + together.rank, **noise)),
        ("w", InputError, lambda: ul.unlearn(F, mlp.w + together.rank, [1], C=99.0, **noise)),
        ("y", InputError, lambda: ul.unlearn(F_own, mlp.w, [1], C=20.0, **noise)),
        ("convex", InputError, lambda: ul.unlearn_strongly_convex(F, mlp.w, both, **proof)),
    ):
        with pytest.raises(error) as caught:
            call()
        said[name] = str(caught.value)
    assert together(part)[0] == together.size  # a refusal leaves all in step
    return said


def compute(folder):
    os.environ["UNLEARNLIB_CACHE"] = str(folder / f"cache {os.environ['WORLD_SIZE']}")
    torch.manual_seed(100 + int(os.environ["RANK"]))
    together = ranks()
    tensors = computed(together) | alike(together)
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    file = folder / f"{together.rank} of {together.size}.safetensors"
    save_file(tensors, file, refusals(together))


def lose(folder, leave):
    """Rank 1 leaves in the middle of conjugate gradient; what is made last must not appear."""

    class Mortal(Ranks):
        calls = 0

        def __call__(self, part):
            Mortal.calls += 1
            if Mortal.calls == 6 and self.rank == 1:
                leave()
            return super().__call__(part)

    together = ranks()
    F = make_mlp().objective(reduce=Mortal(together.rank, together.size))
    release = ul.unlearn(F, make_mlp().w, [3], C=20.0, lam=20.0, delta=1e-5, sigma=0.1, tol=1e-9)
    files.save_tensors(folder / "released.safetensors", {"w": release.w})


COMMANDS = {
    "compute": compute,
    "die": partial(lose, leave=lambda: os._exit(7)),
    "hang": partial(lose, leave=lambda: time.sleep(9)),
}


def run(command, folder):
    torch.set_num_threads(1)
    try:
        COMMANDS[command](folder)
    except ul.UnlearnError as error:
        sys.exit(f"error: {error}")


def launch(command, folder, size):
    """As `torchrun --standalone --nproc-per-node SIZE`, but forked."""
    config = LaunchConfig(
        1,
        1,
        size,
        run_id=f"{command}{size}",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        start_method="fork",
        max_restarts=0,
        monitor_interval=0.5,
    )
    importlib.import_module("torch._dynamo")  # autograd's first use does so: once, before the fork
    elastic_launch(config, run)(command, folder)


if __name__ == "__main__":
    command, folder, *sizes = sys.argv[1:]
    if "RANK" in os.environ:
        run(command, Path(folder))
    for size in map(int, sizes):
        launch(command, Path(folder), size)
