"""Behaviour: what all objectives share whose answers are items of the user's own sequence, heads and cases first."""

import numpy as np
import torch
from torch import Tensor, nn

from userrep import console
from userrep.evaluation.ranking import Csr
from userrep.models.encoder import Encoder
from userrep.models.rows import count_rows
from userrep.models.stem import truncated_normal_
from userrep.objectives.item_loss import GBCE_T, item_loss
from userrep.objectives.ranking import Ranking
from userrep.objectives.samplers import RHO
from userrep.sequences.batches import Cases, Feed, Windows
from userrep.sequences.exposure import Exposure, events_at, events_between
from userrep.sequences.protocol import Protocol, seen_users
from userrep.sequences.seen import item_counts
from userrep.sequences.store import Prepared
from userrep.sequences.vocab import RESERVED


class Behaviour(Ranking):
    """Learn from training events, by any item loss; be judged by the next item, whatever is learned.

    loss  full, sampled, bpr, logistic, gbce or auto, with `negatives` and so on: see `item_loss`
    tied  score against the item table; else against an own table (V, D), as in the published code
    bias  an own bias for each item
    """

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
        super().__init__()
        self.item_loss = item_loss(loss, negatives, sampler, gbce_t=gbce_t, rho=rho, table_l2=table_l2)
        self.item_loss.check_bias(bias)
        self.tied, self.with_bias = tied, bias
        self.table: nn.Parameter | None = None
        self.bias: nn.Parameter | None = None

    @property
    def task_name(self) -> str:
        return "next_item"

    def setup(self, encoder: Encoder, data: Prepared, protocol: Protocol) -> None:
        self.check_encoder(encoder)
        self.item_loss = self.item_loss.settle(encoder.vocab_size - RESERVED, self.with_bias)
        if not self.tied:
            self.table = nn.Parameter(truncated_normal_(torch.empty(encoder.vocab_size, encoder.width)))
        if self.with_bias:
            self.bias = nn.Parameter(torch.zeros(encoder.vocab_size))

    def cases(self, data: Prepared, protocol: Protocol, role: str) -> Cases:
        """Return each user's first event of the role as target, its history all that lies before it."""
        sequences = self.inputs(data, protocol)
        split = data.split(protocol.events, domain=protocol.source)
        counts = np.diff(sequences.offsets)
        bounds = {"train": (np.maximum(split.train_end - 1, 1), split.train_end),
                  "valid": (split.train_end, split.valid_end), "test": (split.valid_end, counts)}  # fmt: skip
        first, stop = bounds[role]
        rows = np.flatnonzero((first < stop) & (first > 0))
        ends = sequences.offsets[rows] + first[rows]
        return Cases(rows, ends, np.asarray(sequences.items[ends], dtype=np.int64))

    def feed(self, data: Prepared, protocol: Protocol, users: np.ndarray, length: int, batch_size: int) -> Feed:
        sequences = self.inputs(data, protocol)
        split = data.split(protocol.events, domain=protocol.source)
        rows = np.flatnonzero(users)
        begins = sequences.offsets[rows]
        ends = begins + split.train_end[rows]
        if self.item_loss.told:
            console.note(self.item_loss.told)
        if self.item_loss.draws:
            self.item_loss.prepare(count_events(sequences.items, begins, ends, sequences.vocab_size))
        return self.windows(sequences.items, begins, ends, rows, length, batch_size)

    def windows(
        self, items: np.ndarray, begins: np.ndarray, ends: np.ndarray, rows: np.ndarray, length: int, batch_size: int
    ) -> Feed:
        """Cut the training ranges `[begins, ends)` of the users `rows` into examples."""
        return Windows(items, begins, ends, rows, length, batch_size)

    def exposure(self, data: Prepared, protocol: Protocol, users: np.ndarray) -> Exposure:
        sequences, rows = self.inputs(data, protocol), np.flatnonzero(users)
        begins = sequences.offsets[rows]
        ends = begins + data.split(protocol.events, domain=protocol.source).train_end[rows]
        read = events_between(sequences, begins, ends)
        asked = {role: events_at(sequences, self.cases(data, protocol, role).ends) for role in ("valid", "test")}
        return Exposure(answers=read, inputs=read, judged=asked)

    def learned_from(self, data: Prepared, protocol: Protocol) -> tuple[Csr, Csr]:
        """Return the training events of each user that may be seen, as both: any of them goes with any other."""
        sequences, rows = self.inputs(data, protocol), np.flatnonzero(seen_users(data, protocol))
        begins = sequences.offsets[rows]
        ends = begins + data.split(protocol.events, domain=protocol.source).train_end[rows]
        events = Csr(sequences.items, begins, ends)
        return events, events

    def output(self, encoder: Encoder) -> tuple[Tensor, Tensor | None]:
        return self.item_table(encoder), self.bias

    @property
    def divisible(self) -> bool:
        return True

    @property
    def terms(self) -> int | None:
        return self.item_loss.terms

    def read_by_row(self, encoder: Encoder) -> list[nn.Parameter]:
        looked_up, output = encoder.stem.tables(), self.item_table(encoder)
        if self.item_loss.by_row:
            return [*looked_up, *(table for table in (self.table,) if table is output)]
        return looked_up if self.table is not None else []

    def slice_values(self, data: Prepared, protocol: Protocol, cases: Cases) -> dict[str, np.ndarray]:
        popularity = item_counts(data, protocol)[cases.targets]
        return super().slice_values(data, protocol, cases) | {"popularity": popularity}

    def item_table(self, encoder: Encoder) -> Tensor:
        """Return the output table `(V, D)`, without rows that the encoder was given for items of another domain."""
        table = encoder.item_vectors() if self.table is None else self.table
        return table if count_rows(table) == encoder.vocab_size else table[: encoder.vocab_size]


def count_events(items: np.ndarray, begins: np.ndarray, ends: np.ndarray, vocab_size: int) -> np.ndarray:
    """Count each id's events inside the ranges `[begins, ends)`: `(V,)` int64, one pass and no loop over users."""
    filled = ends > begins  # ranges are disjoint, so those with an event begin and end at places of their own
    edges = np.zeros(len(items) + 1, dtype=np.int8)
    edges[begins[filled]] += 1
    edges[ends[filled]] -= 1
    return np.bincount(items[np.cumsum(edges[:-1], dtype=np.int8) > 0], minlength=vocab_size)
