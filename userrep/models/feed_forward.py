"""Point-wise networks of the Transformers: each state is mapped by itself."""

from torch import Tensor, nn
from torch.nn import functional as F

from userrep.models.dropout import Dropout
from userrep.models.projection import linear
from userrep.models.sublayer import Sublayer


class FeedForward(Sublayer):
    """`contract(dropout(activation(expand(x))))`, both with bias."""

    packs = True

    def __init__(self, width: int, hidden: int, activation: nn.Module, dropout: float = 0.0) -> None:
        super().__init__()
        self.expand = linear(width, hidden)
        self.activation = activation
        self.dropout = Dropout(dropout)
        self.contract = linear(hidden, width)

    def forward(self, states: Tensor, keep: Tensor) -> Tensor:
        return self.contract(self.dropout(self.activation(self.expand(states)))) * keep


class SwiGlu(Sublayer):
    """`contract(silu(gate) * value)`, gate and value from one product and no bias (Shazeer, 2020)."""

    packs = True

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.expand = linear(width, 2 * hidden, bias=False)
        self.contract = linear(hidden, width, bias=False)

    def forward(self, states: Tensor, keep: Tensor) -> Tensor:
        gate, value = self.expand(states).chunk(2, dim=-1)  # (B, T, hidden) each
        return self.contract(F.silu(gate) * value) * keep
