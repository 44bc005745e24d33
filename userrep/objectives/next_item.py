"""Next item: each state predicts the item that follows."""

from typing import ClassVar

import torch
from torch import Tensor

from userrep.models.encoder import Encoder
from userrep.objectives.behaviour import Behaviour
from userrep.objectives.item_loss import GBCE_T, item_loss
from userrep.objectives.samplers import RHO
from userrep.sequences.batches import Batch
from userrep.sequences.vocab import PAD


class NextItem(Behaviour):
    """Predict the next item at every real position (NextItNet; PeterRec section 3.1, spec 1.3).

    loss        full, sampled, bpr, logistic or gbce, with `negatives` and so on: see `item_loss`
    tied, bias  see `Behaviour`
    """

    needs_causal: ClassVar[bool | None] = True

    def __init__(
        self,
        loss: str = "full",
        tied: bool = True,
        bias: bool = False,
        negatives: int = 1024,
        sampler: str = "frequency",
        gbce_t: float = GBCE_T,
        rho: float = RHO,
        table_l2: float = 0.0,
    ) -> None:
        super().__init__(item_loss(loss, negatives, sampler, gbce_t=gbce_t, rho=rho, table_l2=table_l2), tied, bias)

    def loss(self, encoder: Encoder, batch: Batch, generator: torch.Generator) -> Tensor:
        supervised = batch.targets.ne(PAD)
        states = encoder(batch.items)[supervised]  # (N, D): no logits where there is no label
        return self.item_loss(states, self.item_table(encoder), self.bias, batch.targets[supervised], generator)

    def states_of(self, encoder: Encoder, items: Tensor) -> Tensor:
        return encoder(items)[:, -1]
