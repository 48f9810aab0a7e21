"""Answers found without the package, for tests to hold it against."""

import numpy as np


def minimiser(x, y, steps=30):
    """Weights of logistic regression with decay 1, labels 0 and 1, by Newton's method."""
    w = np.zeros(x.shape[1])
    for _ in range(steps):
        p = 1 / (1 + np.exp(-x @ w))
        hessian = (x.T * (p * (1 - p))) @ x / len(x) + np.eye(len(w))
        w = w - np.linalg.solve(hessian, x.T @ (p - y) / len(x) + w)
    return w
