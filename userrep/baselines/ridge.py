"""Ridge regression from what is known of a history to which items are chosen: closed form, in users or in features."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from scipy import linalg, sparse

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
LIMIT = 20_000  # rows of the system that is solved: 8 bytes x LIMIT^2 is 3 GiB, and twice that is held
Features = Callable[[Csr], Any]  # histories in rows to (N, F), dense or sparse


class RidgeRanker(Ranker):
    """Regress each item's being chosen, less its share of the training targets, on features of a history.

    Features are scaled to a mean squared length of one over training cases; `strengths` are candidates for the penalty.
    `kinds` are candidates for the features. The system has as many rows as there are features or training cases,
    whichever are fewer, at most `limit`.
    """

    def __init__(self, kinds: Sequence[Settings], strengths: Sequence[float] = STRENGTHS, limit: int = LIMIT) -> None:
        super().__init__()
        if not strengths or min(strengths) <= 0:
            raise ConfigError(f"the strengths of a ridge are {list(strengths)}", "give one or more above 0")
        self.kinds, self.strengths, self.limit = list(kinds), list(strengths), limit

    @abstractmethod
    def features(self, kind: Settings, data: Prepared, protocol: Protocol, task: Ranking, learned: Csr) -> Features:
        """Return the function that makes the features of a kind; `learned` are the histories of training."""

    def candidates(self) -> list[Settings]:
        return [{**kind, "strength": strength} for kind in self.kinds for strength in self.strengths]

    def learn(self, data: Prepared, protocol: Protocol, task: Ranking, seed: int) -> Score:
        needs_answers("a ridge", task, data, protocol)
        before, answers = task.learned_from(data, protocol)
        sequences = task.inputs(data, protocol)
        chosen = recent_bags(answers, task.targets(data, protocol).vocab_size)  # (N, V)
        made: dict[str, System] = {}  # the last one: each holds a square of LIMIT

        def score(settings: Settings, cases: Cases) -> Scorer:
            kind = {key: value for key, value in settings.items() if key != "strength"}
            if str(kind) not in made:
                made.clear()
                features = self.features(kind, data, protocol, task, before)
                made[str(kind)] = System.of(features, features(before), chosen, self.limit)
            return made[str(kind)].scorer(read_before(sequences, cases), settings["strength"])

        return score


class Ridge(RidgeRanker):
    """Ridge regression on the bag of a history, the newest `protocol.history` events.

    weights   candidates: binary; l2, binary at length one; idf, l2 with rare items heavier
    decays    candidates for the weight of an item, by the event's age: 1 for a plain bag
    """

    def __init__(
        self,
        weights: Sequence[str] = ("binary", "l2", "idf"),
        decays: Sequence[float] = (1.0,),
        strengths: Sequence[float] = STRENGTHS,
        limit: int = LIMIT,
    ) -> None:
        for name in weights:
            if name not in WEIGHTS:
                raise ConfigError(f"unknown weights of a bag: {name!r}", suggest(name, WEIGHTS))
        kinds = [{"weights": name, "decay": decay} for name, decay in product(weights, decays)]
        super().__init__(kinds, strengths, limit)

    def features(self, kind: Settings, data: Prepared, protocol: Protocol, task: Ranking, learned: Csr) -> Features:
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
    """The normal equations: scores are `read(history) (gram + strength)^-1 table`, in training cases or in features."""

    features: Features
    scale: float
    across: sparse.csr_matrix | None  # (F, N): the training features, where the rows R are training cases
    gram: np.ndarray  # (R, R)
    table: sparse.csr_matrix  # (V, R): transposed, so that a tile of items is cut cheaply
    total: np.ndarray  # (R,): the row of `table` that an item chosen by everyone would have
    share: np.ndarray  # (V,): mean of the targets

    @classmethod
    def of(cls, features: Features, learned: Any, chosen: sparse.csr_matrix, limit: int) -> "System":
        """Set up the smaller system; `learned (N, F)` are training features, `chosen (N, V)` what went with them.

        Raises:
            UsageError: it has more than `limit` rows.
        """
        learned, chosen = sparse.csr_matrix(learned), chosen.tocsr()
        rows = min(learned.shape)
        if rows > limit:
            raise UsageError(
                f"this ridge solves for {rows:,} rows at once, which takes {2 * 8 * rows**2 / 2**30:.1f} GiB",
                f"raise baseline.limit ({limit:,}) where there is room, or take item_knn",
            )
        scale = 1 / (np.sqrt(learned.multiply(learned).sum() / max(1, learned.shape[0])) or 1.0)
        learned, share = learned * scale, np.asarray(chosen.mean(axis=0)).ravel()
        if learned.shape[0] <= learned.shape[1]:
            across = learned.T.tocsr()
            return cls(features, scale, across, _dense(learned @ across), chosen.T.tocsr(), np.ones(rows), share)
        total = np.asarray(learned.sum(axis=0)).ravel()
        return cls(features, scale, None, _dense(learned.T @ learned), (chosen.T @ learned).tocsr(), total, share)

    def read(self, events: Csr) -> np.ndarray:
        """Return the left side of histories: `(n, R)`."""
        found = self.features(events)
        return _dense(found if self.across is None else found @ self.across) * self.scale

    def scorer(self, events: Csr, strength: float) -> "Solved":
        """Factorise for a strength; the histories of `events` are read block by block."""
        held = self.gram.copy()
        held.flat[:: len(held) + 1] += strength
        return Solved(self, linalg.cho_factor(held, overwrite_a=True, check_finite=False), events)


class Solved:
    """Score the histories of rows by a factorised system, plus the items' shares."""

    tile = (USER_TILE, 1)  # a triangular solve depends on its shape
    device = torch.device("cpu")

    def __init__(self, system: System, factor: Any, events: Csr) -> None:
        self.system, self.factor, self.events = system, factor, events

    def block(self, rows: np.ndarray) -> Block:
        asked = Csr(self.events.items, self.events.starts[rows], self.events.ends[rows])
        padded = np.zeros((-(-len(rows) // USER_TILE) * USER_TILE, len(self.system.total)))
        padded[: len(rows)] = self.system.read(asked)
        solved = linalg.cho_solve(self.factor, padded.T, check_finite=False)[:, : len(rows)]  # (R, u)
        rest = 1 - self.system.total @ solved  # what is left of the shares, (u,)

        def scores(lo: int, hi: int) -> torch.Tensor:
            found = self.system.table[lo:hi] @ solved + np.outer(self.system.share[lo:hi], rest)  # (items, u)
            return torch.from_numpy(np.ascontiguousarray(found.T, dtype=np.float32))

        return scores


def _dense(matrix: Any) -> np.ndarray:
    return matrix.toarray() if sparse.issparse(matrix) else np.asarray(matrix)
