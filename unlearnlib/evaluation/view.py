"""An objective with the same samples, model and buffers, but other values or derivatives."""

from __future__ import annotations

from ..objective import Objective


class View(Objective):
    """Subclass this to change how an objective F is evaluated: it holds all that F holds.

    changes   attributes that differ from F's, or that only the view has
    """

    def __init__(self, F: Objective, **changes):
        vars(self).update(vars(F), **changes)
