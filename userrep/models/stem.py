"""The stem: item ids become the states that the first block reads."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from userrep.models.dropout import Dropout
from userrep.models.rows import RowTable

INIT_STD = 0.02


def truncated_normal_(weight: Tensor, std: float = INIT_STD) -> Tensor:
    """Draw in place from N(0, std) cut at two deviations, the TensorFlow initialiser of PeterRec (spec 1.2).

    The published code gives all convolutions one operation seed, so that they start identical; these draws differ.
    """
    return nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)


class ItemStem(nn.Module):
    """Look items up in one table: `(B, T)` ids -> `(B, T, D)` states, zero at padding.

    What was looked up is multiplied by `scale`; the table itself, which a tied output layer reads, is not.
    """

    def __init__(self, vocab_size: int, width: int, dropout: float = 0.0, scale: float = 1.0) -> None:
        super().__init__()
        self.table: nn.Module = RowTable(vocab_size, width)
        self.scale = scale
        self.dropout = Dropout(dropout)
        self.patch: Callable[[Tensor, Tensor], Tensor] | None = None
        truncated_normal_(self.table.weight)

    def tables(self) -> list[nn.Parameter]:
        """Return what items are looked up in, row by row: the table, or what a method keeps a row for each item in.

        A table that is computed when it is read is none of them.
        """
        found = (module for module in self.table.modules() if isinstance(module, RowTable))
        return [own for module in found if (own := module._parameters.get("weight")) is not None]

    def vectors(self) -> Tensor:
        """Return the whole table (V, D), with whatever a method added to it."""
        weight = self.table.weight
        assert isinstance(weight, torch.Tensor)
        return weight

    def forward(self, items: Tensor, keep: Tensor) -> Tensor:
        states = self.table(items)  # (B, T, D)
        if self.scale != 1:
            states = states * self.scale
        if self.patch is not None:
            states = self.patch(states, keep)
        return self.dropout(states) * keep
