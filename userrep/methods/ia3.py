"""IA3: a learned scale for each channel that a sublayer gives (after Liu et al., NeurIPS 2022)."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from userrep.methods.method import Method
from userrep.methods.surgery import names_of, sublayers, wrap
from userrep.models.encoder import Encoder
from userrep.models.sublayer import Sublayer


class Scaled(Sublayer):
    """A sublayer whose channels are scaled alike at every step: `inner(x) * scale`, D parameters, 1 at the start."""

    packs = True

    def __init__(self, inner: Sublayer, scale: nn.Parameter) -> None:
        super().__init__()
        self.inner, self.scale = inner, scale

    def forward(self, states: Tensor, keep: Tensor) -> Tensor:
        return self.inner(states, keep) * self.scale  # what is zero at padding stays zero


class IA3(Method):
    """Train a scale behind each sublayer of a role, and the head; freeze the rest.

    The paper scales keys, values and the inner layer of the feed-forward. Here a scale goes behind the whole
    sublayer, which every encoder has.

    role         op: behind each convolution, attention or feed-forward; unit; branch
    last_blocks  scale only this many blocks, counted from the top
    """

    paper: ClassVar[str] = "after Liu et al., NeurIPS 2022"
    joint: ClassVar[str] = "sublayer"

    def __init__(
        self, role: str = "op", last_blocks: int | None = None, table_rank: int = 0, stem_patch: int = 0
    ) -> None:
        super().__init__(table_rank, stem_patch)
        self.role, self.last_blocks = role, last_blocks
        self.scales: list[nn.Parameter] = []  # its own: the encoder may have come with others

    def insert(self, encoder: Encoder) -> None:
        self.scales = []

        def scaled(inner: Sublayer) -> Sublayer:
            self.scales.append(nn.Parameter(torch.ones(encoder.width)))
            return Scaled(inner, self.scales[-1])

        wrap(encoder, sublayers(encoder, self.role, self.last_blocks), scaled)

    def trainable(self, encoder: Encoder) -> tuple[str, ...]:
        return tuple(names_of(encoder, [nn.ParameterList(self.scales)]))
