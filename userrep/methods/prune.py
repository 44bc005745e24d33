"""Magnitude pruning: drop the smallest weights of each tensor at once, then retrain what is left."""

from typing import ClassVar

import torch

from userrep.errors import ConfigError
from userrep.methods.method import Method, Phase
from userrep.methods.surgery import Mask, add_mask, change_of, kernels, weight_of
from userrep.models.encoder import Encoder


class MagnitudePrune(Method):
    """Keep the largest `keep` share of each block kernel; norms, biases, tables and heads stay dense.

    Phase `prune` changes and measures, phase `retrain` trains all that is left. Conure builds on the same two.
    """

    paper: ClassVar[str] = "Yuan et al., SIGIR 2021 (first half)"
    joint: ClassVar[str] = "weight"
    verbs: ClassVar[tuple[str, ...]] = ("prune",)

    def __init__(self, keep: float, table_rank: int = 0, stem_patch: int = 0) -> None:
        super().__init__(table_rank, stem_patch)
        if not 0 < keep <= 1:
            raise ConfigError(f"keep share is {keep}", "give a share of the weights in (0, 1]")
        self.keep = keep

    def insert(self, encoder: Encoder) -> None:
        for name in kernels(encoder):
            if change_of(encoder, name, Mask) is None:  # what a base has lost stays lost
                add_mask(encoder, name, torch.ones_like(weight_of(encoder, name), dtype=torch.bool))

    def phases(self, encoder: Encoder) -> list[Phase]:
        return [Phase("prune", ("*",), begin=self.prune, epochs=0), Phase("retrain", ("*",))]

    def prune(self, encoder: Encoder) -> None:
        """Set each mask to the largest weights of its tensor, among those that the base has."""
        for name in kernels(encoder):
            held = change_of(encoder, name, Mask)
            assert held is not None
            add_mask(encoder, name, largest(weight_of(encoder, name).detach(), self.keep) & held.mask)


def largest(weight: torch.Tensor, keep: float) -> torch.Tensor:
    """Mark the `int(keep * n)` weights of greatest magnitude; of equal ones, the first in memory order stay."""
    order = weight.abs().flatten().sort(descending=True, stable=True).indices
    mask = torch.zeros(weight.numel(), dtype=torch.bool, device=weight.device)
    mask[order[: int(keep * weight.numel())]] = True
    return mask.view_as(weight)


def sparsity(encoder: Encoder) -> float:
    """Return the share of zero weights among the encoder's block kernels."""
    tensors = [weight_of(encoder, name) for name in kernels(encoder)]
    zeros = sum(int((tensor == 0).sum()) for tensor in tensors)
    return zeros / max(1, sum(tensor.numel() for tensor in tensors))
