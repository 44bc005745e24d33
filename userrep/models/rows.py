"""Rows of a table: looked up so that the gradient names them alone, where the table is marked or sharded."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MARK = "by_row"
SHARD = "shard"  # where a table keeps its `Shard`, once its rows are dealt out to a team


def mark(table: nn.Parameter, on: bool) -> None:
    """Make the gradients of lookups in a table sparse, or dense again."""
    setattr(table, MARK, on)


def is_marked(table: Tensor) -> bool:
    """Say whether lookups in a table make sparse gradients; what is computed of a marked table is not marked."""
    return bool(getattr(table, MARK, False))


def rows_of(table: Tensor, ids: Tensor) -> Tensor:
    """Look `ids (...)` up in `table (V, D)`: `(..., D)`.

    The gradient of a marked table is sparse: the rows that were looked up, one entry a lookup. A dense gradient of the
    whole table costs V x D numbers a step, most of them zeros. Rows that lie with other processes are sent for.
    """
    shard = getattr(table, SHARD, None)
    if shard is not None:
        found: Tensor = shard.look_up(ids)
        return found
    return F.embedding(ids, table, sparse=is_marked(table))


def rows_between(table: Tensor, low: int, high: int) -> Tensor:
    """Return rows `[low, high)` of `table (V, D)`, or those of them that there are."""
    if getattr(table, SHARD, None) is None:
        return table[low:high]
    return rows_of(table, torch.arange(low, min(high, count_rows(table)), device=table.device))


def count_rows(table: Tensor) -> int:
    """Return the V of a table `(V, D)`, wherever its rows lie."""
    shard = getattr(table, SHARD, None)
    return len(table) if shard is None else int(shard.rows)


class RowTable(nn.Embedding):
    """A table of rows, marked or not."""

    def forward(self, ids: Tensor) -> Tensor:
        """Look ids up: `(...)` -> `(..., D)`."""
        return rows_of(self.weight, ids)
