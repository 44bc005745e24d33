"""Vectors on the unit sphere: how far they spread, how near two views of one user are, how evenly users lie."""

import torch
from torch import Tensor
from torch.nn import functional as F


def spread(vectors: Tensor) -> float:
    """Return the mean deviation of a channel of the normalised `(N, D)` vectors, in units of 1 / sqrt(D).

    It is near 1 where vectors lie all around the sphere, 0 where they are one (Chen and He, CVPR 2021, figure 2).
    """
    unit = F.normalize(vectors.float(), dim=-1)
    return float(unit.std(dim=0, correction=0).mean() * vectors.shape[-1] ** 0.5)


def alignment(left: Tensor, right: Tensor) -> float:
    """Return the mean squared distance between the normalised views `(N, D)` of the same users: 0 where they agree.

    From Wang and Isola, ICML 2020, with its exponent of 2.
    """
    return float((F.normalize(left.float(), dim=-1) - F.normalize(right.float(), dim=-1)).square().sum(dim=-1).mean())


def uniformity(vectors: Tensor) -> float:
    """Return the log of the mean of exp(-2 d^2) over all pairs of the normalised `(N, D)` vectors, at distance d.

    0 where all vectors are one; the lower, the more evenly they lie (Wang and Isola, ICML 2020). Needs two vectors.
    """
    unit = F.normalize(vectors.float(), dim=-1)
    return float(torch.pdist(unit).square().mul(-2).exp().mean().log())
