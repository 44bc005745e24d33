"""GRU4Rec: gated recurrent layers over the items of a history (Hidasi et al., ICLR 2016)."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from userrep.models.dropout import Dropout
from userrep.models.encoder import Block, Encoder, Final
from userrep.models.shape import check_shape
from userrep.models.stem import ItemStem
from userrep.models.sublayer import Sublayer


class GruLayer(Sublayer):
    """Run a GRU from the oldest kept step on.

    Each row is rotated so that its padding comes last: the hidden state is zero when the first item arrives, whatever
    the biases would have made of padding before it.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gru = nn.GRU(width, width, batch_first=True)

    def forward(self, states: Tensor, keep: Tensor) -> Tensor:
        padding = keep.cumsum(dim=1).eq(0).sum(dim=1)  # (B, 1): steps before the oldest item
        hidden, _ = self.gru(rotated(states, padding))
        return rotated(hidden, -padding) * keep


def rotated(states: Tensor, by: Tensor) -> Tensor:
    """Rotate each row `(T, D)` of states to the left by its own number of steps, `(B, 1)`."""
    steps = states.shape[1]
    source = (torch.arange(steps, device=states.device) + by) % steps  # (B, T)
    return states.gather(1, source.unsqueeze(-1).expand_as(states))


class GruBlock(Block):
    """One GRU layer, with no residual and no norm, as published."""

    roles: ClassVar[dict[str, tuple[str, ...]]] = {"op": ("op",)}
    gaps: ClassVar[dict[str, str]] = {
        "unit": "a GRU has its activations inside its gates and no norm",
        "branch": "a GRU layer has no residual",
    }

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.op: Sublayer = GruLayer(width)
        self.dropout = Dropout(dropout)

    def forward(self, states: Tensor, keep: Tensor) -> Tensor:
        return self.dropout(self.op(states, keep))


class Gru4Rec(Encoder):
    """Encode with GRU layers of the item vectors' width; the final norm is ours, the paper has none."""

    def __init__(
        self, vocab_size: int, width: int = 64, layers: int = 1, dropout: float = 0.0, final_norm: bool = False
    ) -> None:
        check_shape("GRU4Rec", width=width, layers=layers)
        super().__init__(
            vocab_size=vocab_size,
            width=width,
            stem=ItemStem(vocab_size, width, dropout),
            blocks=[GruBlock(width, dropout) for _ in range(layers)],
            final=Final(width, final_norm),
        )
