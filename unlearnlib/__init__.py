"""Certified unlearning for deep networks, after Zhang, Dong, Wang and Li (ICML 2024).

The objective and training     Objective, squared_error, projected_sgd, project
The inverse-Hessian product    lissa, conjugate_gradient
The update                     newton_update
Bounds, noise, certificate     bounds, gaussian_*, compose_epsilon, Constants, Certificate
One request, many requests     unlearn, SequentialUnlearner, plan
Strongly convex, proved        refine, unlearn_strongly_convex, StronglyConvexUnlearner
A second opinion               verify
Curvature as measured          spectrum
"""

from . import batchnorm, bounds, noise, spectrum
from .certificate import Certificate, Constants, assumed, chosen, measured, proved
from .cg import conjugate_gradient
from .errors import (
    DataError,
    DivergenceError,
    InputError,
    NegativeCurvatureError,
    ProfileError,
    UnlearnError,
)
from .lissa import lissa
from .newton import newton_update
from .noise import compose_epsilon, gaussian_delta, gaussian_epsilon, gaussian_sigma
from .objective import Objective, cross_entropy, squared_error
from .planner import Plan, affordable, plan
from .projected_sgd import Run, project, projected_sgd
from .refinement import Refinement, refine
from .sequential import SequentialUnlearner
from .solution import Solution
from .strongly_convex import StronglyConvexUnlearner, unlearn_strongly_convex
from .unlearn import Release, unlearn
from .verify import Verification, verify

__version__ = "0.1.0"

# fmt: off
__all__ = [
    "Certificate", "Constants", "DataError", "DivergenceError", "InputError",
    "NegativeCurvatureError", "Objective", "Plan", "ProfileError", "Refinement", "Release",
    "Run", "SequentialUnlearner", "Solution", "StronglyConvexUnlearner", "UnlearnError",
    "Verification", "affordable", "assumed", "batchnorm", "bounds", "chosen", "compose_epsilon",
    "conjugate_gradient", "cross_entropy", "gaussian_delta", "gaussian_epsilon",
    "gaussian_sigma", "lissa", "measured", "newton_update", "noise", "plan", "project",
    "projected_sgd", "proved", "refine", "spectrum", "squared_error", "unlearn",
    "unlearn_strongly_convex", "verify",
]
# fmt: on
