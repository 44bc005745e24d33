"""Probe users: logistic regression on vectors of all users that were made once, whatever is asked of them."""

from collections.abc import Sequence

import numpy as np

from userrep.baselines.bag import standardiser
from userrep.baselines.probe import STRENGTHS, Features, Probe
from userrep.sequences.protocol import Protocol, seen_users
from userrep.sequences.store import Prepared


class ProbeUsers(Probe):
    """What `ProbeEncoder` is for one label, for any, on `vectors (U, W)` of the users' whole histories."""

    def __init__(self, vectors: np.ndarray, strengths: Sequence[float] = STRENGTHS) -> None:
        super().__init__(("states",), strengths)
        self.vectors = vectors

    def features(self, kind: str, data: Prepared, protocol: Protocol, ends: np.ndarray, seed: int) -> Features:
        standardise = standardiser(self.vectors[seen_users(data, protocol)])
        return lambda cases: standardise(self.vectors[cases.rows])
