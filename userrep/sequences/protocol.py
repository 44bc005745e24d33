"""The protocol: everything that must agree before two numbers may be compared."""

from dataclasses import asdict, dataclass

import numpy as np

from userrep.build import Component
from userrep.errors import ConfigError, DataError, suggest
from userrep.files import digest
from userrep.sequences.overlap import only_in
from userrep.sequences.split import ROLES
from userrep.sequences.store import Prepared

READOUTS = ("last", "token", "mean", "items", "attention")  # parts of a user vector: models.readout
PRETRAIN_USERS = ("train", "all", "source_only")


@dataclass(frozen=True)
class Protocol(Component):
    """How users and events are divided, what a history is, and how a user vector is read.

    events          split of each user's events: leave_one_out, chain, time, or an imported one
    users           split of the users for tasks with labels: folds (five) or paper (80/5/15)
    fold            which fold of `users` is the test part
    history         longest input history, in events
    readout         last, token, mean, items, attention, or several joined by '+'
    pretrain_users  train: a base never sees validation or test users of the fold; all: the papers' transductive way;
                    source_only: those whom no task knows, with events in the source domain alone and no label
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
        readout_parts(self.readout)
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


def readout_parts(spec: str) -> tuple[str, ...]:
    """Return the parts that a readout such as `mean+items` joins; ConfigError for one that there is not."""
    parts = tuple(part.strip() for part in spec.split("+"))
    unknown = [part for part in parts if part not in READOUTS]
    if unknown:
        raise ConfigError(
            f"readout '{spec}' has an unknown part '{unknown[0]}'", f"join any of {', '.join(READOUTS)} with '+'"
        )
    return parts


def check_kinds(data: Prepared, protocol: Protocol) -> None:
    """Raise ConfigError where `events` names a split of users, or `users` one of events, or either none."""
    kinds = {entry["name"]: entry["kind"] for entry in data.meta["splits"]}
    for part in ("events", "users"):
        name, fitting = getattr(protocol, part), [name for name, kind in kinds.items() if kind == part]
        if name not in fitting:
            what = f"no split of {part}" if name in kinds else "no split"
            raise ConfigError(f"protocol.{part} is '{name}', {what} of {data.name}", suggest(name, fitting))


def seen_users(data: Prepared, protocol: Protocol) -> np.ndarray:
    """Mask the users `(U,)` whose events may be learned from: all, the fold's training users, or who is in no task.

    Raises DataError where `source_only` leaves nobody.
    """
    if protocol.pretrain_users == "all":
        return np.ones(data.num_users, dtype=bool)
    if protocol.pretrain_users == "source_only":
        return _in_no_task(data, protocol.source or data.main)
    return data.split(protocol.users, protocol.fold).user_role == ROLES.index("train")


def _in_no_task(data: Prepared, source: str) -> np.ndarray:
    """Mask the users of the source domain who can be in no other task: the base then serves all folds."""
    alone = only_in(data, source)
    for label in data.meta["labels"]:
        alone &= data.labels(label["name"]) < 0
    if not alone.any():
        raise DataError(
            f"no user of {data.name} has events in {source} alone and no label: source_only leaves nobody",
            "set protocol.pretrain_users=train, and pre-train once for each fold",
        )
    return alone
