"""The protocol: everything that must agree before two numbers may be compared."""

from dataclasses import asdict, dataclass

import numpy as np

from userrep.build import Component
from userrep.errors import ConfigError
from userrep.files import digest
from userrep.sequences.split import ROLES
from userrep.sequences.store import Prepared

PRETRAIN_USERS = ("train", "all")


@dataclass(frozen=True)
class Protocol(Component):
    """How users and events are divided, what a history is, and how a user vector is read.

    events          split of each user's events: leave_one_out, chain, time, or an imported one
    users           split of the users for tasks with labels: folds (five) or paper (80/5/15)
    fold            which fold of `users` is the test part
    history         longest input history, in events
    readout         last, token, mean, items, attention, or several joined by '+'
    pretrain_users  train: a base never sees validation or test users of the fold; all: the papers' transductive way
    source          the domain that encoders read; null for the data set's main one
    """

    events: str = "leave_one_out"
    users: str = "folds"
    fold: int = 0
    history: int = 200
    readout: str = "mean"
    pretrain_users: str = "train"
    source: str | None = None

    def __post_init__(self) -> None:
        if self.history < 1:
            raise ConfigError(f"protocol.history is {self.history}", "give a number of events of at least 1")
        if self.pretrain_users not in PRETRAIN_USERS:
            raise ConfigError(
                f"protocol.pretrain_users is '{self.pretrain_users}'", f"choose from {', '.join(PRETRAIN_USERS)}"
            )

    def fold_of(self, part: str) -> int:
        """Return the fold of `events` or `users`: users are divided in folds, events are cut in one way."""
        return self.fold if part == "users" else 0

    def hash(self, data_hash: str, split_hash: str, task: str) -> str:
        """Name the conditions of a result; only the fold may differ between numbers that are compared."""
        shared = {key: value for key, value in asdict(self).items() if key != "fold"}
        if self.source is None:  # the conditions of data of one domain keep the name that they had
            del shared["source"]
        return digest({"protocol": shared, "data": data_hash, "split": split_hash, "task": task})[:12]


def seen_users(data: Prepared, protocol: Protocol) -> np.ndarray:
    """Mask the users `(U,)` whose events may be learned from: all, or the training users of the protocol's fold."""
    if protocol.pretrain_users == "all":
        return np.ones(data.num_users, dtype=bool)
    return data.split(protocol.users, protocol.fold).user_role == ROLES.index("train")
