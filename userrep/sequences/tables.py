"""Users, labels and splits of a prepared folder read from its tables."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

from userrep.sequences.pieces import texts_of
from userrep.sequences.runs import Runs, from_runs, read_runs
from userrep.sequences.split import Split


class Tables:
    """The tables of a prepared folder, read as far as they are asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @cached_property
    def _users(self) -> pl.DataFrame:
        return pl.read_parquet(self._path / "users.parquet")

    def ids(self) -> list[str]:
        """Return the raw ids of the users in row order."""
        return self._users["user"].to_list()

    def labels(self, name: str, place: int, classes: Sequence[str]) -> np.ndarray:
        """Return the class codes `(U,)` int64 of a label, -1 where unknown; `place` is its number among the labels."""
        coded = self._users[name].cast(pl.Enum(classes)).to_physical()
        return coded.cast(pl.Int64).fill_null(-1).to_numpy().copy()

    def texts(self) -> Iterator[Sequence[str]]:
        """Yield the raw ids of some users at a time."""
        return texts_of(self._users["user"])

    def split(self, name: str, fold: int, domain: str | None, counts: np.ndarray) -> Split:
        """Return a fold of a split without its hash; no domain: users are divided. `counts` (U,) are events a user."""
        return from_runs(name, fold, domain, self.runs(name, fold, domain, counts), counts)

    def runs(self, name: str, fold: int, domain: str | None, counts: np.ndarray) -> Iterator[Runs]:
        """Yield the runs of a fold in order of user and position."""
        return read_runs(self._path / "splits.parquet", name, fold, domain, self._users["user"], counts)
