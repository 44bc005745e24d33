"""The bag of items: which items a user's history holds, in no order, and logistic regression on it."""

from collections.abc import Callable, Sequence

import numpy as np
from scipy import sparse

from userrep.baselines.probe import STRENGTHS, Features, Probe, needs_sklearn
from userrep.errors import ConfigError, suggest
from userrep.evaluation.ranking import Csr
from userrep.sequences.batches import Cases
from userrep.sequences.protocol import Protocol, seen_users
from userrep.sequences.store import Prepared, Sequences

Weigh = Callable[[sparse.csr_matrix], sparse.csr_matrix]


class BagLR(Probe):
    """Logistic regression on the weighed bag of a user's items.

    weights  candidates: binary; log_count, log(1 + times); l2, binary at length one; idf, l2 with rare items heavier
    history  newest items that count, null for all
    """

    def __init__(
        self,
        weights: Sequence[str] = ("binary", "l2", "idf"),
        strengths: Sequence[float] = STRENGTHS,
        history: int | None = None,
    ) -> None:
        for name in weights:
            if name not in WEIGHTS:
                raise ConfigError(f"unknown weights of a bag: {name!r}", suggest(name, WEIGHTS))
        super().__init__(weights, strengths)
        self.history = history

    def features(self, kind: str, data: Prepared, protocol: Protocol, ends: np.ndarray, seed: int) -> Features:
        weigh, sequences = WEIGHTS[kind](self.seen_bags(data, protocol, ends)), data.sequences(protocol.source)
        return lambda cases: weigh(bags(sequences, cases, self.history))

    def seen_bags(self, data: Prepared, protocol: Protocol, ends: np.ndarray) -> sparse.csr_matrix:
        """Return the bags of all users whose behaviour may be learned from, with labels or without."""
        rows, sequences = np.flatnonzero(seen_users(data, protocol)), data.sequences(protocol.source)
        return bags(sequences, Cases(rows, ends[rows], np.zeros_like(rows)), self.history)


class SvdLR(BagLR):
    """Logistic regression on the first `rank` singular directions of the weighed bags of seen users."""

    def __init__(
        self,
        rank: int = 64,
        weights: Sequence[str] = ("binary", "l2", "idf"),
        strengths: Sequence[float] = STRENGTHS,
        history: int | None = None,
    ) -> None:
        super().__init__(weights, strengths, history)
        self.rank = rank

    def features(self, kind: str, data: Prepared, protocol: Protocol, ends: np.ndarray, seed: int) -> Features:
        seen = self.seen_bags(data, protocol, ends)
        weigh = WEIGHTS[kind](seen)
        rank = min(self.rank, seen.shape[0] - 1, seen.shape[1] - 1)
        svd = needs_sklearn("decomposition").TruncatedSVD(rank, random_state=seed)
        standardise = standardiser(svd.fit_transform(weigh(seen)))
        sequences = data.sequences(protocol.source)
        return lambda cases: standardise(svd.transform(weigh(bags(sequences, cases, self.history))))


def bags(sequences: Sequences, cases: Cases, history: int | None) -> sparse.csr_matrix:
    """Count the items in each case's newest `history` events: `(N, V)`."""
    starts = sequences.offsets[cases.rows]
    starts = starts if history is None else np.maximum(starts, cases.ends - history)
    owner, items = Csr(sequences.items, starts, cases.ends).pairs(np.arange(len(cases)))
    ones = np.ones(len(owner))
    return sparse.coo_matrix((ones, (owner, items)), (len(cases), sequences.vocab_size)).tocsr()


def standardiser(learned_from: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function that gives each column of `learned_from (N, F)` mean 0 and deviation 1."""
    mean, deviation = learned_from.mean(axis=0), learned_from.std(axis=0)
    return lambda features: (features - mean) / np.where(deviation > 0, deviation, 1.0)


def unit(weights: sparse.csr_matrix) -> sparse.csr_matrix:
    """Scale each row to length one; a row of nothing stays."""
    lengths = np.sqrt(np.asarray(weights.multiply(weights).sum(axis=1)).ravel())
    return sparse.diags(1 / np.where(lengths > 0, lengths, 1.0)) @ weights


def rarity(seen: sparse.csr_matrix) -> np.ndarray:
    """Return minus the log of the share of bags `(N, V)` that hold each item, one more of each counted: `(V,)`."""
    return -np.log((np.asarray(_binary(seen).sum(axis=0)).ravel() + 1) / (seen.shape[0] + 1))


def _binary(counts: sparse.csr_matrix) -> sparse.csr_matrix:
    return (counts > 0).astype(np.float64)


def _log_count(counts: sparse.csr_matrix) -> sparse.csr_matrix:
    return counts.log1p()


def _rare_heavier(seen: sparse.csr_matrix) -> Weigh:
    rare = sparse.diags(rarity(seen))
    return lambda counts: unit(_binary(counts) @ rare)


WEIGHTS: dict[str, Callable[[sparse.csr_matrix], Weigh]] = {
    "binary": lambda seen: _binary,
    "log_count": lambda seen: _log_count,
    "l2": lambda seen: lambda counts: unit(_binary(counts)),
    "idf": _rare_heavier,
}
