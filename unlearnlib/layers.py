"""Layers whose second derivatives PyTorch lacks, gets wrong, or has in one form only.

Attention has second derivatives as plain tensor operations, not in its fused kernels: see
`unfused`. What has none is refused when an objective is built, before anything is trained.
"""

from contextlib import contextmanager

from torch import backends, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils.parametrizations import _WeightNorm
from torch.nn.utils.weight_norm import WeightNorm

from .errors import require

FLAWS = {
    nn.EmbeddingBag: "has no second derivative in PyTorch; use nn.Embedding and mean(1), or sum(1)",
    nn.Hardsigmoid: "has no second derivative in PyTorch; use nn.Sigmoid",
    # its second derivative ignores that the norm depends on the weight
    (_WeightNorm, WeightNorm): "has a wrong second derivative in PyTorch; take off weight_norm",
}


@contextmanager
def unfused():
    """Inside this context, attention is plain tensor operations, differentiable twice."""
    fast = backends.mha.get_fastpath_enabled()
    backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        backends.mha.set_fastpath_enabled(fast)


def refuse(model: nn.Module) -> None:
    """Refuse a model with a layer whose second derivative is missing, or wrong, by its type."""
    for name, layer in model.named_modules():
        for part in (layer, *layer._forward_pre_hooks.values()):  # a hook: the older weight_norm
            flaw = next((text for kind, text in FLAWS.items() if isinstance(part, kind)), None)
            require(flaw is None, f"Layer '{name}' ({type(part).__name__}) {flaw}.")
