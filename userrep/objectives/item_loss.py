"""The item loss: how a state is terms with its answer and with the items that are not."""

from collections.abc import Callable
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from userrep.errors import ConfigError
from userrep.models.rows import count_rows
from userrep.objectives.pairs import Criterion, calibrated, logistic, ordered, pairwise
from userrep.objectives.samplers import RHO, SAMPLERS, Sampler
from userrep.objectives.softmax import full_softmax, sampled_softmax
from userrep.sequences.vocab import RESERVED

GBCE_T = 0.75  # of the published code
MANY = 50_000  # items from which `auto` samples


class ItemLoss:
    """Score states against a table of items, whose rows below RESERVED are no items.

    draws       whether `prepare` must be told the training counts before the first call, and the items that are not the
                answer are drawn: of the table, single rows are then read
    takes_bias  whether an own bias for each item can be trained
    """

    told: str = ""  # why it was chosen, where it was
    draws: ClassVar[bool] = True
    takes_bias: ClassVar[bool] = True

    def __init__(self, negatives: int, weigh: Callable[[Tensor], Tensor], gbce_t: float, table_l2: float) -> None:
        self.negatives, self.weigh, self.gbce_t, self.table_l2 = negatives, weigh, gbce_t, table_l2
        self.sampler: Sampler | None = None
        self.terms = 0  # states of the last call, whose mean it returned

    @property
    def by_row(self) -> bool:
        """Whether of the table single rows are read, never all of it."""
        return self.draws and not self.table_l2

    def settle(self, items: int, bias: bool) -> "ItemLoss":
        """Return the loss that so many items are learned by, with or without an own bias for each: this one."""
        return self

    def check_bias(self, wanted: bool) -> None:
        """Raise ConfigError where a bias is wanted and cannot be trained."""
        if wanted and not self.takes_bias:
            raise ConfigError("a sampled softmax cannot train an item bias", "set bias=false, or loss=full")

    def prepare(self, counts: np.ndarray) -> None:
        """Learn where negatives come from: `counts (V,)` of the ranked items, in training only."""
        if self.draws:
            self.sampler = Sampler(self.weigh(torch.from_numpy(counts)))

    def __call__(
        self, states: Tensor, table: Tensor, bias: Tensor | None, targets: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Return the mean loss, a scalar, of `states (N, D)` against `table (V, D)` and `bias (V,)`.

        `targets` are the answers' ids, `(N,)`, or `(N, A)` for several of one state, each of weight 1 / A. Negatives
        are drawn from `generator`. Where `table_l2` is set, half of it times the squared norm of all items is added.
        """
        self.terms = len(states)
        loss = self.compare(states, table, bias, targets, generator)
        return loss + self.table_l2 / 2 * table[RESERVED:].square().sum() if self.table_l2 else loss

    def compare(
        self, states: Tensor, table: Tensor, bias: Tensor | None, targets: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Return the mean loss without the penalty; a state with several answers is given once for each."""
        if targets.ndim == 2:
            states, targets = states.repeat_interleave(targets.shape[1], dim=0), targets.flatten()
        return self.against(states, table, bias, targets, self._ready(), generator)

    def against(
        self, states: Tensor, table: Tensor, bias: Tensor | None, targets: Tensor, sampler: Sampler,
        generator: torch.Generator,
    ) -> Tensor:  # fmt: skip
        """Return the mean loss of `states (N, D)` with one answer each."""
        raise TypeError(f"{type(self).__name__} must draw its negatives")

    def _ready(self) -> Sampler:
        if self.sampler is None:
            raise TypeError("an item loss that draws must be prepared with training counts first")
        return self.sampler


class Full(ItemLoss):
    """Exact softmax over all items, in chunks; several answers of one state share their logits."""

    draws = False

    def compare(
        self, states: Tensor, table: Tensor, bias: Tensor | None, targets: Tensor, generator: torch.Generator
    ) -> Tensor:
        own = None if bias is None else bias[RESERVED:]
        return full_softmax(states, table[RESERVED:], own, targets - RESERVED)


class Sampled(ItemLoss):
    """Softmax over the answer and negatives shared by the batch, logQ corrected."""

    takes_bias = False  # only drawn rows would get a gradient

    def against(
        self, states: Tensor, table: Tensor, bias: Tensor | None, targets: Tensor, sampler: Sampler,
        generator: torch.Generator,
    ) -> Tensor:  # fmt: skip
        drawn = sampler.draw(self.negatives, generator).to(states.device)
        expected = sampler.log_expected(self.negatives).to(states)
        return sampled_softmax(states, table, None, targets, drawn, expected)


class Pairwise(ItemLoss):
    """Each answer against negatives of its own, which are never the answer."""

    def against(
        self, states: Tensor, table: Tensor, bias: Tensor | None, targets: Tensor, sampler: Sampler,
        generator: torch.Generator,
    ) -> Tensor:  # fmt: skip
        drawn = sampler.draw_others(targets, self.negatives, generator)
        return pairwise(states, table, bias, targets, drawn, self.criterion(count_rows(table) - RESERVED))

    def criterion(self, items: int) -> Criterion:
        """Return what is asked of the scores of an answer and its negatives, out of so many items."""
        raise TypeError(f"{type(self).__name__} must state its criterion")


class Bpr(Pairwise):
    """The answer above each of its negatives."""

    def criterion(self, items: int) -> Criterion:
        return ordered


class Logistic(Pairwise):
    """The answer told apart from its negatives, as in the official PeterRec."""

    def criterion(self, items: int) -> Criterion:
        return logistic(self.negatives)


class Gbce(Pairwise):
    """The answer told apart from many negatives, calibrated for how few of all they are."""

    def criterion(self, items: int) -> Criterion:
        return calibrated(self.negatives, items, self.gbce_t)


class Auto(ItemLoss):
    """Exact as long as the items are few enough for it, then sampled.

    From some 50,000 items on a sampled step is so much cheaper that it reaches the same metric several times sooner, in
    half as many steps more (docs/performance.md).
    """

    def settle(self, items: int, bias: bool) -> ItemLoss:
        if items < MANY or bias:
            return Full(self.negatives, self.weigh, self.gbce_t, self.table_l2)
        sampled = Sampled(self.negatives, self.weigh, self.gbce_t, self.table_l2)
        sampled.told = f"loss: sampled, {self.negatives:,} of {items:,} items a step; loss=full forces the exact one"
        return sampled


LOSSES: dict[str, type[ItemLoss]] = {
    "auto": Auto, "full": Full, "sampled": Sampled, "bpr": Bpr, "logistic": Logistic, "gbce": Gbce,
}  # fmt: skip


def item_loss(
    loss: str, negatives: int, sampler: str, *, rho: float = RHO, gbce_t: float = GBCE_T, table_l2: float = 0.0
) -> ItemLoss:
    """Make an item loss by its name.

    loss       full, sampled, bpr, logistic, gbce, or auto: full up to 50,000 items, sampled from there on
    negatives  shared by the batch for `sampled`, of each answer for `bpr`, `logistic` and `gbce`; unused by `full`
    sampler    uniform, frequency or lambdafm, over training counts
    rho        of lambdafm: the smaller, the more popular its negatives
    gbce_t     of gbce: 0 plain binary cross-entropy, 1 fully calibrated
    table_l2   adds table_l2 / 2 times the squared norm of the item table; 0.02 in the published code

    Raises ConfigError where a name is unknown or a number cannot work.
    """
    if loss not in LOSSES or sampler not in SAMPLERS:
        raise ConfigError(
            f"there is no loss '{loss}' with sampler '{sampler}'",
            f"choose loss from {', '.join(LOSSES)}, sampler from {', '.join(SAMPLERS)}",
        )
    if LOSSES[loss].draws and negatives < 1:
        raise ConfigError(f"loss {loss} has {negatives} negatives", "give a whole number of at least 1")
    if not rho > 0:
        raise ConfigError(f"rho is {rho}", "give a number above 0; the published code has 0.3")
    if not 0 <= gbce_t <= 1:
        raise ConfigError(f"gbce_t is {gbce_t}", "give a number in [0, 1]; the published code has 0.75")
    if not table_l2 >= 0:
        raise ConfigError(f"table_l2 is {table_l2}", "give 0 or more; the published code of PeterRec has 0.02")
    return LOSSES[loss](negatives, lambda counts: SAMPLERS[sampler](counts, rho), gbce_t, table_l2)
