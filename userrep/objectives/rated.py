"""Rated: rank what a user will rate high, within one domain; users or events are divided into roles."""

from typing import Any, ClassVar

import numpy as np

from userrep.errors import ConfigError
from userrep.objectives.objective import ROLES
from userrep.objectives.target_items import TargetCases, TargetItems, choose
from userrep.sequences.protocol import Protocol
from userrep.sequences.store import Prepared, Sequences

NAMES = {4.0: "liked", 5.0: "loved"}
BY = ("users", "events")


class Rated(TargetItems):
    """Events that were rated `min_rating` or more are asked for, by a history of the same domain.

    by      users: events after the first cut of `protocol.events`, by all before that cut; the user's role is theirs.
            events: all events, each by all before it; those before the first cut train, between the cuts validate,
            after the second test, of every user. This is the one split that all tasks of a chain share
    which   with by=events: first, a user's first target of each role
    recent  with by=events: so many training targets of a user, the newest; None for all

    The base must have been pre-trained with the same `protocol.events`, so that it has seen no event after the cut.
    """

    USUAL: ClassVar[dict[str, Any]] = TargetItems.USUAL | {"which": "all", "by": "users"}

    def __init__(
        self, min_rating: float = 4.0, by: str = "users", recent: int | None = None, pairs: bool = False, **own: Any
    ) -> None:
        choose("by", by, BY)
        if pairs and by == "events":
            raise ConfigError("task.pairs divides targets at random, task.by=events at the cuts", "choose one of them")
        if recent is not None and (by == "users" or recent < 1):
            raise ConfigError(
                f"task.recent is {recent} with task.by={by}", "give a number of at least 1 with task.by=events, or null"
            )
        super().__init__(min_rating=min_rating, pairs=pairs, **own)
        self.by, self.recent = by, recent

    @property
    def splits(self) -> tuple[str, ...]:
        return ("events",) if self.by == "events" else ("events", *super().splits)

    @property
    def kind_of_task(self) -> str:
        assert self.min_rating is not None
        return NAMES.get(self.min_rating, f"rated_{self.min_rating:g}")

    def collect(self, data: Prepared, protocol: Protocol) -> tuple[TargetCases, str]:
        sequences = self.inputs(data, protocol)
        find = self._at_their_places if self.by == "events" else self._after_the_cut
        chosen, lengths, missing = find(sequences, data, protocol)
        rows = sequences.owners()[chosen]
        items = np.asarray(sequences.items[chosen], dtype=np.int64)
        return TargetCases(rows, sequences.offsets[rows] + lengths, items, chosen), missing

    def roles(self, data: Prepared, protocol: Protocol, cases: TargetCases) -> np.ndarray:
        if self.by == "users":
            return super().roles(data, protocol, cases)
        return self._role_of(cases.met - self.inputs(data, protocol).offsets[cases.rows], cases.rows, data, protocol)

    def sampled_from(self, found: TargetCases, of_role: TargetCases) -> np.ndarray:
        return np.unique(found.rows) if self.by == "events" else super().sampled_from(found, of_role)

    def _after_the_cut(
        self, sequences: Sequences, data: Prepared, protocol: Protocol
    ) -> tuple[np.ndarray, np.ndarray, str]:
        """Return the targets (N,) of events, the lengths (N,) of their histories, and who was left out."""
        owners, cut = sequences.owners(), data.split(protocol.events, domain=protocol.source).train_end
        places = np.arange(len(owners)) - sequences.offsets[owners]
        after = (places >= cut[owners]) & self.rated_enough(sequences.ratings, sequences.name)
        asked = self.first_of_each(owners, after)
        chosen = np.flatnonzero(asked & (cut[owners] >= self.min_history))
        missing = int(asked.sum()) - len(chosen)
        told = f"left out: {missing:,} targets of users with fewer than {self.min_history} events before the cut"
        return chosen, cut[owners[chosen]], told if missing else ""

    def _at_their_places(
        self, sequences: Sequences, data: Prepared, protocol: Protocol
    ) -> tuple[np.ndarray, np.ndarray, str]:
        """Return the targets (N,) of events, the lengths (N,) of their histories, and who was left out."""
        owners = sequences.owners()
        places = np.arange(len(owners)) - sequences.offsets[owners]
        high = np.ones(len(owners), dtype=bool) & self.rated_enough(sequences.ratings, sequences.name)
        role = self._role_of(places, owners, data, protocol)
        asked = self.first_of_each(owners * len(ROLES) + role, high & (places >= self.min_history))
        chosen = np.flatnonzero(asked)
        if self.recent is not None:
            newest = _from_the_end(owners[chosen], role[chosen]) < self.recent
            chosen = chosen[(role[chosen] != ROLES["train"]) | newest]
        missing = int((high & (places < self.min_history)).sum())
        least = "no event" if self.min_history == 1 else f"fewer than {self.min_history} events"
        told = f"left out: {missing:,} targets with {least} before them"
        return chosen, places[chosen], told if missing else ""

    def _role_of(self, places: np.ndarray, rows: np.ndarray, data: Prepared, protocol: Protocol) -> np.ndarray:
        """Return the role code of events (N,) at `places` within their users' events."""
        split = data.split(protocol.events, domain=protocol.source)
        return (places >= split.train_end[rows]).astype(np.int8) + (places >= split.valid_end[rows])


def _from_the_end(owners: np.ndarray, role: np.ndarray) -> np.ndarray:
    """Count for each event (N,), in order, how many of the same owner and role come after it."""
    key = owners * len(ROLES) + role
    return np.searchsorted(key, key, side="right") - 1 - np.arange(len(key))
