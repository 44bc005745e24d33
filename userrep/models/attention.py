"""Self-attention over the real items of a history, with or without a look ahead."""

import torch
from torch import Tensor
from torch.nn import functional as F

from userrep.errors import ConfigError
from userrep.models.dropout import Dropout
from userrep.models.packing import packing_of
from userrep.models.projection import linear
from userrep.models.rotary import rotate
from userrep.models.sublayer import Sublayer


class SelfAttention(Sublayer):
    """Mix each state with the kept ones before it, or with all kept ones where `causal` is false.

    One product makes queries, keys and values (1.5-1.8x three); `rotary` turns queries and keys by their distance.
    Packed rows are projected as they are and mixed in their places.
    `dropout` is on the attention weights; on a CPU it costs the fast kernel.
    """

    packs = True

    def __init__(
        self, width: int, heads: int, causal: bool, bias: bool = True, rotary: bool = False, dropout: float = 0.0
    ) -> None:
        super().__init__()
        if width % heads or (rotary and width // heads % 2):
            share = "an even share" if rotary else "a whole share"
            raise ConfigError(f"width {width} does not give each of {heads} heads {share}", "change width or heads")
        self.heads, self.causal, self.rotary = heads, causal, rotary
        self.qkv = linear(width, 3 * width, bias)
        self.out = linear(width, width, bias)
        self.dropout = Dropout(dropout)

    def forward(self, states: Tensor, keep: Tensor) -> Tensor:
        packing = packing_of(keep)
        if packing is None:
            return self.out(self._mix(self.qkv(states), keep)) * keep
        mixed = self._mix(packing.unpack(self.qkv(states)), packing.unpack(keep))
        return self.out(packing.pack(mixed)) * keep

    def _mix(self, made: Tensor, keep: Tensor) -> Tensor:
        """Mix the values of steps by queries and keys, all in `made (B, T, 3 D)`: `(B, T, D)`."""
        users, steps, width = made.shape
        split = made.view(users, steps, 3, self.heads, width // 3 // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)  # (B, heads, T, D / heads) each
        if self.rotary:
            query, key = rotate(query), rotate(key)
        seen, hidden = visible(keep, self.causal), self.dropout.share if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=seen, dropout_p=hidden)
        return mixed.transpose(1, 2).reshape(users, steps, width // 3)


def visible(keep: Tensor, causal: bool) -> Tensor:
    """Return which step sees which, `(B, 1, T, T)` bool: kept ones, up to itself if `causal`.

    Each step sees itself, so that no row is empty and padding, which is silenced afterwards, makes no NaN.
    """
    steps = keep.shape[1]
    mask = keep.transpose(1, 2).gt(0)  # (B, 1, T)
    here = torch.eye(steps, dtype=torch.bool, device=keep.device)
    seen = mask.unsqueeze(2) | here  # (B, 1, T, T)
    return seen & torch.ones_like(here).tril() if causal else seen
