"""Every certified way to forget at the same epsilon: accuracy against compute, beside retraining
(ours).

cases      the models that take part, and what is known of their objectives
way        what a way to forget is: its knobs, and the weights that it begins with
ways       all of them, by what their noise hides: noiseless, balls, descents, private, forerunners
curves     accuracy by work
tuning     the rule by which all knobs are tuned
epsilons   accuracy along epsilon
accounts   published formulae beside the exact ones
worlds     of each method two worlds that are as far apart as may be; those of the methods that
           the paper builds on are in forerunner_worlds
audits     what releases of these show
choice     which way to take, read off the curves
figures    drawn from results.json
"""

from .choice import decisions
from .figures import FIGURES as FIGURES

PAGES = {"which_method.md": {"decisions": decisions}}
