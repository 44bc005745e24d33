"""The spectrum of user vectors: over how many directions they really spread."""

import torch
from torch import Tensor


def effective_rank(vectors: Tensor) -> float:
    """Return the effective rank of `(N, D)` vectors about their mean, from 1 to min(N - 1, D), or 0 for one point.

    It is the exponential of the entropy of the singular values, taken as shares of their sum (Roy and Vetterli, EUSIPCO
    2007): D where all directions weigh alike, 1 where all vectors lie on a line.
    """
    centred = vectors.double() - vectors.double().mean(dim=0)
    values = torch.linalg.svdvals(centred)
    total = values.sum()
    if not total > 0:
        return 0.0
    shares = values / total
    return float(torch.special.entr(shares).sum().exp())


def variance_share(vectors: Tensor) -> float:
    """Return which share of the mean squared length of `(N, D)` vectors is about their mean: 0 where they are one."""
    doubled = vectors.double()
    squared = doubled.square().sum(dim=1).mean()
    return float(1 - doubled.mean(dim=0).square().sum() / squared) if squared > 0 else 0.0
