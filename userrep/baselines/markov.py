"""Markov: the items that followed a user's newest items in the training events."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from scipy import sparse

from userrep.baselines.baseline import Baseline, Predict, Settings
from userrep.baselines.popularity import rank_cases
from userrep.errors import ConfigError
from userrep.evaluation.ranking import Block
from userrep.evaluation.results import RankingResult
from userrep.objectives.objective import Objective
from userrep.sequences.batches import Cases
from userrep.sequences.protocol import Protocol
from userrep.sequences.seen import item_counts, training_events
from userrep.sequences.store import Prepared, Sequences

BACKOFF = 1e-3  # weight of an item's share of all events: it orders the items that no transition reaches


class Markov(Baseline):
    """Add the transition probabilities from the last `memory` items, each `decay` times the weight of the newer one.

    reach        a transition leads to each of the next `reach` items, each `reach_decay` times the nearer one's
    decays       candidates for `decay`, chosen on validation
    """

    kind: ClassVar[str] = "ranking"

    def __init__(
        self, memory: int = 1, decays: Sequence[float] = (1.0,), reach: int = 1, reach_decay: float = 0.8
    ) -> None:
        super().__init__()
        if memory < 1 or reach < 1 or not decays:
            raise ConfigError(
                f"a Markov baseline with memory {memory}, reach {reach} and {len(decays)} decays",
                "give a memory and a reach of at least 1 and one decay or more",
            )
        self.memory, self.decays, self.reach, self.reach_decay = memory, list(decays), reach, reach_decay

    def candidates(self) -> list[Settings]:
        return [{"decay": decay} for decay in self.decays]

    def predictor(self, data: Prepared, protocol: Protocol, task: Objective, seed: int) -> Predict:
        sequences, counts = data.sequences(), item_counts(data, protocol)
        transitions = self._transitions(sequences, *training_events(data, protocol))
        backoff = BACKOFF * counts / max(1, counts.sum())

        def predict(settings: Settings, role: str) -> RankingResult:
            cases = task.cases(data, protocol, role)
            newest = weigh_newest(sequences, cases, self.memory, settings["decay"])
            return rank_cases(data, cases, Following(newest, transitions, backoff))

        return predict

    def _transitions(self, sequences: Sequences, trains: np.ndarray, position: np.ndarray) -> sparse.csr_matrix:
        """Return the share of each item's transitions that leads to each other: `(V, V)`, rows sum to one."""
        shape = (sequences.vocab_size, sequences.vocab_size)
        total = sparse.csr_matrix(shape)
        for step in range(1, self.reach + 1):
            later = np.flatnonzero(trains & (position >= step))
            pairs = sequences.items[later - step], sequences.items[later]
            weight = np.full(len(later), self.reach_decay ** (step - 1))
            total = total + sparse.coo_matrix((weight, pairs), shape).tocsr()
        leaving = np.asarray(total.sum(axis=1)).ravel()
        return sparse.diags(1 / np.where(leaving > 0, leaving, 1)) @ total


def weigh_newest(sequences: Sequences, cases: Cases, memory: int, decay: float) -> sparse.csr_matrix:
    """Return the weights of each case's last `memory` items, the newest 1: `(N, V)`."""
    back = np.arange(1, memory + 1)
    index = cases.ends[:, None] - back  # (N, memory)
    row, step = np.nonzero(index >= sequences.offsets[cases.rows][:, None])
    items = sequences.items[index[row, step]]
    return sparse.coo_matrix((decay**step, (row, items)), (len(cases), sequences.vocab_size)).tocsr()


class Following:
    """Score by sparse products, newest items `(N, V)` times transitions `(V, V)`, plus a score an item `(V,)`."""

    tile = (1, 1)
    device = torch.device("cpu")

    def __init__(self, newest: sparse.csr_matrix, transitions: sparse.csr_matrix, backoff: np.ndarray) -> None:
        self.newest, self.transitions, self.backoff = newest, transitions, backoff

    def block(self, rows: np.ndarray) -> Block:
        reached = (self.newest[rows] @ self.transitions).tocsc()  # (u, V)

        def scores(lo: int, hi: int) -> torch.Tensor:
            found = reached[:, lo:hi].toarray() + self.backoff[lo:hi]
            return torch.from_numpy(found.astype(np.float32))

        return scores
