"""The arrays of a store, joined from shares of its users some users at a time."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from userrep.datasets.ids import alike
from userrep.sequences.build import Domain
from userrep.sequences.growing import GrowingArray
from userrep.sequences.ordering import NO_TIME, shuffle_ties
from userrep.sequences.pieces import release, user_ranges
from userrep.sequences.share import Share
from userrep.sequences.vocab import Vocabulary, before_last_two, ranked


@dataclass(frozen=True)
class Roster:
    """All users in row order: raw ids `names`, the share and the number of events of each `(U,)`."""

    names: pl.Series
    share: np.ndarray
    events: np.ndarray

    @classmethod
    def of(cls, shares: list[Share]) -> "Roster":
        """Merge the users of all shares who have events left."""
        tables = [share.users().with_columns(share=pl.lit(code, pl.UInt16)) for code, share in enumerate(shares)]
        users = pl.concat(alike(tables, ["user"])).filter(pl.col("events") > 0)
        del tables
        by = ["user"] if users.schema["user"].is_integer() else [pl.col("user").str.len_bytes(), "user"]
        users = users.sort(*by)
        names = users["user"].cast(pl.String).rechunk()
        return cls(names, users["share"].to_numpy().copy(), users["events"].to_numpy().astype(np.int64))


@dataclass(frozen=True)
class Events:
    """The events of some users in order, each column (E,): user rows from 0, item codes, domains, times, ratings."""

    users: np.ndarray
    items: np.ndarray
    domains: np.ndarray
    times: np.ndarray
    ratings: np.ndarray

    def shuffled(self, rng: np.random.Generator) -> "Events":
        """Put the events of one user and time into a random order."""
        frame = pl.DataFrame(
            {"user": self.users, "item": self.items, "domain": self.domains, "time": self.times, "rating": self.ratings}
        )
        placed = shuffle_ties(frame, rng)
        return Events(*(placed[name].to_numpy() for name in ("user", "item", "domain", "time", "rating")))


def merged_events(shares: list[Share], roster: Roster, most: int) -> Iterator[tuple[int, int, Events]]:
    """Yield user rows [begin, end) and their events, about `most` together, all users after the other."""
    offsets = np.concatenate([[0], np.cumsum(roster.events)])
    read = np.zeros(len(shares), dtype=np.int64)  # events of each share that came already
    for begin, end in user_ranges(offsets, most):
        owner, counts = roster.share[begin:end], roster.events[begin:end]
        taken = np.bincount(owner, weights=counts, minlength=len(shares)).astype(np.int64)
        grouped = np.argsort(owner, kind="stable")  # the users, share by share: so the events lie when read
        starts = np.empty(end - begin, dtype=np.int64)
        starts[grouped] = np.cumsum(counts[grouped]) - counts[grouped]
        index = np.arange(int(counts.sum())) + np.repeat(starts - (offsets[begin:end] - offsets[begin]), counts)
        columns = [
            np.concatenate([_read(share, name, *place) for share, *place in zip(shares, read, taken, strict=True)])
            for name in ("code", "domain", "time", "rating")
        ]
        read += taken
        yield begin, end, Events(np.repeat(np.arange(end - begin), counts), *(column[index] for column in columns))


def _read(share: Share, column: str, begin: int, count: int) -> np.ndarray:
    if share.has(column):
        return share.read(column, begin, count)
    missing = NO_TIME if column == "time" else np.nan
    return np.full(count, missing, dtype=np.int64 if column == "time" else np.float32)


class _Growing:
    """The arrays of one domain while they are written."""

    def __init__(self, folder: Path, users: int, items: int, *, placed: bool) -> None:
        folder.mkdir(parents=True)
        self.folder, self.placed = folder, placed
        kinds = {"items": "<i4", "times": "<i8", "ratings": "<f4", "order": "<i4"}
        self.arrays = {name: GrowingArray(folder / f"{name}.npy", kind) for name, kind in kinds.items()}
        self.offsets = np.zeros(users + 1, dtype=np.int64)
        self.counts, self.occurs = np.zeros(items, dtype=np.int64), np.zeros(items, dtype=bool)
        self.known = {"times": False, "ratings": False}

    def append(self, begin: int, end: int, events: Events, mine: np.ndarray, places: np.ndarray) -> None:
        """Add the events of the user rows [begin, end) that `mine` (E,) marks."""
        counts = np.bincount(events.users[mine], minlength=end - begin)
        self.offsets[begin + 1 : end + 1] = counts
        items, times, ratings = events.items[mine], events.times[mine], events.ratings[mine]
        trained = items[before_last_two(np.concatenate([[0], np.cumsum(counts)]))]
        self.counts += np.bincount(trained, minlength=len(self.counts))
        self.occurs[items] = True
        self.known["times"] |= bool((times != NO_TIME).any())
        self.known["ratings"] |= not bool(np.isnan(ratings).all())
        columns = {"items": items, "times": times, "ratings": ratings, "order": places[mine]}
        for name, values in columns.items():
            if name != "order" or self.placed:
                self.arrays[name].append(values)

    def close(self, name: str, item_ids: pl.Series) -> Domain:
        """Number the items, complete the files, drop those that hold nothing, and map the others into memory."""
        np.cumsum(self.offsets, out=self.offsets)
        np.save(self.folder / "offsets.npy", self.offsets)
        codes = np.flatnonzero(self.occurs)
        ids, order, counts = ranked(self.counts[codes])
        by_code = np.zeros(len(self.occurs), dtype=np.int32)
        by_code[codes] = ids
        self.arrays["items"].replace(lambda values: by_code[values])
        empty = self.offsets[-1] == 0
        kept = {"items": True, **self.known, "order": self.placed or bool(empty)}
        arrays = {kind: array.close(keep=kept[kind]) for kind, array in self.arrays.items()}
        vocabulary = Vocabulary(item_ids[codes[order]].to_list(), counts)
        items, times, ratings, placed = (arrays[kind] for kind in ("items", "times", "ratings", "order"))
        assert items is not None
        return Domain(name, items, self.offsets, times, ratings, placed, vocabulary)


@dataclass(frozen=True)
class Joining:
    """What is joined how: names of the `domains`, raw ids of all items, whether the order across domains is known
    (`placed`), what orders ties at random, and how many events are in memory at a time (`most`).
    """

    domains: list[str]
    item_ids: pl.Series
    placed: bool
    shuffle: np.random.Generator | None
    most: int


def write_domains(
    folder: Path, shares: list[Share], roster: Roster, how: Joining, tell: Callable[[int], None]
) -> list[Domain]:
    """Write the arrays of all domains below `folder`, and return them mapped into memory.

    `tell` is called with the events that are done.
    """
    users, item_ids, domains = len(roster.names), how.item_ids, how.domains
    growing = [_Growing(folder / "domains" / name, users, len(item_ids), placed=how.placed) for name in domains]
    for begin, end, events in merged_events(shares, roster, how.most):
        some = events.shuffled(how.shuffle) if how.shuffle is not None else events
        counts = np.bincount(some.users, minlength=end - begin)
        places = np.arange(len(some.users)) - np.repeat(np.cumsum(counts) - counts, counts)
        for code, each in enumerate(growing):
            each.append(begin, end, some, some.domains == code, places)
        tell(len(some.users))
    written = [domain.close(name, item_ids) for name, domain in zip(domains, growing, strict=True)]
    for domain in written:
        release(domain.items)
    return written
