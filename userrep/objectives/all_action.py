"""All action: each state predicts items of the user's coming events, not only the next (PinnerFormer's dense loss)."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from userrep.errors import ConfigError
from userrep.models.encoder import Encoder
from userrep.objectives.behaviour import Behaviour
from userrep.sequences.batches import Batch, Feed, Following, Windows
from userrep.sequences.draws import uniform
from userrep.sequences.vocab import PAD


@dataclass(frozen=True)
class Ahead(Following):
    """A batch that also knows what follows its last targets: `future (B, F)`, padded with 0 on the right."""

    future: Tensor = field(kw_only=True)


class WindowsAhead(Windows):
    """Feed next-item windows, each with the `beyond` training events that follow it."""

    def __init__(
        self, items: np.ndarray, begins: np.ndarray, ends: np.ndarray, rows: np.ndarray, length: int, batch_size: int,
        beyond: int,
    ) -> None:  # fmt: skip
        super().__init__(items, begins, ends, rows, length, batch_size)
        self.beyond = beyond
        self.stops = np.zeros(int(rows.max(initial=0)) + 1, dtype=np.int64)  # where each user's training ends
        self.stops[self.rows] = self.ends

    def batch(self, index: np.ndarray) -> Ahead:
        """Gather inputs, next items `(B, T)` and what comes after them `(B, beyond)`."""
        near = super().batch(index)
        _, ends, rows = index.T
        places = ends[:, None] + np.arange(self.beyond)  # (B, F)
        real = places < self.stops[rows][:, None]
        future = np.where(real, self.items[np.where(real, places, 0)], PAD).astype(np.int64)
        return Ahead(near.items, near.targets, near.rows, future=torch.from_numpy(future))


class AllAction(Behaviour):
    """Predict items drawn from the coming events of each position (Pancha et al., KDD 2022, section 3.3).

    window      events ahead that count; PinnerFormer has 28 days, and events need no times
    actions     items drawn for each position out of its window, with replacement
    positions   share of the positions that predict, drawn anew each time
    The rest is in `Behaviour`.
    """

    takes = Ahead
    needs_causal = True

    def __init__(self, window: int = 50, actions: int = 8, positions: float = 1.0, **own: Any) -> None:
        super().__init__(**own)
        if window < 1 or actions < 1:
            raise ConfigError(f"all_action has window {window}, actions {actions}", "give whole numbers of at least 1")
        if not 0 < positions <= 1:
            raise ConfigError(f"positions is {positions}", "give a share in (0, 1]")
        self.window, self.actions, self.positions = window, actions, positions

    def windows(
        self, items: np.ndarray, begins: np.ndarray, ends: np.ndarray, rows: np.ndarray, length: int, batch_size: int
    ) -> Feed:
        return WindowsAhead(items, begins, ends, rows, length, batch_size, beyond=self.window - 1)

    def loss(self, encoder: Encoder, batch: Batch, generator: torch.Generator) -> Tensor:
        assert isinstance(batch, Ahead)
        rows, steps = self.predicting(batch.targets.ne(PAD), generator)
        labels = self.labels(batch, rows, steps, generator)
        states = encoder(batch.items)[rows, steps]  # (N, D)
        return self.item_loss(states, self.item_table(encoder), self.bias, labels, generator)

    def predicting(self, supervised: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Choose the positions that predict, as rows and steps `(N,)` of `supervised (B, T)`."""
        rows, steps = supervised.nonzero(as_tuple=True)
        if self.positions == 1:
            return rows, steps
        count = max(1, round(self.positions * len(rows)))
        chosen = torch.randperm(len(rows), generator=generator, device=generator.device)[:count].to(rows.device)
        return rows[chosen], steps[chosen]

    def labels(self, batch: Ahead, rows: Tensor, steps: Tensor, generator: torch.Generator) -> Tensor:
        """Draw `(N, actions)` items, each from its position's window or what is left of it before training ends."""
        ahead = torch.cat([batch.targets, batch.future], dim=1)  # (B, T + F): from step t on, what comes after item t
        known = batch.targets.shape[1] + batch.future.ne(PAD).sum(dim=1)  # (B,)
        reach = (known[rows] - steps).clamp_max(self.window).unsqueeze(1)  # (N, 1), at least 1: the next item
        drawn = uniform((len(rows), self.actions), generator, rows.device)
        return ahead[rows.unsqueeze(1), steps.unsqueeze(1) + (drawn * reach).long()]

    def states_of(self, encoder: Encoder, items: Tensor) -> Tensor:
        return encoder(items)[:, -1]
