"""Tables: one update of an item table of which a step read some rows, row by row against Adam on all of it."""

from collections.abc import Iterator
from functools import partial

import torch
from torch import nn

from bench.case import Case, too_large
from bench.pairs import Work
from bench.workspace import Data
from userrep.training.row_optimizers import ROW_OPTIMIZERS

GROUP = "table update"
WIDTH = 128
RATE = 1e-3


def cases(data: Data) -> Iterator[Case]:
    """Compare each row optimiser with fused Adam, which is given the same gradient as a dense one."""
    size = data.size
    users, length = size.padded or size.step
    read = 2 * users * length + size.negatives  # inputs, answers and negatives, each a row
    refusal = too_large(size.items * WIDTH * 4 * 5)  # table, gradient, two averages, and one table more
    for kind in ROW_OPTIMIZERS:
        ours, plain = partial(_by_row, kind, size.items, read), partial(_fused, size.items, read)
        detail = f"{kind} against fused Adam, D={WIDTH}, {read:,} reads"
        yield Case(GROUP, size.items, detail, ours, None if refusal else plain, None, refusal, memory=True)


def _table(items: int) -> nn.Parameter:
    return nn.Parameter(torch.full((items, WIDTH), 0.02))


def _reads(items: int, read: int) -> tuple[torch.Tensor, torch.Tensor]:
    draws = torch.Generator().manual_seed(0)
    return torch.randint(items, (read,), generator=draws), torch.randn(read, WIDTH, generator=draws)


def _by_row(kind: str, items: int, read: int) -> Work:
    table = _table(items)
    optimizer, (ids, values) = ROW_OPTIMIZERS[kind]([table], lr=RATE), _reads(items, read)

    def work() -> float:
        table.grad = torch.sparse_coo_tensor(ids.unsqueeze(0), values, table.shape, check_invariants=False)
        optimizer.step()
        return 0.0

    return work


def _fused(items: int, read: int) -> Work:
    table = _table(items)
    optimizer, (ids, values) = torch.optim.Adam([table], lr=RATE, fused=True), _reads(items, read)
    table.grad = torch.zeros_like(table).index_add_(0, ids, values)  # made once: it is the update that is measured

    def work() -> float:
        optimizer.step()
        return 0.0

    return work
