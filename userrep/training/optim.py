"""The optimiser: AdamW over tables, dense weights and heads, each with its own rate and decay."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from itertools import chain
from typing import Any

import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_

from userrep.models.encoder import Encoder
from userrep.training.trainer import Trainer

Slower = Sequence[tuple[str, float]]


def make_optimizer(
    encoder: Encoder, objective: nn.Module, trainer: Trainer, vocab_size: int, slower: Slower = ()
) -> torch.optim.AdamW:
    """Return a fresh optimiser over what requires a gradient; frozen weights are not in it, so nothing moves them.

    Of the encoder, tables are what its stem looks items up in, whatever their shape: a kernel or a factor of a
    low-rank change may have as many rows as there are items. Of the objective, matrices with a row for each item.
    Encoder parameters that match a pattern of `slower` train at that share of the rate, without decay, and have a
    group of their own, marked `apart`: adaptive steps hang on no other parameter, so they are an optimiser by itself.
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
    tables = _looked_up(encoder)
    for name, parameter in encoder.named_parameters():
        share = next((share for pattern, share in slower if fnmatchcase(name, pattern)), None)
        if parameter.requires_grad and share is not None:
            own = {"params": [], "lr": share * trainer.lr, "weight_decay": 0.0, "apart": True}
            groups.setdefault(f"at {share}", own)["params"].append(parameter)
        elif parameter.requires_grad:
            kind = "table" if id(parameter) in tables else "plain" if parameter.ndim < 2 else "dense"
            groups[kind]["params"].append(parameter)
    for parameter in objective.parameters():
        if parameter.requires_grad:
            kind = "head_plain" if parameter.ndim < 2 else "table" if len(parameter) == vocab_size else "head"
            groups[kind]["params"].append(parameter)
    used = [{"apart": False} | group | {"peak": group["lr"]} for group in groups.values() if group["params"]]
    return torch.optim.AdamW(used, fused=True)


def clip_gradients(optimizer: torch.optim.Optimizer, most: float) -> None:
    """Scale gradients down to the norm `most`, those of the groups apart by their own norm."""
    for apart in (False, True):
        own = (group for group in optimizer.param_groups if group.get("apart", False) is apart)  # absent when resumed
        groups = [group["params"] for group in own]
        if groups:
            clip_grad_norm_(chain.from_iterable(groups), most)


def set_rate(optimizer: torch.optim.Optimizer, trainer: Trainer, step: int, total: int) -> float:
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
