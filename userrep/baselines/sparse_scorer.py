"""Scores as a sparse product: bags of items times what each item speaks for."""

import numpy as np
import torch
from scipy import sparse

from userrep.evaluation.ranking import Block


class SparseScorer:
    """Score by bags `(N, V)` times `table (V, W)`, both sparse, plus a score an item `(W,)`."""

    tile = (1, 1)
    device = torch.device("cpu")

    def __init__(self, bags: sparse.csr_matrix, table: sparse.csr_matrix, offset: np.ndarray) -> None:
        self.bags, self.table, self.offset = bags, table, offset

    def block(self, rows: np.ndarray) -> Block:
        reached = (self.bags[rows] @ self.table).tocsc()  # (u, W)

        def scores(lo: int, hi: int) -> torch.Tensor:
            found = reached[:, lo:hi].toarray() + self.offset[lo:hi]
            return torch.from_numpy(found.astype(np.float32))

        return scores
