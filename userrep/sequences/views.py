"""Views: what is done to a history so that two looks at one user differ (CLUE, section III-B)."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from userrep.errors import ConfigError
from userrep.sequences.draws import choose, uniform
from userrep.sequences.vocab import MASK, PAD

Operator = Callable[[Tensor, float, torch.Generator], Tensor]


def crop(items: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Delete a segment of each history `(B, T)`, the rest in order; of one event or more, one at least is left.

    CLUE deletes the segment; the crop of CL4SRec keeps it and deletes the rest.
    """
    place, real = _places(items)
    lengths = real.sum(dim=1, keepdim=True)  # (B, 1)
    begin, end = _segment(lengths, torch.minimum(_counts(lengths, share), (lengths - 1).clamp_min(0)), generator)
    kept = real & ((place < begin) | (place >= end))
    order = kept.long().argsort(dim=1, stable=True)  # what is left keeps its order behind the padding
    return items.where(kept, PAD).gather(1, order)


def permute(items: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Shuffle a segment of each history `(B, T)` and leave what is around it."""
    place, real = _places(items)
    lengths = real.sum(dim=1, keepdim=True)  # (B, 1)
    begin, end = _segment(lengths, _counts(lengths, share), generator)
    inside = real & (place >= begin) & (place < end)
    drawn = torch.zeros(items.shape, dtype=torch.float64, device=items.device)
    drawn[inside] = uniform(int(inside.sum()), generator, items.device)
    keys = torch.where(inside, begin + (end - begin) * drawn, place)  # a segment's keys lie between its neighbours'
    return items.gather(1, keys.argsort(dim=1, stable=True))


def mask(items: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Put MASK in place of a share of each history's events `(B, T)`, one at least."""
    real = items.ne(PAD)
    return items.masked_fill(choose(real, _counts(real.sum(dim=1, keepdim=True), share), generator), MASK)


OPERATORS: dict[str, Operator] = {"crop": crop, "permute": permute, "mask": mask}  # in the order in which they apply


@dataclass(frozen=True)
class Views:
    """The explicit operators by their shares; 0 leaves one out, several apply one after the other.

    With none of them a view is the history itself, and two views differ by what the encoder's dropout hides alone.
    """

    crop: float = 0.0
    permute: float = 0.0
    mask: float = 0.0

    def __post_init__(self) -> None:
        for name in OPERATORS:
            share = getattr(self, name)
            if not 0 <= share < 1:
                raise ConfigError(f"{name} is {share}", "give the share of a history's events, in [0, 1)")

    @property
    def explicit(self) -> bool:
        """Say whether any operator applies."""
        return any(getattr(self, name) for name in OPERATORS)

    def draw(self, items: Tensor, generator: torch.Generator) -> Tensor:
        """Return a view of histories `(B, T)`, left-padded as they are."""
        for name, operator in OPERATORS.items():
            if share := getattr(self, name):
                items = operator(items, share, generator)
        return items


def _places(items: Tensor) -> tuple[Tensor, Tensor]:
    """Return each step's place among the events of its history, negative at padding, and where events are: `(B, T)`."""
    real = items.ne(PAD)
    return torch.arange(items.shape[1], device=items.device) - items.eq(PAD).sum(dim=1, keepdim=True), real


def _counts(lengths: Tensor, share: float) -> Tensor:
    """Return how many events of each history a share is: rounded down, one at least, none of none."""
    return torch.minimum((lengths * share).floor().long().clamp_min(1), lengths)


def _segment(lengths: Tensor, counts: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw where a segment of `counts (B, 1)` events begins and ends, in places: every begin that fits is as likely."""
    begin = (uniform((len(lengths), 1), generator, lengths.device) * (lengths - counts + 1)).long()
    return begin, begin + counts
