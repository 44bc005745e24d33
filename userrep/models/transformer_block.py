"""Transformer blocks: attention and a feed-forward network, each with its residual, normed before or after."""

from typing import ClassVar

from torch import Tensor, nn

from userrep.models.dropout import Dropout
from userrep.models.encoder import Block
from userrep.models.sublayer import Sublayer


class PreNormBranch(Sublayer):
    """`dropout(op(norm(x)))`."""

    packs = True

    def __init__(self, norm: nn.Module, op: Sublayer, dropout: float) -> None:
        super().__init__()
        self.norm, self.op, self.dropout = norm, op, Dropout(dropout)

    def forward(self, states: Tensor, keep: Tensor) -> Tensor:
        return self.dropout(self.op(self.norm(states), keep))


class PreNormBlock(Block):
    """`h = x + branch(x); y = h + branch(h)`: the residual stream is never normed.

    The norm stands first and nothing follows the op, so that a unit, norm and op, is the whole branch: a patch beside
    it reads the raw residual stream, one beside the op reads the normed one.
    """

    roles: ClassVar[dict[str, tuple[str, ...]]] = {
        "op": ("attention.op", "feed_forward.op"),
        "unit": ("attention", "feed_forward"),
        "branch": ("attention", "feed_forward"),
        "norm": ("attention.norm", "feed_forward.norm"),
    }
    packs = True

    def __init__(self, attention: Sublayer, feed_forward: Sublayer, norm: nn.Module, other: nn.Module, dropout: float):
        super().__init__()
        self.attention: Sublayer = PreNormBranch(norm, attention, dropout)
        self.feed_forward: Sublayer = PreNormBranch(other, feed_forward, dropout)

    def forward(self, states: Tensor, keep: Tensor) -> Tensor:
        states = states + self.attention(states, keep)
        return states + self.feed_forward(states, keep)


class PlainBranch(Sublayer):
    """`dropout(op(x))`."""

    packs = True

    def __init__(self, op: Sublayer, dropout: float) -> None:
        super().__init__()
        self.op, self.dropout = op, Dropout(dropout)

    def forward(self, states: Tensor, keep: Tensor) -> Tensor:
        return self.dropout(self.op(states, keep))


class PostNormBlock(Block):
    """`h = norm(x + branch(x)); y = norm(h + branch(h))`, as in the first Transformer and in BERT."""

    roles: ClassVar[dict[str, tuple[str, ...]]] = {
        "op": ("attention.op", "feed_forward.op"),
        "branch": ("attention", "feed_forward"),
        "norm": ("attention_norm", "feed_forward_norm"),
    }
    gaps: ClassVar[dict[str, str]] = {"unit": "the residual sum stands between op and norm"}
    packs = True

    def __init__(self, attention: Sublayer, feed_forward: Sublayer, norm: nn.Module, other: nn.Module, dropout: float):
        super().__init__()
        self.attention: Sublayer = PlainBranch(attention, dropout)
        self.attention_norm = norm
        self.feed_forward: Sublayer = PlainBranch(feed_forward, dropout)
        self.feed_forward_norm = other

    def forward(self, states: Tensor, keep: Tensor) -> Tensor:
        states = self.attention_norm(states + self.attention(states, keep)) * keep
        return self.feed_forward_norm(states + self.feed_forward(states, keep)) * keep
