"""Where everything of the lab is computed: UNLEARNLIB_DEVICE = auto, cpu, cuda or mps.

Data, models, solvers, attacks and audits follow `device()`; what a result holds comes back from
the store on it. Random numbers are drawn on the CPU and moved, so that a seed gives the same draws
on every device; results agree to rounding, which training amplifies to the spread of seeds.
"""

from __future__ import annotations

import os

import torch

from ..errors import require

VARIABLE = "UNLEARNLIB_DEVICE"
CHOICES = ("auto", "cpu", "cuda", "mps")


def device() -> torch.device:
    """The device of this process; "auto", the default, takes a GPU if there is one.

    On several GPUs each process that torchrun started has its own. From here on a GPU's float32 is
    float32 in convolutions too. Raises InputError if the variable asks for what is not there.
    """
    asked = os.environ.get(VARIABLE) or "auto"
    require(asked in CHOICES, f"{VARIABLE} is {asked!r}; choose from {', '.join(CHOICES)}.")
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if asked == "auto":
        # not mps: it has no float64, which certificates, spectra and proved models need
        asked = "cuda" if there["cuda"] else "cpu"
    require(
        there.get(asked, True),
        f"{VARIABLE} is {asked!r}, and PyTorch finds no such device here; set it to 'auto', or "
        "install a build of PyTorch for it.",
    )
    if asked == "cuda":
        # or PyTorch rounds convolutions, forward and backward, to ten bits
        torch.backends.cudnn.allow_tf32 = False
        place = int(os.environ.get("LOCAL_RANK", 0))  # among torchrun's processes on this machine
        return torch.device("cuda", place % torch.cuda.device_count())
    return torch.device(asked)


def multiplies_bfloat16(where: torch.device) -> bool:
    """Whether the device multiplies bfloat16 itself: one that does not is much slower with it."""
    if where.type == "cpu":
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return where.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
