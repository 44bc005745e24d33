"""Samplers: where the negatives of a loss come from."""

from collections.abc import Callable

import torch
from torch import Tensor

from userrep.errors import ConfigError, DataError
from userrep.sequences.vocab import RESERVED

RHO = 0.3  # of the published code (spec 2.3)


class Sampler:
    """Draw item ids with replacement in proportion to `weights (V,)`; reserved ids are never drawn."""

    def __init__(self, weights: Tensor) -> None:
        weights = weights.to(torch.float64).clone()
        weights[:RESERVED] = 0.0
        self.probabilities = weights / weights.sum()
        self.cumulative = self.probabilities.cumsum(0)
        self.expected: dict[int, Tensor] = {}  # what `log_expected` returned, by count

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw `(count,)` ids by inverting the cumulative distribution, O(count log V)."""
        uniform = torch.rand(count, generator=generator, dtype=torch.float64, device=generator.device)
        ids = torch.searchsorted(self.cumulative, uniform.to(self.cumulative.device), right=True)
        return ids.clamp_(RESERVED, len(self.cumulative) - 1)

    def draw_others(self, answers: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Draw `(N, count)` ids, in each row any item but `answers (N,)`, the rest in proportion to their weights.

        The answer's stretch of the distribution is stepped over, so that no draw is ever thrown away and repeated.

        Raises DataError where there is no other item.
        """
        if len(self.cumulative) - RESERVED < 2:
            raise DataError("there is one item, and no negative beside it", "choose data with two items or more")
        shape = (len(answers), count)
        uniform = torch.rand(shape, generator=generator, dtype=torch.float64, device=generator.device)
        place = self._on(answers.device)
        own = place.probabilities[answers].unsqueeze(1)  # (N, 1)
        begin = place.cumulative[answers - 1].unsqueeze(1)  # ids below RESERVED hold nothing, so there is one before
        reached = uniform.to(answers.device) * (1 - own)
        reached += torch.where(reached >= begin, own, 0)
        last = len(self.cumulative) - 1
        ids = torch.searchsorted(place.cumulative, reached, right=True).clamp_(RESERVED, last)
        beside = torch.where(answers < last, answers + 1, answers - 1).unsqueeze(1)
        return torch.where(ids == answers.unsqueeze(1), beside, ids)  # rounding may land on the edge of the gap

    def log_expected(self, count: int) -> Tensor:
        """Return the log of how often each id is expected among `count` draws, `(V,)` fp32."""
        if count not in self.expected:
            self.expected[count] = (self.probabilities * count).clamp_min(1e-30).log().float()
        return self.expected[count]

    def _on(self, device: torch.device) -> "Sampler":
        """Keep the distribution on the device that it is asked for from."""
        if self.cumulative.device != device:
            self.probabilities, self.cumulative = self.probabilities.to(device), self.cumulative.to(device)
        return self


def by_count(counts: Tensor, power: float) -> Tensor:
    """Weigh items by `counts (V,)` to a power: 0 uniformly, 1 by training frequency, between them flattened.

    An item without a training event keeps one count, so that each item can be drawn.
    """
    if power < 0:
        raise ConfigError(f"sampler power is {power}", "give 0 for uniform, 1 for frequency, or a value between")
    return counts.to(torch.float64).clamp_min(1.0).pow(power)


def by_rank(counts: Tensor, rho: float) -> Tensor:
    """Weigh the item of popularity rank r, 1 the most frequent, by exp(-r / (rho * items)): LambdaFM's static sampler.

    Counts come from training events only, where the published code counted test events too (spec 2.3); items of one
    count are ranked by id.
    """
    if rho <= 0:
        raise ConfigError(f"rho is {rho}", "give a number above 0: 0.3 favours popular items, 10 hardly any")
    order = torch.argsort(counts[RESERVED:], descending=True, stable=True) + RESERVED
    rank = torch.zeros(len(counts), dtype=torch.float64)
    rank[order] = torch.arange(1, len(order) + 1, dtype=torch.float64)
    weights = (-(rank - 1) / (rho * len(order))).exp()  # from rank 1 on: the same shares, and no underflow of them all
    return weights.clamp_min(torch.finfo(torch.float64).tiny)


SAMPLERS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "uniform": lambda counts, rho: by_count(counts, 0.0),
    "frequency": lambda counts, rho: by_count(counts, 1.0),
    "lambdafm": by_rank,
}  # training counts (V,) and rho -> weights (V,)
