"""Samplers: where the shared negatives of a sampled loss come from."""

import torch
from torch import Tensor

from userrep.errors import ConfigError
from userrep.sequences.vocab import RESERVED


class Sampler:
    """Draw item ids with replacement from a fixed distribution over `counts (V,)`; reserved ids are never drawn.

    `power` 0 draws uniformly, 1 by training frequency, between them a flattened frequency. Counts come from training
    events only; an item without any keeps one count, so that each item can be drawn.
    """

    def __init__(self, counts: Tensor, power: float) -> None:
        if power < 0:
            raise ConfigError(f"sampler power is {power}", "give 0 for uniform, 1 for frequency, or a value between")
        weights = counts.to(torch.float64).clamp_min(1.0).pow(power)
        weights[:RESERVED] = 0.0
        self.probabilities = weights / weights.sum()
        self.cumulative = self.probabilities.cumsum(0)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw `(count,)` ids by inverting the cumulative distribution, O(count log V)."""
        uniform = torch.rand(count, generator=generator, dtype=torch.float64, device=generator.device)
        ids = torch.searchsorted(self.cumulative, uniform.to(self.cumulative.device), right=True)
        return ids.clamp_(RESERVED, len(self.cumulative) - 1)

    def log_expected(self, count: int) -> Tensor:
        """Return the log of how often each id is expected among `count` draws, `(V,)` fp32."""
        return (self.probabilities * count).clamp_min(1e-30).log().float()
