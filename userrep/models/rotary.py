"""Rotary positions: queries and keys are turned so that their product knows the distance alone (Su et al., 2021)."""

import torch
from torch import Tensor

BASE = 10_000.0


def rotate(vectors: Tensor) -> Tensor:
    """Turn vectors `(B, heads, T, d)`, d even, by angles that grow with the distance to the newest step.

    Steps are counted from the right, so that padding changes no angle, not even its last bit.
    """
    steps, half = vectors.shape[-2], vectors.shape[-1] // 2
    back = torch.arange(steps - 1, -1, -1, device=vectors.device, dtype=torch.float32)  # (T,)
    rates = BASE ** -(torch.arange(half, device=vectors.device, dtype=torch.float32) / half)  # (d / 2,)
    angles = torch.outer(back, rates)
    cos, sin = angles.cos().to(vectors.dtype), angles.sin().to(vectors.dtype)
    left, right = vectors[..., :half], vectors[..., half:]
    return torch.cat([left * cos - right * sin, right * cos + left * sin], dim=-1)
