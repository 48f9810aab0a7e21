"""The certified methods that the paper builds on, on a problem where all are proved.

guo       one Newton step a request, hidden by noise in the training objective
sekhari   one Newton step from stored statistics, hidden by noise in the output
neel      more steps of gradient descent, hidden by noise in the output
convex    what they share: softmax regression, its constants, its dense Hessian

Each is a class with the same face: `Method.train(F, epsilon=.., delta=.., ...)`, then
`method.forget(indices)` for each request, which returns an `Answer`; `method.trained` is the first.
"""

from .convex import Answer
from .guo import Guo
from .neel import Neel
from .sekhari import Sekhari

__all__ = ["Guo", "Neel", "Answer", "Sekhari"]
