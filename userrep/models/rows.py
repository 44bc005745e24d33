"""Rows of a table: looked up so that the gradient names them alone, where the table is marked for it."""

from torch import Tensor, nn
from torch.nn import functional as F

MARK = "by_row"


def mark(table: nn.Parameter, on: bool) -> None:
    """Make the gradients of lookups in a table sparse, or dense again."""
    setattr(table, MARK, on)


def is_marked(table: Tensor) -> bool:
    """Say whether lookups in a table make sparse gradients; what is computed of a marked table is not marked."""
    return bool(getattr(table, MARK, False))


def rows_of(table: Tensor, ids: Tensor) -> Tensor:
    """Look `ids (...)` up in `table (V, D)`: `(..., D)`.

    The gradient of a marked table is sparse: the rows that were looked up, one entry a lookup. A dense gradient of the
    whole table costs V x D numbers a step, most of them zeros.
    """
    return F.embedding(ids, table, sparse=is_marked(table))


class RowTable(nn.Embedding):
    """A table of rows, marked or not."""

    def forward(self, ids: Tensor) -> Tensor:
        """Look ids up: `(...)` -> `(..., D)`."""
        return rows_of(self.weight, ids)
