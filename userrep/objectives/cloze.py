"""Cloze: hidden events are told from all events around them (BERT4Rec; GRec)."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from userrep.errors import ConfigError
from userrep.models.encoder import Encoder
from userrep.objectives.behaviour import Behaviour
from userrep.sequences.batches import Batch, Feed, Windows, gather
from userrep.sequences.draws import choose, uniform
from userrep.sequences.vocab import MASK, PAD, RESERVED


class Spans(Windows):
    """Feed spans of training events, each event once an epoch, as items and as targets alike `(B, T)`."""

    def __init__(
        self, items: np.ndarray, begins: np.ndarray, ends: np.ndarray, rows: np.ndarray, length: int, batch_size: int
    ) -> None:
        told = ends - begins >= 2  # one event alone has nothing around it
        # As if an event stood before a user's first, so that the first is a target as well.
        super().__init__(items, begins[told] - 1, ends[told], rows[told], length, batch_size)

    def batch(self, index: np.ndarray) -> Batch:
        """Gather spans, trimmed to the batch's longest."""
        begins, ends, rows = index.T
        items = torch.from_numpy(gather(self.items, begins + 1, ends, int((ends - begins).max()) - 1))
        return Batch(items, items, torch.from_numpy(rows.copy()))


class Cloze(Behaviour):
    """Predict hidden events from both sides (Sun et al., CIKM 2019, section 3.6; Yuan et al., WWW 2020; spec 1.4).

    mask_share  share of a span's events that are predicted, one at least
    masked      share of these that become MASK
    random      share of these that become any item; what is left stays as it is
    last_share  share of the spans of which the last event alone is predicted, as when serving
    The rest is in `Behaviour`.
    """

    needs_causal = False

    def __init__(
        self,
        mask_share: float = 0.3,
        masked: float = 0.8,
        random: float = 0.1,
        last_share: float = 0.1,
        **own: Any,
    ) -> None:
        super().__init__(**own)
        if not 0 < mask_share <= 1:
            raise ConfigError(f"mask_share is {mask_share}", "give a share in (0, 1]; BERT4Rec has 0.2 to 0.6")
        if not (masked >= 0 and random >= 0 and masked + random <= 1):
            raise ConfigError(f"masked is {masked} and random is {random}", "give shares whose sum is at most 1")
        if not 0 <= last_share <= 1:
            raise ConfigError(f"last_share is {last_share}", "give a share in [0, 1]")
        self.mask_share, self.masked, self.random, self.last_share = mask_share, masked, random, last_share

    def windows(
        self, items: np.ndarray, begins: np.ndarray, ends: np.ndarray, rows: np.ndarray, length: int, batch_size: int
    ) -> Feed:
        return Spans(items, begins, ends, rows, length, batch_size)

    def loss(self, encoder: Encoder, batch: Batch, generator: torch.Generator) -> Tensor:
        hidden = self.hide(batch.items.ne(PAD), generator)
        states = encoder(self.corrupt(batch.items, hidden, encoder.vocab_size, generator))[hidden]  # (N, D)
        return self.item_loss(states, self.item_table(encoder), self.bias, batch.targets[hidden], generator)

    def hide(self, real: Tensor, generator: torch.Generator) -> Tensor:
        """Choose the events to predict out of the `real (B, T)` ones: `(B, T)`, the same whatever the padding."""
        counts = (real.sum(dim=1, keepdim=True) * self.mask_share).round().clamp_min(1)  # (B, 1)
        hidden = choose(real, counts, generator)
        last = uniform(len(real), generator, real.device) < self.last_share  # (B,)
        hidden[last] = False
        hidden[last, -1] = True
        return hidden

    def corrupt(self, items: Tensor, hidden: Tensor, vocab_size: int, generator: torch.Generator) -> Tensor:
        """Replace the `hidden` events by MASK, by any item, or not at all: `(B, T)`."""
        own = items[hidden]  # (N,)
        fate, place = (uniform(len(own), generator, items.device) for _ in range(2))
        others = RESERVED + (place * (vocab_size - RESERVED)).long()
        corrupted = torch.where(fate < self.masked, MASK, torch.where(fate < self.masked + self.random, others, own))
        return items.masked_scatter(hidden, corrupted)

    def states_of(self, encoder: Encoder, items: Tensor) -> Tensor:
        """Put MASK behind the newest event, in place of the oldest step, and read its state."""
        asked = torch.cat([items[:, 1:], items.new_full((len(items), 1), MASK)], dim=1)
        return encoder(asked)[:, -1]
