"""LoRA: a low-rank change beside each frozen kernel (Hu et al., ICLR 2022)."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from userrep.errors import ConfigError
from userrep.methods.method import Method
from userrep.methods.surgery import change_weight, kernels, names_of, weight_of
from userrep.models.encoder import Encoder


class LowRank(nn.Module):
    """Add `scale * up down` to a weight, seen as a matrix (out, in * k); nothing at the start, since `up` is zero.

    `r (out + in k)` parameters. `down` is Gaussian as in the paper, of deviation (in k)^-1/2, so that a step of `up`
    moves the output alike whatever the kernel's size.
    """

    def __init__(self, weight: Tensor, rank: int, scale: float) -> None:
        super().__init__()
        rows, columns = weight.flatten(1).shape
        if rank > min(rows, columns):
            raise ConfigError(
                f"lora's rank is {rank}, a kernel is a matrix of {rows} x {columns}",
                f"give a rank from 1 to {min(rows, columns)}",
            )
        self.scale = scale
        self.down = nn.Parameter(torch.randn(rank, columns) * columns**-0.5)
        self.up = nn.Parameter(torch.zeros(rows, rank))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the changed weight, in the weight's own shape."""
        return weight + self.scale * (self.up @ self.down).view_as(weight)


class LoRA(Method):
    """Train a low-rank change of the blocks' kernels (linear, convolution, recurrent) and the head; freeze the rest.

    rank   of each change
    alpha  the change is scaled by alpha / rank, so that another rank needs no other rate
    which  globs over the kernels' names; all of them by default
    """

    paper: ClassVar[str] = "Hu et al., ICLR 2022"
    joint: ClassVar[str] = "weight"

    def __init__(
        self,
        rank: int = 4,
        alpha: float = 8.0,
        which: tuple[str, ...] | list[str] = ("*",),
        table_rank: int = 0,
        stem_patch: int = 0,
    ) -> None:
        super().__init__(table_rank, stem_patch)
        if rank < 1 or not alpha > 0:
            raise ConfigError(f"lora has rank={rank} alpha={alpha}", "give a rank of at least 1 and an alpha above 0")
        if not which:
            raise ConfigError("lora's which is empty", "give globs over the kernels' names, such as ['*']")
        self.rank, self.alpha, self.which = rank, alpha, which
        self.changes: list[nn.Module] = []  # its own: the encoder may have come with others

    def insert(self, encoder: Encoder) -> None:
        self.changes = []
        for name in kernels(encoder, self.which):
            change = LowRank(weight_of(encoder, name), self.rank, self.alpha / self.rank)
            change_weight(encoder, name, change)
            self.changes.append(change)

    def trainable(self, encoder: Encoder) -> tuple[str, ...]:
        return tuple(names_of(encoder, self.changes))
