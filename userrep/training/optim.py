"""The optimiser: AdamW over tables, dense weights and heads, each with its own rate and decay; tables also by row."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from userrep import team
from userrep.models.encoder import Encoder
from userrep.models.shards import shard_of
from userrep.training.eager import AdamW
from userrep.training.row_optimizers import ROW_OPTIMIZERS
from userrep.training.tables import Rows
from userrep.training.trainer import Trainer

Slower = Sequence[tuple[str, float]]


class Together:
    """Optimisers of different parameters, used as one."""

    def __init__(self, *parts: torch.optim.Optimizer) -> None:
        self.parts = parts

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Return the groups of all parts, those of the first part first."""
        return [group for part in self.parts for group in part.param_groups]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients."""
        for part in self.parts:
            part.zero_grad(set_to_none=set_to_none)

    def step(self) -> None:
        """Take a step with each part."""
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the states of all parts, by their places."""
        return {str(place): part.state_dict() for place, part in enumerate(self.parts)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the states of all parts over."""
        for place, part in enumerate(self.parts):
            part.load_state_dict(state[str(place)])


Optimizer = torch.optim.Optimizer | Together


def make_optimizer(
    encoder: Encoder,
    objective: nn.Module,
    trainer: Trainer,
    vocab_size: int,
    slower: Slower = (),
    rows: Rows | None = None,
) -> Optimizer:
    """Return a fresh optimiser over what requires a gradient; frozen weights are not in it, so nothing moves them.

    Of the encoder, tables are what its stem looks items up in, whatever their shape: a kernel or a factor of a
    low-rank change may have as many rows as there are items. Of the objective, matrices with a row for each item.
    Encoder parameters that match a pattern of `slower` train at that share of the rate, without decay, and have a
    group of their own, marked `apart`: adaptive steps hang on no other parameter, so they are an optimiser by itself.
    The tables of `rows` are left to a row optimiser, at the rate and decay of tables.
    """
    table_lr = trainer.lr if trainer.table_lr is None else trainer.table_lr
    head_lr = trainer.lr if trainer.head_lr is None else trainer.head_lr
    groups: dict[str, dict[str, Any]] = {
        "table": {"params": [], "lr": table_lr, "weight_decay": trainer.table_weight_decay},
        "dense": {"params": [], "lr": trainer.lr, "weight_decay": trainer.weight_decay},
        "plain": {"params": [], "lr": trainer.lr, "weight_decay": 0.0},
        "head": {"params": [], "lr": head_lr, "weight_decay": trainer.weight_decay},
        "head_plain": {"params": [], "lr": head_lr, "weight_decay": 0.0},
    }
    tables, apart = _looked_up(encoder), {id(table) for table in rows.tables} if rows else set()
    for name, parameter in encoder.named_parameters():
        share = next((share for pattern, share in slower if fnmatchcase(name, pattern)), None)
        if id(parameter) in apart:
            continue
        if parameter.requires_grad and share is not None:
            own = {"params": [], "lr": share * trainer.lr, "weight_decay": 0.0, "apart": True}
            groups.setdefault(f"at {share}", own)["params"].append(parameter)
        elif parameter.requires_grad:
            kind = "table" if id(parameter) in tables else "plain" if parameter.ndim < 2 else "dense"
            groups[kind]["params"].append(parameter)
    for parameter in objective.parameters():
        if parameter.requires_grad and id(parameter) not in apart:
            kind = "head_plain" if parameter.ndim < 2 else "table" if len(parameter) == vocab_size else "head"
            groups[kind]["params"].append(parameter)
    used = [{"apart": False} | group | {"peak": group["lr"]} for group in groups.values() if group["params"]]
    dense = AdamW(used, fused=True) if used else None
    if rows is None or not rows.tables:
        assert dense is not None
        return dense
    own = {"params": list(rows.tables), "lr": table_lr, "weight_decay": trainer.table_weight_decay, "peak": table_lr}
    by_row = ROW_OPTIMIZERS[rows.kind]([own])
    return Together(by_row) if dense is None else Together(dense, by_row)


def clip_gradients(optimizer: Optimizer, most: float) -> None:
    """Scale gradients down to the norm `most`, those of the groups apart by their own norm.

    Of a gradient that names rows, a row that was read twice counts once, by its sum, as it would in a dense gradient.
    """
    for apart in (False, True):
        own = (group for group in optimizer.param_groups if group.get("apart", False) is apart)  # absent when resumed
        held = [parameter for group in own for parameter in group["params"] if parameter.grad is not None]
        if held:
            share = (most / (_norm(held) + 1e-6)).clamp(max=1.0)
            torch._foreach_mul_([_values(parameter) for parameter in held], share)


def _norm(parameters: Sequence[nn.Parameter]) -> Tensor:
    """Return the norm of all gradients, those of rows that lie with other processes included."""
    sharded = [_values(parameter) for parameter in parameters if shard_of(parameter) is not None]
    norm = get_total_norm([_values(parameter) for parameter in parameters if shard_of(parameter) is None])
    if not sharded:
        return norm
    squares = get_total_norm(sharded).square()
    team.add(squares)
    return torch.hypot(norm, squares.sqrt().to(norm.device))


def _values(parameter: nn.Parameter) -> Tensor:
    """Return what a gradient holds, in its own memory; that of a sparse one when its rows are summed."""
    assert parameter.grad is not None
    if not parameter.grad.is_sparse:
        return parameter.grad
    parameter.grad = parameter.grad.coalesce()
    return parameter.grad._values()


def set_rate(optimizer: Optimizer, trainer: Trainer, step: int, total: int) -> float:
    """Set each group's rate for update `step` (from 0) of `total`; return the share of the peak."""
    warm = trainer.warmup * total
    share = 1.0
    if step < warm:
        share = min(1.0, (step + 1) / warm)
    elif trainer.schedule == "linear":
        share = max(0.0, (total - step) / max(1.0, total - warm))
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * share
    return share


def _looked_up(encoder: Encoder) -> set[int]:
    """Return the ids of the parameters of the item table, and of a low-rank change of it those with a row an item."""
    embeddings = (module for module in encoder.stem.table.modules() if isinstance(module, nn.Embedding))
    return {id(parameter) for embedding in embeddings for parameter in embedding.parameters()}
