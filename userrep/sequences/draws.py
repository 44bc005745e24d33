"""Draws: random numbers of a given generator, which the length of the padding does not change."""

from collections.abc import Sequence

import torch
from torch import Tensor


def uniform(shape: int | Sequence[int], generator: torch.Generator, device: torch.device) -> Tensor:
    """Draw from [0, 1) in fp64 on the generator's device, and move what was drawn to `device`."""
    sizes = (shape,) if isinstance(shape, int) else tuple(shape)
    return torch.rand(sizes, generator=generator, dtype=torch.float64, device=generator.device).to(device)


def choose(real: Tensor, counts: Tensor, generator: torch.Generator) -> Tensor:
    """Choose `counts (B, 1)` of the real events of each row, all or less than it has: `(B, T)`, `real (B, T)` alike."""
    order = torch.full(real.shape, 2.0, dtype=torch.float64, device=real.device)
    order[real] = uniform(int(real.sum()), generator, real.device)
    return (order.argsort(dim=1).argsort(dim=1) < counts) & real
