"""Accuracy by epsilon; proved certificates, in seconds and against their forerunners; claimed,
realised and audited epsilon; planning a budget (trade-off).

models        which proved models take part, on which data and features: lab/lineup.py
worth         what a proved certificate costs, in accuracy and in time
adam          retraining by Adam to the same accuracy
forerunners   the methods that the paper builds on, on the same requests
worlds        models trained with and without the images that an audit asks about
audits        claimed, realised and audited epsilon
figures       drawn from results.json
"""

from unlearnlib.lab import lineup as models

from .figures import FIGURES as FIGURES

__all__ = ["FIGURES", "models"]
