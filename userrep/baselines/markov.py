"""Markov: the items that followed a user's newest items in the training events."""

from collections.abc import Sequence

import numpy as np
from scipy import sparse

from userrep.baselines.baseline import Settings
from userrep.baselines.ranker import Ranker, Score, backoff, needs_shared_items
from userrep.baselines.sparse_scorer import SparseScorer
from userrep.errors import ConfigError
from userrep.evaluation.ranking import Scorer
from userrep.objectives.ranking import Ranking
from userrep.sequences.batches import Cases
from userrep.sequences.protocol import Protocol
from userrep.sequences.seen import training_events
from userrep.sequences.store import Prepared, Sequences


class Markov(Ranker):
    """Add the transition probabilities from the last `memory` items, each `decay` times the weight of the newer one.

    reach        a transition leads to each of the next `reach` items, each `reach_decay` times the nearer one's
    decays       candidates for `decay`, chosen on validation
    """

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

    def learn(self, data: Prepared, protocol: Protocol, task: Ranking, seed: int) -> Score:
        needs_shared_items("a Markov baseline", task, data, protocol)
        sequences, unreached = task.inputs(data, protocol), backoff(task, data, protocol)
        transitions = self._transitions(sequences, *training_events(data, protocol))

        def score(settings: Settings, cases: Cases) -> Scorer:
            newest = weigh_newest(sequences, cases, self.memory, settings["decay"])
            return SparseScorer(newest, transitions, unreached)

        return score

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
