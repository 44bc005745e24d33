"""Item kNN: the items that are chosen by the same users as those of a history."""

from collections.abc import Sequence
from itertools import product

import numpy as np
from scipy import sparse

from userrep.baselines.baseline import Settings
from userrep.baselines.ranker import Ranker, Score, backoff, read_before
from userrep.baselines.recency import recent_bags
from userrep.baselines.sparse_scorer import SparseScorer
from userrep.errors import ConfigError
from userrep.evaluation.ranking import Scorer
from userrep.objectives.ranking import Ranking
from userrep.sequences.batches import Cases
from userrep.sequences.protocol import Protocol
from userrep.sequences.store import Prepared

TILE = 2**24  # entries of the similarities that are made at once


class ItemKNN(Ranker):
    """Add up, over a history, the cosines of its items with a candidate (Deshpande and Karypis, 2004).

    The cosine of an item that was read and one that was chosen is, over what may be learned from, how often they go
    together by the root of how often each occurs, plus the shrinkage. They may be of two domains.

    neighbours   candidates for how many chosen items count for each item that was read, the most similar
    shrinkages   candidates for what makes rare pairs weigh less
    decays       candidates for the weight of a history's item, by the event's age: 1 for a plain bag
    """

    def __init__(
        self,
        neighbours: Sequence[int] = (20, 100, 500),
        shrinkages: Sequence[float] = (10.0, 50.0, 200.0, 1000.0),
        decays: Sequence[float] = (1.0,),
    ) -> None:
        super().__init__()
        if not neighbours or min(neighbours) < 1 or not shrinkages or min(shrinkages) < 0 or not decays:
            raise ConfigError(
                f"an item kNN with neighbours {list(neighbours)}, shrinkages {list(shrinkages)}, decays {list(decays)}",
                "give whole numbers from 1, numbers from 0, and one decay or more",
            )
        self.neighbours, self.shrinkages, self.decays = list(neighbours), list(shrinkages), list(decays)

    def candidates(self) -> list[Settings]:
        found = product(self.shrinkages, self.neighbours, self.decays)
        return [{"shrinkage": one, "neighbours": count, "decay": decay} for one, count, decay in found]

    def learn(self, data: Prepared, protocol: Protocol, task: Ranking, seed: int) -> Score:
        before, answers = task.learned_from(data, protocol)
        sequences, unreached = task.inputs(data, protocol), backoff(task, data, protocol)
        read = recent_bags(before, sequences.vocab_size)  # (N, V)
        chosen = recent_bags(answers, task.targets(data, protocol).vocab_size)  # (N, W)
        tables = similarities(read, chosen, self.shrinkages, max(self.neighbours), before is answers)

        def score(settings: Settings, cases: Cases) -> Scorer:
            bags = recent_bags(read_before(sequences, cases), sequences.vocab_size, settings["decay"], protocol.history)
            return SparseScorer(bags, nearest(tables[settings["shrinkage"]], settings["neighbours"]), unreached)

        return score


def similarities(
    read: sparse.csr_matrix, chosen: sparse.csr_matrix, shrinkages: Sequence[float], count: int, same: bool
) -> dict[float, sparse.csr_matrix]:
    """Return by shrinkage the cosines of each item read with the `count` most similar ones chosen: `(V, W)`.

    `read (N, V)` and `chosen (N, W)` are binary. Where they are the `same`, no item is similar to itself. A tile of
    items is made at a time, so that V x W is never held.
    """
    times = [np.asarray(matrix.sum(axis=0)).ravel() for matrix in (read, chosen)]
    by_item, step = read.T.tocsr(), max(1, TILE // max(1, chosen.shape[1]))
    parts: dict[float, list[sparse.csr_matrix]] = {shrinkage: [] for shrinkage in shrinkages}
    for lo in range(0, read.shape[1], step):
        together = (by_item[lo : lo + step] @ chosen).tocoo()
        kept = together.row + lo != together.col if same else np.ones(together.nnz, dtype=bool)
        rows, columns, pairs = together.row[kept], together.col[kept], together.data[kept]
        for shrinkage, found in parts.items():
            cosine = pairs / (np.sqrt(times[0][rows + lo] * times[1][columns]) + shrinkage)
            found.append(nearest(sparse.csr_matrix((cosine, (rows, columns)), together.shape), count))
    return {shrinkage: sparse.vstack(found, format="csr") for shrinkage, found in parts.items()}


def nearest(table: sparse.csr_matrix, count: int) -> sparse.csr_matrix:
    """Keep the `count` largest entries of each row; of equal ones the first columns."""
    lengths = np.diff(table.indptr)
    rows = np.repeat(np.arange(table.shape[0]), lengths)
    order = np.lexsort((table.indices, -table.data, rows))
    kept = order[np.arange(len(order)) - np.repeat(table.indptr[:-1], lengths) < count]
    return sparse.csr_matrix((table.data[kept], (rows[kept], table.indices[kept])), table.shape)
