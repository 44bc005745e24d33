"""SASRec: causal self-attention over the items of a history (Kang and McAuley, ICDM 2018)."""

from torch import nn

from userrep.models.attention import SelfAttention
from userrep.models.encoder import Encoder, Final
from userrep.models.feed_forward import FeedForward
from userrep.models.positions import LearnedPositions
from userrep.models.shape import check_shape
from userrep.models.stem import ItemStem
from userrep.models.transformer_block import PostNormBlock, PreNormBlock


class SasRec(Encoder):
    """Encode with causal self-attention and learned positions.

    hidden      width inside the feed-forward network; the model's width where None, as in the paper
    max_length  longest history; a longer one is refused
    norm_first  norms before attention and feed-forward network (the paper), or after their residual sums
    `dropout` is on embeddings and branches, `attention_dropout` on attention weights.
    """

    def __init__(
        self,
        vocab_size: int,
        width: int = 64,
        layers: int = 2,
        heads: int = 1,
        hidden: int | None = None,
        max_length: int = 200,
        dropout: float = 0.0,
        norm_first: bool = True,
        attention_dropout: float = 0.0,
    ) -> None:
        check_shape("SASRec", width=width, layers=layers, heads=heads, hidden=hidden, max_length=max_length)
        kind = PreNormBlock if norm_first else PostNormBlock
        blocks = [
            kind(
                SelfAttention(width, heads, self.causal, dropout=attention_dropout),
                FeedForward(width, width if hidden is None else hidden, nn.ReLU(), dropout),
                nn.LayerNorm(width, eps=1e-8),
                nn.LayerNorm(width, eps=1e-8),
                dropout,
            )
            for _ in range(layers)
        ]
        super().__init__(
            vocab_size=vocab_size,
            width=width,
            stem=ItemStem(vocab_size, width, scale=width**0.5),
            blocks=list(blocks),
            final=Final(width, norm=True),
            positions=LearnedPositions(width, max_length, dropout),
        )
