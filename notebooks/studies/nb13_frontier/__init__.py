"""Every certified way to forget at the same epsilon: accuracy against compute, beside retraining
(ours).

cases      the models that take part, and what is known of their objectives
ways       the ways to forget, their knobs, and the weights that each begins with
curves     accuracy by work, and the rule by which all knobs are tuned
accounts   published formulae beside the exact ones
choice     which way to take, read off the curves
figures    drawn from results.json
"""

from .figures import FIGURES as FIGURES
