"""Ridge regression from what is known of a history to which items are chosen, in users or in features."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
import torch
from scipy import sparse

from userrep.baselines.bag import rarity, unit
from userrep.baselines.baseline import Settings
from userrep.baselines.ranker import Ranker, Score, needs_answers, read_before
from userrep.baselines.recency import recent_bags
from userrep.errors import ConfigError, UsageError, suggest
from userrep.evaluation.ranking import USER_TILE, Block, Csr, Scorer
from userrep.objectives.ranking import Ranking
from userrep.sequences.batches import Cases
from userrep.sequences.protocol import Protocol
from userrep.sequences.store import Prepared

STRENGTHS = (3.0, 10.0, 30.0, 100.0)
TOLERANCE = 1e-5  # of a solution's residual, by the length of the right side
STEPS = 2_000  # of conjugate gradients; 20 to 100 are usual
TOGETHER = 32  # columns of a system
Features = Callable[[Csr], Any]  # histories in rows to (N, F), dense or sparse
Apply = Callable[[np.ndarray], np.ndarray]  # (R, n) to the same


class RidgeRanker(Ranker):
    """Regress each item's being chosen, less its share of the training targets, on features of a history.

    Features are scaled to a mean squared length of one over training cases; `strengths` are candidates for the penalty.
    `kinds` are candidates for the features.
    """

    def __init__(self, kinds: Sequence[Settings], strengths: Sequence[float] = STRENGTHS) -> None:
        super().__init__()
        if not strengths or min(strengths) <= 0:
            raise ConfigError(f"the strengths of a ridge are {list(strengths)}", "give one or more above 0")
        self.kinds, self.strengths = list(kinds), list(strengths)

    @abstractmethod
    def features(
        self, kind: Settings, data: Prepared, protocol: Protocol, task: Ranking, learned: Csr, seed: int
    ) -> Features:
        """Return the function that makes the features of a kind; `learned` are the histories of training."""

    def candidates(self) -> list[Settings]:
        return [{**kind, "strength": strength} for kind in self.kinds for strength in self.strengths]

    def learn(self, data: Prepared, protocol: Protocol, task: Ranking, seed: int) -> Score:
        needs_answers("a ridge", task, data, protocol)
        before, answers = task.learned_from(data, protocol)
        sequences = task.inputs(data, protocol)
        chosen = recent_bags(answers, task.targets(data, protocol).vocab_size)  # (N, V)
        made: dict[str, System] = {}

        def score(settings: Settings, cases: Cases) -> Scorer:
            kind = {key: value for key, value in settings.items() if key != "strength"}
            if str(kind) not in made:
                features = self.features(kind, data, protocol, task, before, seed)
                made[str(kind)] = System.of(features, features(before), chosen)
            return RidgeScorer(made[str(kind)], settings["strength"], read_before(sequences, cases))

        return score


class Ridge(RidgeRanker):
    """Ridge regression on the bag of a history, the newest `protocol.history` events.

    weights   candidates: binary; l2, binary at length one; idf, l2 with rare items heavier
    decays    candidates for the weight of an item, by the event's age: 1 for a plain bag
    """

    def __init__(
        self,
        weights: Sequence[str] = ("binary", "l2"),
        decays: Sequence[float] = (1.0,),
        strengths: Sequence[float] = STRENGTHS,
    ) -> None:
        for name in weights:
            if name not in WEIGHTS:
                raise ConfigError(f"unknown weights of a bag: {name!r}", suggest(name, WEIGHTS))
        kinds = [{"weights": name, "decay": decay} for name, decay in product(weights, decays)]
        super().__init__(kinds, strengths)

    def features(
        self, kind: Settings, data: Prepared, protocol: Protocol, task: Ranking, learned: Csr, seed: int
    ) -> Features:
        size, history = task.inputs(data, protocol).vocab_size, protocol.history
        weigh = WEIGHTS[kind["weights"]](recent_bags(learned, size, 1.0, history))
        return lambda events: weigh(recent_bags(events, size, kind["decay"], history))


Weigh = Callable[[sparse.csr_matrix], sparse.csr_matrix]


def _rare_heavier(seen: sparse.csr_matrix) -> Weigh:
    rare = sparse.diags(rarity(seen))
    return lambda bags: unit(bags @ rare)


WEIGHTS: dict[str, Callable[[sparse.csr_matrix], Weigh]] = {
    "binary": lambda seen: lambda bags: bags,
    "l2": lambda seen: unit,
    "idf": _rare_heavier,
}


@dataclass(frozen=True)
class System:
    """Training features `learned (N, F)` and what went with them, `(V, N)`; scores are made from weights of the cases.

    With k the products of a history with the training cases and K theirs with each other, the weights are
    `k (K + strength)^-1`. Where features are fewer than cases, the same weights come from the gram of the features.
    Neither matrix is made: the systems are solved by conjugate gradients in fp32, since bags hold few items.
    """

    features: Features
    kept: np.ndarray | slice  # features that occur in training
    scale: float
    learned: Any
    chosen: sparse.csr_matrix  # (V, N): transposed, so that a tile of items is cut cheaply
    share: np.ndarray  # (V,): mean of the targets

    @classmethod
    def of(cls, features: Features, learned: Any, chosen: sparse.csr_matrix) -> "System":
        """Scale `learned (N, F)` to a mean squared length of one; `chosen` is `(N, V)`."""
        squared = learned.multiply(learned).sum() if sparse.issparse(learned) else np.square(learned).sum()
        scale = 1 / (np.sqrt(squared / max(1, learned.shape[0])) or 1.0)
        kept = np.flatnonzero(learned.getnnz(axis=0)) if sparse.issparse(learned) else slice(None)
        learned = (learned[:, kept] * scale).astype(np.float32)
        return cls(features, kept, scale, learned, chosen.T.tocsr(), np.asarray(chosen.mean(axis=0)).ravel())

    def weights(self, events: Csr, strength: float) -> np.ndarray:
        """Weigh the training cases for histories: `(N, n)`."""
        asked = (self.features(events)[:, self.kept] * self.scale).astype(np.float32)
        cases, features = self.learned.shape
        if features <= cases:
            return self.learned @ conjugate_gradients(self._gram, strength, _dense(asked.T))
        return conjugate_gradients(self._kernel, strength, _dense(self.learned @ asked.T))

    @cached_property
    def _gram(self) -> Apply:
        if sparse.issparse(self.learned):
            across = self.learned.T.tocsr()
            return lambda columns: across @ (self.learned @ columns)
        gram = self.learned.T @ self.learned
        return lambda columns: gram @ columns

    @cached_property
    def _kernel(self) -> Apply:
        across = self.learned.T.tocsr() if sparse.issparse(self.learned) else self.learned.T
        return lambda columns: self.learned @ (across @ columns)


class RidgeScorer:
    """Score histories by a ridge: the items' shares, plus what the weighed training cases chose beyond them."""

    tile = (USER_TILE, 1)  # sums depend on the shape of what is solved together
    device = torch.device("cpu")

    def __init__(self, system: System, strength: float, events: Csr) -> None:
        self.system, self.strength, self.events = system, strength, events

    def block(self, rows: np.ndarray) -> Block:
        padded = np.pad(rows, (0, -len(rows) % USER_TILE), mode="edge")
        asked = Csr(self.events.items, self.events.starts[padded], self.events.ends[padded])
        weights = self.system.weights(asked, self.strength)  # (N, a multiple of USER_TILE)
        rest = 1 - weights.sum(axis=0)[: len(rows)]  # what is left of the shares, (u,): one column alone has other bits
        weights = weights[:, : len(rows)]

        def scores(lo: int, hi: int) -> torch.Tensor:
            found = self.system.chosen[lo:hi] @ weights + np.outer(self.system.share[lo:hi], rest)  # (items, u)
            return torch.from_numpy(np.ascontiguousarray(found.T, dtype=np.float32))

        return scores


