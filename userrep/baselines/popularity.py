"""Popularity: everyone is offered the items with the most training events."""

from typing import ClassVar

import numpy as np
import torch

from userrep.baselines.baseline import Baseline, Predict, Settings
from userrep.evaluation.ranking import Block, Csr, Scorer
from userrep.evaluation.results import RankingResult
from userrep.objectives.objective import Objective
from userrep.sequences.batches import Cases
from userrep.sequences.protocol import Protocol
from userrep.sequences.seen import item_counts
from userrep.sequences.store import Prepared


class Popularity(Baseline):
    """Rank items by how often they occur in training events."""

    kind: ClassVar[str] = "ranking"

    def candidates(self) -> list[Settings]:
        return [{}]

    def predictor(self, data: Prepared, protocol: Protocol, task: Objective, seed: int) -> Predict:
        scorer = SameForAll(item_counts(data, protocol))

        def predict(settings: Settings, role: str) -> RankingResult:
            return rank_cases(data, task.cases(data, protocol, role), scorer)

        return predict


class SameForAll:
    """Score items `(V,)` alike for every user."""

    tile = (1, 1)
    device = torch.device("cpu")

    def __init__(self, scores: np.ndarray) -> None:
        self.scores = torch.from_numpy(scores.astype(np.float32))

    def block(self, rows: np.ndarray) -> Block:
        return lambda lo, hi: self.scores[lo:hi].repeat(len(rows), 1)


def rank_cases(data: Prepared, cases: Cases, scorer: Scorer) -> RankingResult:
    """Rank the targets of `cases` among all items outside their histories."""
    sequences = data.sequences()
    history = Csr(sequences.items, sequences.offsets[cases.rows], cases.ends)
    return RankingResult.rank(cases.rows, cases.targets, scorer, history, sequences.vocab_size)
