"""Shapes: the bytes that weights and optimiser state will take, known before anything is trained."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from userrep.training.row_optimizers import ROW_OPTIMIZERS
from userrep.training.tables import Rows

ADAM_AVERAGES, ADAM_STEP = 2, 4  # tensors of a parameter's shape, and a count of four bytes


def weight_bytes(*modules: nn.Module) -> int:
    """Return the bytes of all parameters and buffers, one that modules share once; of meta tensors, by their shapes."""
    held = {id(one): one for module in modules for one in (*module.parameters(), *module.buffers())}
    return sum(one.numel() * one.element_size() for one in held.values())


def table_bytes(encoder: nn.Module, objective: nn.Module, vocab_size: int) -> int:
    """Return the bytes of the matrices with a row for each item."""
    found = {id(one): one for module in (encoder, objective) for one in module.parameters()}
    return sum(one.numel() * one.element_size() for one in found.values() if one.ndim == 2 and len(one) >= vocab_size)


def optimizer_bytes(trainable: Iterable[nn.Parameter], rows: Rows) -> int:
    """Return what the optimiser will keep of parameters that train: of tables by row, what their row optimiser does."""
    by_row = {id(table) for table in rows.tables}
    dense = (one for one in trainable if id(one) not in by_row)
    kept = sum(ADAM_AVERAGES * one.numel() * one.element_size() + ADAM_STEP for one in dense)
    return kept + sum(row_state_bytes(rows.kind, table) for table in rows.tables)


def row_state_bytes(kind: str, table: Tensor) -> int:
    """Return what a row optimiser keeps of a table `(V, D)`, asked of the optimiser itself, without memory."""
    bare = nn.Parameter(torch.empty_like(table, device="meta"))
    started = ROW_OPTIMIZERS[kind]([bare]).start(bare)
    last = len(table) * torch.int32.itemsize
    return last + sum(one.numel() * one.element_size() for one in started.values())


def held_by(optimizer: Any) -> int:
    """Return the bytes of all tensors in an optimiser's state."""
    parts = getattr(optimizer, "parts", (optimizer,))
    states = (state for part in parts for state in part.state.values())
    return sum(value.nbytes for state in states for value in state.values() if isinstance(value, Tensor))


def array_bytes(*owners: Any) -> int:
    """Return the bytes of the arrays and tensors that objects hold, and the objects in them, each memory once."""
    found: dict[int, int] = {}
    for owner in owners:
        for array in _arrays(owner, depth=3):
            if isinstance(array, Tensor):
                found[array.untyped_storage().data_ptr()] = array.untyped_storage().nbytes()
            else:
                root = _root(array)
                found[root.__array_interface__["data"][0]] = root.nbytes
    return sum(found.values())


def _arrays(owner: Any, depth: int) -> Iterator[np.ndarray | Tensor]:
    if isinstance(owner, (np.ndarray, Tensor)):
        yield owner
    elif isinstance(owner, (list, tuple)):
        for one in owner:
            yield from _arrays(one, depth)
    elif depth and hasattr(owner, "__dict__"):
        for one in vars(owner).values():
            yield from _arrays(one, depth - 1)


def _root(array: np.ndarray) -> np.ndarray:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array
