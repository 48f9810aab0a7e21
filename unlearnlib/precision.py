"""In which precision norms and sums are taken: double, where the device has it."""

from __future__ import annotations

import torch

from .errors import require

WITHOUT_DOUBLE = ("mps",)


def widest(device: torch.device) -> torch.dtype:
    """float64, or float32 on a device that has no other."""
    return torch.float32 if device.type in WITHOUT_DOUBLE else torch.float64


def check(dtype: torch.dtype, device: torch.device) -> None:
    """Refuse float64 on a device that does not have it."""
    lacks = dtype == torch.float64 and widest(device) != dtype
    require(
        not lacks,
        f"{device.type} has no float64, which spectra and proofs need: move the model to the CPU "
        "with model.cpu(), or set UNLEARNLIB_DEVICE=cpu.",
    )
