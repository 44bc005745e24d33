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
