"""Continual metrics: what an encoder that learns task after task keeps, and what earlier tasks give to later ones.

A matrix `R (n, n)` has in row i, column j the metric of task j by the encoder after task i; what lies above the
diagonal is not there (NaN). `signs (n,)` is 1 where more of a task's metric is better and -1 where less is, 1 for all
by default, so that a positive difference is always a gain. Lopez-Paz and Ranzato, NeurIPS 2017, section 2; forward
transfer is held against models of one task, as there is nothing to measure before a task has a head.
"""

import numpy as np


def average(matrix: np.ndarray) -> float:
    """Return the mean over tasks of what the last encoder achieves, ACC."""
    return float(_last(matrix).mean())


def kept(matrix: np.ndarray, signs: np.ndarray | None = None) -> np.ndarray:
    """Return by how much each task but the last has changed since it was learned, `R[n, j] - R[j, j]`: `(n - 1,)`."""
    diagonal = np.diagonal(matrix)
    return (_last(matrix) - diagonal)[:-1] * _signs(matrix, signs)[:-1]


def backward_transfer(matrix: np.ndarray, signs: np.ndarray | None = None) -> float | None:
    """Return the mean of `kept`, BWT: below zero is forgetting; None for a single task."""
    changes = kept(matrix, signs)
    return float(changes.mean()) if len(changes) else None


def forward_transfer(matrix: np.ndarray, alone: np.ndarray, signs: np.ndarray | None = None) -> float | None:
    """Return the mean of `R[j, j] - alone[j]` over the tasks with a model of their own; `alone (n,)` is NaN for others.

    None where no task has one.
    """
    gains = (np.diagonal(matrix) - alone) * _signs(matrix, signs)
    known = ~np.isnan(alone)
    return float(gains[known].mean()) if known.any() else None


def free_after(shares: np.ndarray) -> np.ndarray:
    """Return the share of weights that is free after each task, of the shares that the tasks own: `(n,)` each."""
    return 1.0 - np.cumsum(shares)


def _last(matrix: np.ndarray) -> np.ndarray:
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not len(matrix):
        raise ValueError(f"a matrix of tasks is square and holds one at least, not {matrix.shape}")
    last: np.ndarray = matrix[-1]
    return last


def _signs(matrix: np.ndarray, signs: np.ndarray | None) -> np.ndarray:
    return np.ones(len(matrix)) if signs is None else np.asarray(signs)
