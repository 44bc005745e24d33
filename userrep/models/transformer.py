"""A modern causal Transformer as control: rotary positions, RMSNorm, SwiGLU, no biases."""

from torch import nn

from userrep.models.attention import SelfAttention
from userrep.models.encoder import Encoder, Final
from userrep.models.feed_forward import SwiGlu
from userrep.models.shape import check_shape
from userrep.models.stem import ItemStem
from userrep.models.transformer_block import PreNormBlock

EPS = 1e-6


class Transformer(Encoder):
    """Encode with causal self-attention that knows distances, and so has no longest history.

    hidden  width inside the feed-forward network; where None, 8/3 of the model's width, up to a multiple of 8, so that
            its three matrices hold what two of four times the width would
    """

    def __init__(
        self,
        vocab_size: int,
        width: int = 64,
        layers: int = 2,
        heads: int = 2,
        hidden: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        check_shape("Transformer", width=width, layers=layers, heads=heads, hidden=hidden)
        inner = hidden or -(-width // 3) * 8
        blocks = [
            PreNormBlock(
                SelfAttention(width, heads, self.causal, bias=False, rotary=True),
                SwiGlu(width, inner),
                nn.RMSNorm(width, eps=EPS),
                nn.RMSNorm(width, eps=EPS),
                dropout,
            )
            for _ in range(layers)
        ]
        super().__init__(
            vocab_size=vocab_size,
            width=width,
            stem=ItemStem(vocab_size, width, dropout),
            blocks=blocks,
            final=Final(width, norm=True, eps=EPS, kind=nn.RMSNorm),
        )