def conjugate_gradients(apply: Apply, strength: float, right: np.ndarray) -> np.ndarray:
    """Solve `(A + strength) X = right` for each column `(R, n)`, A symmetric and never negative.

    Columns are solved `TOGETHER`, few enough to stay in a processor's cache.

    Raises:
        UsageError: it does not converge.
    """
    parts = [right[:, start : start + TOGETHER] for start in range(0, right.shape[1], TOGETHER)]
    return np.concatenate([_solve(apply, strength, np.ascontiguousarray(part)) for part in parts], axis=1)


def _solve(apply: Apply, strength: float, right: np.ndarray) -> np.ndarray:
    solution, residual, direction = np.zeros_like(right), right.copy(), right.copy()
    squared = _products(residual, residual)
    enough = TOLERANCE**2 * squared
    for _ in range(STEPS):
        if (squared <= enough).all():
            return solution
        applied = apply(direction)
        applied += np.float32(strength) * direction
        step = squared / _positive(_products(direction, applied))
        solution += step * direction
        residual -= np.multiply(step, applied, out=applied)
        before, squared = squared, _products(residual, residual)
        direction *= squared / _positive(before)
        direction += residual
    raise UsageError(f"a ridge of strength {strength} did not converge", "give baseline.strengths above it")


def _products(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return np.einsum("rn,rn->n", left, right)


def _positive(values: np.ndarray) -> np.ndarray:
    return np.where(values > 0, values, 1.0)


def _dense(matrix: Any) -> np.ndarray:
    return matrix.toarray() if sparse.issparse(matrix) else np.array(matrix)
