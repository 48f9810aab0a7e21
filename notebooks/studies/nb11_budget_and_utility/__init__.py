"""Accuracy by epsilon; proved certificates, in seconds and against their forerunners; claimed,
realised and audited epsilon; planning a budget (trade-off).

worth         what a proved certificate costs, in accuracy and in time
forerunners   the methods that the paper builds on, on the same requests
worlds        models trained with and without the images that an audit asks about
audits        claimed, realised and audited epsilon
figures       drawn from results.json
"""

from .figures import FIGURES as FIGURES
