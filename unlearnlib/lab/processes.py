"""Let the processes of torchrun work as one: share sums, write once, and divide the cores.

    torchrun --nproc-per-node 4 -m unlearnlib.lab.reproduce --profile laptop
    F = Objective(model, x, y, reduce=ranks())      # a script of your own, started by torchrun

On several machines, the same command on each, with the first one's address and folders for all:

    export UNLEARNLIB_CACHE=/shared/cache UNLEARNLIB_FIGURES=/shared/figures
    torchrun --nnodes 4 --nproc-per-node 8 --rdzv-backend c10d --rdzv-id unlearn \\
        --rdzv-endpoint first.example:29500 -m unlearnlib.lab.reproduce --profile paper

Every process holds all samples and runs the same program; `unlearnlib/reduce.py` says how. Only
the first writes files and prints, and all read what it wrote. Each batch of a training is shared
too, unless BatchNorm needs all of it at once. If one is lost or falls out of step, all end with an
error that says so, nothing is released, and the same command goes on from the last finished epoch.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Callable
from datetime import timedelta
from functools import cache, partial
from multiprocessing import parent_process

import torch
import torch.distributed as dist
from torch import Tensor

from ..errors import RankLostError, require
from ..reduce import ALONE, Alone
from .device import device

TIMEOUT = 600  # seconds that a process waits for the others; the variable overrides it
TIMEOUT_VARIABLE = "UNLEARNLIB_TIMEOUT"
# Processes that torchrun started once may meet several times, as those of each notebook do; each
# time under another name, so that what one meeting left in torchrun's store does not disturb the
# next.
MEETING_VARIABLE = "UNLEARNLIB_MEETING"
THREADS = 2  # more gain little; the variable overrides it
THREADS_VARIABLE = "UNLEARNLIB_THREADS"

REMEDY = (
    "Nothing was released or kept. Look at the first error above, which may be another process's, "
    "and start again with the same command: finished models and epochs are kept."
)


class Ranks(Alone):
    """The processes that torchrun started, joined by torch.distributed: see `ranks`.

    Raises RankLostError, in every process that is left, when one is lost or makes another call
    than the others. Each call first exchanges 16 bytes, to check that all make the same call: sums
    of different things would be wrong, or wait for ever.
    """

    def __init__(self, rank: int, size: int):
        self.rank, self.size = rank, size

    def share(self, items: range) -> range:
        """Return this process's part of `items`; the parts' sizes differ by one at most."""
        k, R = self.rank, self.size
        return items[len(items) * k // R : len(items) * (k + 1) // R]

    def __call__(self, part: Tensor) -> Tensor:
        """The sum of all processes' `part`, the same bits in each; `part` itself is unchanged."""
        return self._together("sum", part, dist.all_reduce)

    def agree(self, value: Tensor) -> Tensor:
        """Return the first process's `value` in every process; a barrier as well."""
        return self._together("agreement", value, partial(dist.broadcast, src=0))

    def require_same(self, **held: Tensor) -> None:
        """Refuse to go on, in every process, unless all hold the same bits in each of `held`."""
        for name, value in held.items():
            bits = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
            digest = torch.tensor([*hashlib.sha256(bits).digest()], device="cpu")
            total, squares = self(torch.stack([digest, digest**2]).to(value.device))
            require(
                bool((self.size * squares == total**2).all()),
                f"The {self.size} processes hold different values of {name}; give all of them the "
                "same, with indices in one order: a set of strings has another in each process.",
            )

    def _together(self, what: str, value: Tensor, act: Callable[[Tensor], object]) -> Tensor:
        result = value.detach().clone(memory_format=torch.contiguous_format)
        call = f"{what} of shape {tuple(value.shape)} in {value.dtype}"
        number = zlib.crc32(call.encode())
        ends = torch.tensor([number, -number], device=value.device)
        try:
            dist.all_reduce(ends, dist.ReduceOp.MAX)
            if ends[0] == -ends[1]:
                act(result)
                return result
            why = f"processes make different calls; here it is the {call}"
        except RuntimeError as problem:
            raise RankLostError(self._lost(str(problem))) from problem
        raise RankLostError(self._lost(why))

    def _lost(self, why: str) -> str:
        return (
            f"Rank {self.rank} of {self.size} noticed that a process was lost or fell out of step "
            f"({why}). {REMEDY}"
        )


