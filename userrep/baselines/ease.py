"""EASE: a linear model from a bag of items to itself in which no item explains itself, in closed form."""

from collections.abc import Sequence
from itertools import product

import numpy as np
import torch
from scipy import linalg, sparse

from userrep.baselines.baseline import Settings
from userrep.baselines.ranker import Ranker, Score, needs_shared_items, read_before
from userrep.baselines.recency import recent_bags
from userrep.errors import ConfigError, UsageError
from userrep.evaluation.ranking import Block, Scorer
from userrep.objectives.ranking import Ranking
from userrep.sequences.batches import Cases
from userrep.sequences.protocol import Protocol
from userrep.sequences.store import Prepared

LIMIT = 20_000  # items: three squares of doubles, 9 GiB


class Ease(Ranker):
    """Score by `bag B`, where B minimises `|X - X B|^2 + strength |B|^2` with a zero diagonal (Steck, WWW 2019).

    X are the binary bags of training events. Memory is three times V x V doubles: more than `limit` items are refused.

    strengths   candidates for the penalty
    decays      candidates for the weight of a history's item when scoring, by the event's age: 1 for a plain bag
    """

    def __init__(
        self,
        strengths: Sequence[float] = (100.0, 300.0, 1000.0),
        decays: Sequence[float] = (1.0,),
        limit: int = LIMIT,
    ) -> None:
        super().__init__()
        if not strengths or min(strengths) <= 0 or not decays:
            raise ConfigError(
                f"EASE with strengths {list(strengths)} and decays {list(decays)}",
                "give one or more strengths above 0, and one or more decays",
            )
        self.strengths, self.decays, self.limit = list(strengths), list(decays), limit

    def candidates(self) -> list[Settings]:
        return [{"strength": one, "decay": decay} for one, decay in product(self.strengths, self.decays)]

    def learn(self, data: Prepared, protocol: Protocol, task: Ranking, seed: int) -> Score:
        needs_shared_items("EASE", task, data, protocol)
        sequences, size = task.inputs(data, protocol), task.inputs(data, protocol).vocab_size
        if size > self.limit:
            raise UsageError(
                f"EASE inverts a matrix of all items: {size:,} take {3 * 8 * size**2 / 2**30:.0f} GiB",
                f"raise baseline.limit ({self.limit:,}) where there is room, or take item_knn",
            )
        before, _ = task.learned_from(data, protocol)
        seen = recent_bags(before, size)
        gram = (seen.T @ seen).tocsr()
        made: dict[float, np.ndarray] = {}  # the last one

        def score(settings: Settings, cases: Cases) -> Scorer:
            if settings["strength"] not in made:
                made.clear()
                made[settings["strength"]] = explained(gram, settings["strength"])
            bags = recent_bags(read_before(sequences, cases), size, settings["decay"], protocol.history)
            return DenseScorer(bags, made[settings["strength"]])

        return score


def explained(gram: sparse.csr_matrix, strength: float) -> np.ndarray:
    """Return B `(V, V)`: minus the inverse of the regularised gram by its own diagonal, which then is zero."""
    held = gram.toarray()
    held.flat[:: len(held) + 1] += strength
    inverse = linalg.inv(held, overwrite_a=True, check_finite=False)
    inverse /= -np.diag(inverse)  # a column by its own diagonal
    np.fill_diagonal(inverse, 0.0)
    return inverse


class DenseScorer:
    """Score by sparse bags `(N, V)` times a dense `table (V, W)`."""

    tile = (1, 1)
    device = torch.device("cpu")

    def __init__(self, bags: sparse.csr_matrix, table: np.ndarray) -> None:
        self.bags, self.table = bags, table

    def block(self, rows: np.ndarray) -> Block:
        scores = torch.from_numpy((self.bags[rows] @ self.table).astype(np.float32))  # (u, W)
        return lambda lo, hi: scores[:, lo:hi].clone()
