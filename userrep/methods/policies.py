"""Policies: what a history says of each block, as logits of its tuned and its frozen side (UAF, TKDE 2021)."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from userrep.models.gru4rec import GruLayer
from userrep.models.nextitnet import NextItBlock

HEAD_STD = 0.01
CERTAIN = 20.0  # a logit that leaves no doubt
_FACTOR, _TERM, _MODULUS = 1_103_515_245, 12_345, 2**31  # of the mixing of ids, in whole numbers of 64 bits


class Policy(nn.Module):
    """Map a history to logits `(B, 1, A, 2)`, channel 0 tuned and 1 frozen, or with `each` `(B, T, A, 2)`."""

    def forward(self, items: Tensor, stem: Tensor, keep: Tensor, each: bool) -> Tensor:
        """Read `items (B, T)`, their stem states `(B, T, D)`, and `keep (B, T, 1)`, 0 at padding."""
        raise TypeError(f"{type(self).__name__} must say what it reads")


class Reading(Policy):
    """Read the item vectors through a small trunk; a linear head gives the logits.

    The vectors are the stem's, which the policy does not train, or a table of its own that starts as the stem's (the
    published code).
    """

    def __init__(self, trunk: "Trunk", width: int, blocks: int, own: Tensor | None = None) -> None:
        super().__init__()
        self.trunk, self.blocks = trunk, blocks
        self.table = None if own is None else nn.Embedding.from_pretrained(own.detach().clone(), freeze=False)
        self.head = nn.Linear(width, 2 * blocks)
        nn.init.normal_(self.head.weight, std=HEAD_STD)
        nn.init.normal_(self.head.bias, std=HEAD_STD)

    def forward(self, items: Tensor, stem: Tensor, keep: Tensor, each: bool) -> Tensor:
        states = stem.detach() if self.table is None else self.table(items) * keep
        return self.head(self.trunk(states, keep, each)).unflatten(-1, (self.blocks, 2))


class Trunk(nn.Module):
    """Sum a history up: states `(B, T, D)` to `(B, 1, D)`, or with `each` to `(B, T, D)`, up to and with each step."""

    def forward(self, states: Tensor, keep: Tensor, each: bool) -> Tensor:
        raise TypeError(f"{type(self).__name__} must sum a history up")


class MeanTrunk(Trunk):
    """The mean over the real items; it trains nothing."""

    def forward(self, states: Tensor, keep: Tensor, each: bool) -> Tensor:
        if not each:
            return states.sum(1, keepdim=True) / keep.sum(1, keepdim=True).clamp_min(1.0)
        return states.cumsum(1) / keep.cumsum(1).clamp_min(1.0)


class ConvTrunk(MeanTrunk):
    """Two fresh residual blocks of dilated convolutions, then the mean: a light NextItNet."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(NextItBlock(width, kernel_size=3, rate=rate, dropout=0.0) for rate in (1, 4))

    def forward(self, states: Tensor, keep: Tensor, each: bool) -> Tensor:
        for block in self.blocks:
            states = block(states, keep)
        return super().forward(states, keep, each)


class GruTrunk(Trunk):
    """One GRU layer, its last state."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer = GruLayer(width)

    def forward(self, states: Tensor, keep: Tensor, each: bool) -> Tensor:
        states = self.layer(states, keep)
        return states if each else states[:, -1:]


class Global(Policy):
    """One choice for all users, a pair of logits for each block (SpotTune's compact form)."""

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(blocks, 2))

    def forward(self, items: Tensor, stem: Tensor, keep: Tensor, each: bool) -> Tensor:
        return self.logits.expand(len(items), 1, -1, -1)


class Random(Policy):
    """A control: in training each block's tuned side is drawn with chance `usage` anew for each user and step.

    When serving, a hash of the user's items draws once for all, so that a user's route hangs on nobody else.
    """

    def __init__(self, blocks: int, usage: float) -> None:
        super().__init__()
        self.blocks, self.usage = blocks, usage

    def forward(self, items: Tensor, stem: Tensor, keep: Tensor, each: bool) -> Tensor:
        if self.training:
            margin = torch.full((len(items), 1, self.blocks), self._margin(), device=items.device)
        else:
            seen = _mixed(items).cumsum(1) % _MODULUS  # (B, T): of the items so far, in any order
            seen = seen if each else seen[:, -1:]
            own = torch.arange(1, self.blocks + 1, device=items.device)
            drawn = _mixed(_mixed(seen.unsqueeze(-1) + own * _FACTOR % _MODULUS)).double() / _MODULUS
            margin = torch.where(drawn < self.usage, CERTAIN, -CERTAIN)
        return torch.stack([margin, torch.zeros_like(margin)], dim=-1).to(stem.dtype)

    def _margin(self) -> float:
        if not 0 < self.usage < 1:
            return CERTAIN if self.usage else -CERTAIN
        return math.log(self.usage / (1 - self.usage))


def _mixed(numbers: Tensor) -> Tensor:
    """Scatter whole numbers over [0, 2^31); zero, which is padding, stays zero."""
    mixed = (numbers * _FACTOR + _TERM * numbers.ne(0)) % _MODULUS
    mixed = (mixed ^ (mixed >> 15)) * _FACTOR % _MODULUS
    return mixed ^ (mixed >> 13)


TRUNKS: dict[str, Callable[[int], Trunk]] = {"conv": ConvTrunk, "gru": GruTrunk, "mean": lambda width: MeanTrunk()}


@dataclass(frozen=True)
class Wanted:
    """What a policy is made for: so many blocks, states of a width, the usage of one that draws.

    One that reads starts with a table of the content `own (V, D)`, or reads the stem's where that is None.
    """

    width: int
    blocks: int
    usage: float
    own: Tensor | None = None


@dataclass(frozen=True)
class Kind:
    """How a policy is made, and whether it has what a gradient or a reward could move."""

    make: Callable[[Wanted], Policy]
    learns: bool = True


def _reading(trunk: Callable[[int], Trunk]) -> Kind:
    return Kind(lambda wanted: Reading(trunk(wanted.width), wanted.width, wanted.blocks, wanted.own))


POLICIES = {name: _reading(trunk) for name, trunk in TRUNKS.items()} | {
    "global": Kind(lambda wanted: Global(wanted.blocks)),
    "random": Kind(lambda wanted: Random(wanted.blocks, wanted.usage), learns=False),
}
