"""Images so small that a model on them trains in milliseconds."""

from dataclasses import replace

from unlearnlib.lab import data


def tiny(train=60, test=200):
    """Digits of 8 x 8 pixels, which `features.PIXELS` averages to 4 x 4."""
    few = data.load("mnist5k").subset(train, test)
    small = {name: getattr(few, name)[..., 2:26:3, 2:26:3] for name in ("x_train", "x_test")}
    return replace(few, **small)