@cache
def ranks() -> Alone:
    """Return what to pass as Objective(..., reduce=): the processes of torchrun, else ALONE.

    The first call joins the processes and waits for all of them, ten minutes at most (seconds in
    UNLEARNLIB_TIMEOUT), as each later sum does. Tensors on the CPU travel by gloo, those on CUDA
    by nccl. From then on all share the first one's torch seed: draws without a generator have to
    be the same everywhere, or the processes would add up different things.
    """
    if processes() == 1:
        return ALONE
    if not dist.is_initialized():
        _meet()
    joined = Ranks(dist.get_rank(), dist.get_world_size())
    seed = torch.tensor(torch.initial_seed() % 2**63, device="cpu")
    torch.manual_seed(int(joined.agree(seed)))
    return joined


def first() -> bool:
    """Whether this process writes files and prints: under torchrun only that of rank 0."""
    return processes() == 1 or _number("RANK", 0) == 0


def processes() -> int:
    """How many processes torchrun started, on all machines; 1 without it."""
    return _number("WORLD_SIZE", 1)


def processes_here() -> int:
    """How many of torchrun's processes run on this machine and share its cores."""
    return _number("LOCAL_WORLD_SIZE", 1)


def use_threads(model: str) -> None:
    """Set the number of threads: one for the MLP, where a second only waits, else at most two.

    UNLEARNLIB_THREADS says another number than two: 1 where other work keeps the cores busy, since
    a convolution's threads hold their cores while they wait for each other.
    One also in a process that another one started, as lab/parallel.py does: the cores are taken.
    Under torchrun the processes of a machine divide its cores.
    """
    alone = model == "mlp" or parent_process() is not None
    cores = (os.cpu_count() or 1) // processes_here()
    most = _number(THREADS_VARIABLE, THREADS)
    torch.set_num_threads(1 if alone else max(1, min(most, cores)))


def sleep_while_waiting() -> None:
    """Have the processes started from here on sleep where their threads wait for each other.

    OpenMP's threads spin otherwise, and hold the cores that other processes need: a job beside
    another one then takes up to forty times as long. OMP_WAIT_POLICY, if set, stays as it is.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def _meet() -> None:
    seconds = _number(TIMEOUT_VARIABLE, TIMEOUT)
    wait = timedelta(seconds=seconds)
    backend = "gloo"
    if device().type == "cuda" and dist.is_nccl_available():
        backend = "cpu:gloo,cuda:nccl"
        torch.cuda.set_device(device())
        # a lost process then raises where we wait for it, instead of ending us from outside
        os.environ.setdefault("TORCH_NCCL_BLOCKING_WAIT", "1")
    try:
        store, rank, size = next(dist.rendezvous("env://", timeout=wait))
        store = dist.PrefixStore(os.environ.get(MEETING_VARIABLE, "one"), store)
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=wait)
    except (RuntimeError, ValueError) as problem:
        raise RankLostError(
            f"Rank {os.environ.get('RANK', '?')} of {os.environ['WORLD_SIZE']} did not meet the "
            f"others within {seconds} s ({problem}); start all with torchrun, or unset WORLD_SIZE. "
            + REMEDY
        ) from problem


def _number(variable: str, default: int) -> int:
    text = os.environ.get(variable) or str(default)
    require(
        text.isdecimal() and (int(text) > 0 or variable.endswith("RANK")),
        f"{variable} is {text!r}; it must be a whole number. torchrun sets it rightly.",
    )
    return int(text)
