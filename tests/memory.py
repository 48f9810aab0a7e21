"""What training and a request take in memory: `python memory.py SAMPLES INPUTS`.

Prints the bytes of the features, and the most that was held while the model was trained and a
request answered, features included and what Python held before left out. In a process of its own,
since that is what the operating system counts for.
"""

import sys
from pathlib import Path

import torch
from torch import nn

import unlearnlib as ul
from unlearnlib.evaluation.peers import convex
from unlearnlib.lab.features import unit, within
from unlearnlib.lab.preconditioners import input_spectrum, sharpened, softmax_roots
from unlearnlib.lab.proved import curvature
from unlearnlib.strongly_convex import unlearn_strongly_convex

DECAY, G = 1e-3, 1e-6


def held(what: str) -> int:
    """Bytes that this process holds: "VmRSS" now, "VmHWM" at most so far."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith(what))
    return 1024 * int(line.split()[1])


def problem(samples: int, inputs: int) -> ul.Objective:
    """Softmax regression on features in single precision, as lab/proved.py has it."""
    draw = torch.Generator().manual_seed(0)
    x, y = torch.empty(samples, inputs), torch.empty(samples, dtype=torch.long)
    for rows in torch.arange(samples).split(100):
        found = torch.randn(len(rows), inputs - 1, generator=draw)
        x[rows], y[rows] = within(unit(found.double()), torch.float32), found[:, :10].argmax(1)
    net = nn.Linear(inputs, 10, bias=False).double()
    return ul.Objective(net, x, y, weight_decay=DECAY)


def main(samples: int, inputs: int) -> None:
    before = held("VmRSS")
    F = problem(samples, inputs)
    few = F.only(range(2000))
    single = curvature(few)
    zero = torch.zeros(F.p, dtype=torch.float64)
    w = ul.refine(F, zero, gradient=G, curvature=curvature(F)).w
    P = sharpened(single, w.float(), input_spectrum(single), softmax_roots, directions=200)
    constants = ul.Constants(
        lam_min=ul.proved(DECAY, "decay"), L=ul.proved(convex.SMOOTHNESS + DECAY, "softmax"),
        M=ul.proved(convex.HESSIAN_LIPSCHITZ, "softmax"), G=ul.chosen(G, "training stops there"),
        sample_gradient=ul.proved(convex.SAMPLE_GRADIENT, "softmax"),
    )  # fmt: skip
    release = unlearn_strongly_convex(
        F, w, range(0, samples, 50), constants=constants, delta=1e-5, epsilon=1.0, seed=0,
        curvature=curvature, preconditioner=lambda F, w: P,
    )  # fmt: skip
    assert release.certificate.holds == "proved", release.certificate.reasons
    print(F.x.nbytes, held("VmHWM") - before)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
