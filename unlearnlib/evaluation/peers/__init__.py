"""Certified methods of others, each by its own theorem.

On a strongly convex problem, whose constants are proved; those that the paper builds on:

guo                one Newton step a request, hidden by noise in the training objective
sekhari            one Newton step from stored statistics, hidden by noise in the output
neel               more steps of gradient descent, hidden by noise in the output
noisy_sgd          noise at every step, of training and of a request
convex             what they share: softmax regression, its constants, its dense Hessian

On networks:

clipped_gradients  noisy fine-tuning whose gradients are clipped
clipped_models     noisy fine-tuning whose weights are clipped; one step is output perturbation
rewind             back to an early checkpoint, and on from there without the samples
dp_sgd             noise from the start, for groups: requests need no answer
interpolation      what they share: how far noisy steps blur two runs, and the answers

The first three are classes with the same face: `Method.train(F, epsilon=.., delta=.., ...)`, then
`method.forget(indices)` for each request, which returns an `Answer`; `method.trained` is the first.
"""

from .convex import Answer
from .guo import Guo
from .interpolation import Noisy
from .neel import Neel
from .sekhari import Sekhari

__all__ = ["Guo", "Neel", "Answer", "Noisy", "Sekhari"]
