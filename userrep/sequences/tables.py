"""Users, labels and splits of a prepared folder read from its tables."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

from userrep.sequences.split import ROLES, Split
from userrep.sequences.splits import Runs, from_runs


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

    def split(self, name: str, fold: int, domain: str | None, counts: np.ndarray) -> Split:
        """Return a fold of a split without its hash; no domain: users are divided. `counts` (U,) are events a user."""
        table = pl.scan_parquet(self._path / "splits.parquet")
        chosen = (pl.col("split") == name) & (pl.col("fold") == fold) & pl.col("domain").eq_missing(domain)
        users = self._users.select("user", row=pl.int_range(pl.len())).lazy()
        role = pl.col("role").cast(pl.Enum(ROLES)).to_physical().cast(pl.Int64)
        found = table.filter(chosen).join(users, on="user").select("row", "position", role).collect()
        runs = Runs(*(found[column].to_numpy() for column in ("row", "position", "role")))
        return from_runs(name, fold, domain, runs, counts)
