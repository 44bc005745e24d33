"""Routes: what the cases of a split take of each block's tuned side, and the slices of a result by it."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from userrep.evaluation.results import Result
from userrep.evaluation.slices import Slice, slices
from userrep.methods.route_watch import routes_of
from userrep.methods.routed import routed
from userrep.models.encoder import Encoder
from userrep.objectives.objective import Objective
from userrep.objectives.parts import Parts
from userrep.sequences.protocol import Protocol
from userrep.sequences.store import Prepared

TUNED = "tuned_blocks"
MOST_ALONE = 9  # numbers of tuned blocks that have a slice each


@dataclass(frozen=True)
class Routes:
    """Of N cases, the users' `rows (N,)`, and `(N, A)` what is taken of A tuned sides and the chance of each.

    `told` is what is known of each case `(N,)`, by name: what the objective slices its results by.
    """

    rows: np.ndarray
    route: np.ndarray
    chance: np.ndarray
    told: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def blocks(self) -> int:
        """Number A of blocks."""
        return int(self.route.shape[1])

    @property
    def usage(self) -> np.ndarray:
        """Share of the tuned sides that each case takes, `(N,)`."""
        return np.asarray(self.route.mean(axis=1))

    @property
    def tuned(self) -> np.ndarray:
        """Number of blocks that each case passes by the tuned side `(N,)`: the sum of its shares, rounded."""
        return np.rint(self.route.sum(axis=1)).astype(np.int64)

    @cached_property
    def counts(self) -> dict[str, int]:
        """How many cases take each route that occurs, written as 0110, the most frequent first."""
        patterns, counts = np.unique(self.route > 0.5, axis=0, return_counts=True)
        names = ["".join("01"[taken] for taken in pattern.astype(int)) for pattern in patterns]
        return {names[place]: int(counts[place]) for place in np.argsort(-counts, kind="stable")}


def read_split(encoder: Encoder, objective: Objective, data: Prepared, protocol: Protocol, split: str) -> Routes:
    """Read the routes of the cases of a split, each with the history that it is evaluated on."""
    cases = objective.cases(data, protocol, split)
    route, chance = routes_of(encoder, objective, data, protocol, cases)
    return Routes(cases.rows, route, chance, objective.slice_values(data, protocol, cases))


def tuned_slices(
    result: Result, encoder: Encoder, objective: Objective, data: Prepared, protocol: Protocol, split: str
) -> list[Slice]:
    """Cut the result of a split by how many blocks a case passes by the tuned side: none where nobody chooses.

    The cases of several tasks that are learned together make no slice.
    """
    if routed(encoder) is None or isinstance(objective.leader, Parts):
        return []
    tuned = read_split(encoder, objective, data, protocol, split).tuned
    few = len(np.unique(tuned)) <= MOST_ALONE
    starts = range(int(tuned.min()), int(tuned.max()) + 1) if few else None
    return slices(result, TUNED, tuned, starts=starts)
