"""Popularity: everyone is offered the items that were chosen most often in training."""

import numpy as np
import torch

from userrep.baselines.baseline import Settings
from userrep.baselines.ranker import Ranker, Score
from userrep.evaluation.ranking import Block
from userrep.objectives.ranking import Ranking
from userrep.sequences.protocol import Protocol
from userrep.sequences.store import Prepared


class Popularity(Ranker):
    """Rank items by how often they occur in training: among the events, or among the targets of training cases."""

    def candidates(self) -> list[Settings]:
        return [{}]

    def learn(self, data: Prepared, protocol: Protocol, task: Ranking, seed: int) -> Score:
        scorer = SameForAll(task.target_counts(data, protocol))
        return lambda settings, cases: scorer


class SameForAll:
    """Score items `(V,)` alike for every user."""

    tile = (1, 1)
    device = torch.device("cpu")

    def __init__(self, scores: np.ndarray) -> None:
        self.scores = torch.from_numpy(scores.astype(np.float32))

    def block(self, rows: np.ndarray) -> Block:
        return lambda lo, hi: self.scores[lo:hi].repeat(len(rows), 1)
