"""Next item: each state predicts the item that follows."""

import torch
from torch import Tensor

from userrep.models.encoder import Encoder
from userrep.objectives.behaviour import Behaviour
from userrep.sequences.batches import Batch, Following
from userrep.sequences.vocab import PAD


class NextItem(Behaviour):
    """Predict the next item at every real position (NextItNet; PeterRec section 3.1, spec 1.3)."""

    takes = Following
    needs_causal = True

    def loss(self, encoder: Encoder, batch: Batch, generator: torch.Generator) -> Tensor:
        supervised = batch.targets.ne(PAD)
        states = encoder(batch.items)[supervised]  # (N, D): no logits where there is no label
        return self.item_loss(states, self.item_table(encoder), self.bias, batch.targets[supervised], generator)

    def states_of(self, encoder: Encoder, items: Tensor) -> Tensor:
        return encoder(items)[:, -1]
