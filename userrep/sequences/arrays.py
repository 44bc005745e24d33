"""Flat arrays of events: those of one domain, or of two domains as one history a user."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from userrep.sequences.pieces import PIECE, release, user_ranges
from userrep.sequences.vocab import RESERVED

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Sequences:
    """All users' events of one domain, oldest first: those of user row u are [offsets[u], offsets[u + 1])."""

    items: np.ndarray  # (E,) int32 vocabulary ids, memory-mapped
    offsets: np.ndarray  # (U+1,) int64
    times: np.ndarray | None  # (E,) int64 seconds
    ratings: np.ndarray | None  # (E,) float32, NaN where missing
    vocab_size: int  # items + RESERVED
    folder: Path
    order: np.ndarray | None = None  # (E,) int32 place in the user's history over all domains, if there are several

    @property
    def name(self) -> str:
        """The domain, or two of them joined by '+'."""
        return self.folder.name

    @cached_property
    def _table(self) -> "pl.DataFrame":
        import polars as pl  # nothing that trains asks for raw items

        return pl.read_parquet(self.folder / "items.parquet")

    @cached_property
    def item_ids(self) -> list[str]:
        """Raw ids in vocabulary order: that of id v is `item_ids[v - RESERVED]`."""
        return self._table["item"].to_list()

    @property
    def counts(self) -> np.ndarray:
        """Events of each item before its users' last two, (items,) int64: what orders the vocabulary."""
        return self._table["count"].to_numpy()

    @cached_property
    def texts(self) -> list[str | None]:
        """Titles in vocabulary order, None where there is none."""
        return self._table["text"].to_list()

    def owners(self) -> np.ndarray:
        """Return the user row of each event, (E,) int64."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))

    def between(self, begin: int, end: int) -> "Sequences":
        """Return the events of the user rows [begin, end), copied into memory, as those of users 0, 1, 2 ..."""
        first, last = self.offsets[begin], self.offsets[end]
        items, *others = (_copied(each, first, last) for each in (self.items, self.times, self.ratings, self.order))
        assert items is not None
        times, ratings, order = others
        offsets = self.offsets[begin : end + 1] - first
        return replace(self, items=items, offsets=offsets, times=times, ratings=ratings, order=order)

    def by_users(self, most: int = PIECE) -> Iterator["Sequences"]:
        """Yield the events of some users after the other, at most `most` events together or one user's."""
        for begin, end in user_ranges(self.offsets, most):
            yield self.between(begin, end)


def _copied(values: np.ndarray | None, first: int, last: int) -> np.ndarray | None:
    """Copy a piece of a mapped array, and give its pages back."""
    piece = None if values is None else np.array(values[first:last])
    release(values)
    return piece


@dataclass(frozen=True)
class Merged(Sequences):
    """Two domains in one order; the ids of the second's items follow those of the first."""

    parts: tuple[Sequences, ...] = ()

    @cached_property
    def _table(self) -> "pl.DataFrame":
        import polars as pl

        return pl.concat([part._table for part in self.parts])


def merge(source: Sequences, target: Sequences, folder: Path) -> Merged:
    """Merge two domains whose `order` is known; `folder` names the outcome and need not exist."""
    assert source.order is not None
    assert target.order is not None
    shift = source.vocab_size - RESERVED
    items = np.concatenate([source.items, target.items + shift]).astype(np.int32)
    owners = np.concatenate([source.owners(), target.owners()])
    order = np.lexsort((np.concatenate([source.order, target.order]), owners))
    times = None
    if source.times is not None and target.times is not None:
        times = np.concatenate([source.times, target.times])[order]
    offsets = source.offsets + target.offsets
    return Merged(items[order], offsets, times, None, target.vocab_size + shift, folder, parts=(source, target))
