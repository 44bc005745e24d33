"""Routes: what the cases of a split take of each block's tuned side."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from userrep.methods.route_watch import routes_of
from userrep.models.encoder import Encoder
from userrep.objectives.objective import Objective
from userrep.sequences.protocol import Protocol
from userrep.sequences.store import Prepared


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
