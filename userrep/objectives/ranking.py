"""Ranking: what every task shares whose answer is an item, its evaluation first."""

from functools import partial

import numpy as np
import torch
from torch import Tensor

from userrep.evaluation.ranking import Csr, DotScorer, Scorer, exact_products
from userrep.evaluation.results import RankingResult
from userrep.evaluation.tiles import read_histories
from userrep.models.encoder import Encoder
from userrep.objectives.objective import Objective
from userrep.sequences.batches import Cases
from userrep.sequences.protocol import Protocol
from userrep.sequences.store import Prepared, Sequences


class Ranking(Objective):
    """Rank the items of a domain for a history: a state for each history, a vector for each item, a dot product."""

    kind = "ranking"

    def targets(self, data: Prepared, protocol: Protocol) -> Sequences:
        """Return the events of the domain whose items are ranked; the one that histories are read from here."""
        return self.inputs(data, protocol)

    def seen(self, data: Prepared, protocol: Protocol, cases: Cases) -> Csr:
        """Return the ranked items that each case's user has met before, which are not offered again."""
        sequences = self.inputs(data, protocol)
        return Csr(sequences.items, sequences.offsets[cases.rows], cases.ends)

    def learned_from(self, data: Prepared, protocol: Protocol) -> tuple[Csr, Csr]:
        """Return what may be learned without an encoder: histories, and the ranked items that go with each, row by row.

        Here the training cases, those of one history together.
        """
        sequences, cases = self.inputs(data, protocol), self.cases(data, protocol, "train")
        order = np.lexsort((cases.ends, cases.rows))
        rows, ends = cases.rows[order], cases.ends[order]
        changed = np.ones(len(order) + 1, dtype=bool)
        changed[1:-1] = (rows[1:] != rows[:-1]) | (ends[1:] != ends[:-1])
        bounds = np.flatnonzero(changed)
        first = bounds[:-1]
        before = Csr(sequences.items, sequences.offsets[rows[first]], ends[first])
        return before, Csr(cases.targets[order], first, bounds[1:])

    def target_counts(self, data: Prepared, protocol: Protocol) -> np.ndarray:
        """Count how often each ranked item is an answer of what may be learned from: `(V,)` int64."""
        _, answers = self.learned_from(data, protocol)
        _, items = answers.pairs(np.arange(len(answers.ends)))
        return np.bincount(items, minlength=self.targets(data, protocol).vocab_size)

    def states_of(self, encoder: Encoder, items: Tensor) -> Tensor:
        """Return what scores the items: histories `(B, T)` -> `(B, D)`."""
        raise TypeError(f"{type(self).__name__} must say which state it ranks by")

    def output(self, encoder: Encoder) -> tuple[Tensor, Tensor | None]:
        """Return the vectors `(V, D)` of the ranked items and their biases `(V,)` or None."""
        raise TypeError(f"{type(self).__name__} must name its output table")

    def scores(self, encoder: Encoder, items: Tensor) -> Tensor:
        table, bias = self.output(encoder)
        scorer = DotScorer(self.states_of(encoder, items), table, bias)
        width = scorer.tile[1]
        with exact_products(scorer.device):
            block = scorer.block(np.arange(len(items)))
            tiles = [block(low, min(low + width, len(table))).clone() for low in range(0, len(table), width)]
        return torch.cat(tiles, dim=1)

    def evaluate(
        self, encoder: Encoder, data: Prepared, protocol: Protocol, role: str, users: np.ndarray | None = None
    ) -> RankingResult:
        cases = self.select(self.cases(data, protocol, role), users)
        with torch.inference_mode():
            table, bias = self.output(encoder)
            scorer = DotScorer(self.encode(encoder, data, protocol, cases), table, bias)
        return self.rank(data, protocol, cases, scorer)

    def rank(self, data: Prepared, protocol: Protocol, cases: Cases, scorer: Scorer) -> RankingResult:
        """Rank the targets of `cases` among all items that their users have not met before."""
        vocab_size = self.targets(data, protocol).vocab_size
        return RankingResult.rank(cases.rows, cases.targets, scorer, self.seen(data, protocol, cases), vocab_size)

    def encode(self, encoder: Encoder, data: Prepared, protocol: Protocol, cases: Cases) -> Tensor:
        """Encode the histories of cases in fixed tiles: `(N, D)`."""
        sequences = self.inputs(data, protocol)
        before = Csr(sequences.items, sequences.offsets[cases.rows], cases.ends)
        return read_histories(partial(self.states_of, encoder), before, protocol.history, encoder.device)
