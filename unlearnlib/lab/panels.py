"""Panels: a figure of formulae that follows sliders, and a still where nobody can move one.

panel(draw, scale=powers(1, 1e4, at=1000), steps=powers(1, 1e4, at=100))
panel(draw, lam_min=between(-50, 200, at=0))

A panel shows no result: its cell has the tag "panel", needs nothing above it, and publish.py draws
its still apart from the notebook's run.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass

import matplotlib.pyplot as plt
from IPython.display import display
from matplotlib.figure import Figure

from ..errors import require
from ..progress import PROGRESS

PLACES = 60  # of a slider


@dataclass(frozen=True)
class Slider:
    """Values from low to high, evenly spaced, or their powers of ten; it begins at `at`."""

    low: float
    high: float
    at: float
    powers: bool = False

    def __post_init__(self):
        said = f"at = {self.at:g}; it must be from {self.low:g} to {self.high:g}"
        require(self.low <= self.at <= self.high, said)


def between(low: float, high: float, at: float) -> Slider:
    """A slider over evenly spaced values."""
    return Slider(low, high, at)


def powers(low: float, high: float, at: float) -> Slider:
    """A slider over powers of ten, for what may be tiny or large."""
    require(low > 0, f"low = {low:g}; powers of ten are above 0, so take `between`")
    return Slider(low, high, at, powers=True)


def panel(draw: Callable[..., Figure], **sliders: Slider) -> None:
    """Show draw(**values), and draw it again whenever somebody moves a slider.

    Where outputs are kept (UNLEARNLIB_PROGRESS=0) or ipywidgets is not installed, it is a still,
    drawn at the values that the sliders begin with.
    """

    def show(**values: float) -> None:
        fig = draw(**values)
        display(fig)
        plt.close(fig)

    try:
        import ipywidgets
    except ModuleNotFoundError:
        ipywidgets = None
    if ipywidgets is None or os.environ.get(PROGRESS) == "0":
        show(**{name: slider.at for name, slider in sliders.items()})
        return
    handles = {name: _handle(ipywidgets, name, slider) for name, slider in sliders.items()}
    output = ipywidgets.interactive_output(show, handles)
    display(ipywidgets.VBox([*handles.values(), output]))


def _handle(ipywidgets, name: str, slider: Slider):
    """The slider, which draws when it is let go."""
    how = {"value": slider.at, "description": name, "continuous_update": False}
    how |= {"readout_format": ".3g", "style": {"description_width": "6em"}}
    if not slider.powers:
        step = (slider.high - slider.low) / PLACES
        return ipywidgets.FloatSlider(min=slider.low, max=slider.high, step=step, **how)
    low, high = math.log10(slider.low), math.log10(slider.high)
    return ipywidgets.FloatLogSlider(min=low, max=high, step=(high - low) / PLACES, **how)
