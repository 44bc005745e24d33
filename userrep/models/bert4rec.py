"""BERT4Rec: self-attention in both directions (Sun et al., CIKM 2019)."""

from typing import ClassVar

from torch import nn

from userrep.models.attention import SelfAttention
from userrep.models.encoder import Encoder, Final
from userrep.models.feed_forward import FeedForward
from userrep.models.positions import LearnedPositions
from userrep.models.shape import check_shape
from userrep.models.stem import ItemStem
from userrep.models.transformer_block import PostNormBlock, PreNormBlock


class Bert4Rec(Encoder):
    """Encode with self-attention over the whole history and learned positions.

    hidden      width inside the feed-forward network; four times the model's where None, as in the paper
    max_length  longest history; a longer one is refused
    norm_first  norms before attention and feed-forward network, and one at the end, or after residual sums (the paper)
    `dropout` is on embeddings and branches, `attention_dropout` on attention weights.
    """

    causal: ClassVar[bool] = False

    def __init__(
        self,
        vocab_size: int,
        width: int = 64,
        layers: int = 2,
        heads: int = 2,
        hidden: int | None = None,
        max_length: int = 200,
        dropout: float = 0.0,
        norm_first: bool = False,
        attention_dropout: float = 0.0,
    ) -> None:
        check_shape("BERT4Rec", width=width, layers=layers, heads=heads, hidden=hidden, max_length=max_length)
        kind = PreNormBlock if norm_first else PostNormBlock
        blocks = [
            kind(
                SelfAttention(width, heads, self.causal, dropout=attention_dropout),
                FeedForward(width, hidden or 4 * width, nn.GELU()),
                nn.LayerNorm(width, eps=1e-8),
                nn.LayerNorm(width, eps=1e-8),
                dropout,
            )
            for _ in range(layers)
        ]
        super().__init__(
            vocab_size=vocab_size,
            width=width,
            stem=ItemStem(vocab_size, width),
            blocks=blocks,
            final=Final(width, norm=norm_first),
            positions=LearnedPositions(width, max_length + 1, dropout),  # the task token before the oldest item has one
        )
