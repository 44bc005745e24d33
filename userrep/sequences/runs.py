"""Runs of events of one role: a fold of a split, as it is read back from splits.parquet."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from userrep.sequences.pieces import PIECE
from userrep.sequences.split import ROLES, TEST, VALID, Split, of_events, of_users


@dataclass(frozen=True)
class Runs:
    """Some runs of one fold: user rows, first positions and role codes, each (R,)."""

    rows: np.ndarray
    positions: np.ndarray
    roles: np.ndarray


def from_runs(name: str, fold: int, domain: str | None, runs: Iterable[Runs], counts: np.ndarray) -> Split:
    """Read one fold back from its runs; `counts` (U,) are events a user. No domain: users are divided."""
    if domain is None:
        user_role = np.zeros(len(counts), dtype=np.int8)
        for batch in runs:
            user_role[batch.rows] = batch.roles
        return of_users(name, fold, user_role)
    ends = {VALID: counts.copy(), TEST: counts.copy()}
    for batch in runs:
        for first, end in ends.items():
            later = batch.roles >= first
            np.minimum.at(end, batch.rows[later], batch.positions[later])
    return of_events(name, fold, domain, *ends.values())


def read_runs(
    path: Path, name: str, fold: int, domain: str | None, user_ids: pl.Series, counts: np.ndarray
) -> Iterator[Runs]:
    """Read the runs of one fold in order of user and position; `counts` (U,) are events a user in the domain."""
    chosen = (pl.col("split") == name) & (pl.col("fold") == fold) & pl.col("domain").eq_missing(domain)
    table = pl.scan_parquet(path).filter(chosen)
    rows = _rows_in_order(table, user_ids, np.arange(len(counts)) if domain is None else np.flatnonzero(counts))
    if rows is None:
        yield _sorted(table, user_ids)
        return
    at = 0
    for batch in table.select("position", _role_code()).collect_batches(chunk_size=PIECE):
        yield Runs(rows[at : at + len(batch)], batch["position"].to_numpy(), batch["role"].to_numpy())
        at += len(batch)


def _role_code() -> pl.Expr:
    return pl.col("role").cast(pl.Enum(ROLES)).to_physical().cast(pl.Int64)


def _rows_in_order(table: pl.LazyFrame, user_ids: pl.Series, due: np.ndarray) -> np.ndarray | None:
    """Return the user row of each run, where the users come as in `due` (as preparing writes them); else None."""
    found, known, last = [np.zeros(0, dtype=np.int32)], 0, None
    for batch in table.select("user").collect_batches(chunk_size=PIECE):
        users = batch["user"]
        if users.is_empty():
            continue
        begins = np.append(users[0] != last, (users[1:] != users[:-1]).to_numpy())
        place = known - 1 + np.cumsum(begins)
        if place[-1] >= len(due) or not (user_ids.gather(due[place]) == users).all():
            return None
        found.append(due[place].astype(np.int32))
        known, last = int(place[-1]) + 1, users[-1]
    return np.concatenate(found)


def _sorted(table: pl.LazyFrame, user_ids: pl.Series) -> Runs:
    """Read runs that some other program wrote, in any order."""
    users = user_ids.to_frame("user").with_row_index("row").lazy()
    found = table.join(users, on="user").select("row", "position", _role_code()).collect()
    found = found.sort("row", "position", maintain_order=True)
    return Runs(*(found[column].to_numpy() for column in ("row", "position", "role")))


@dataclass
class Repeats:
    """What comes twice in a fold: `runs` that begin where another of their user does, `users` with two roles.

    seen says whether there is any run.
    """

    runs: int = 0
    users: int = 0
    seen: bool = False

    def watch(self, batches: Iterable[Runs]) -> Iterator[Runs]:
        """Count in batches of runs that are in order of user and position, and pass them on."""
        before, alike, torn = (-1, -1, -1), False, -1
        for batch in batches:
            yield batch
            if not len(batch.rows):
                continue
            self.seen = True
            values = (batch.rows, batch.positions, batch.roles)
            row, position, role = (np.append(one, rest) for one, rest in zip(before, values, strict=True))
            same = row[1:] == row[:-1]
            again = same & (position[1:] == position[:-1])
            self.runs += int(np.sum(again)) + int(np.sum(again & ~np.append(alike, again[:-1])))  # the first ones too
            users = np.append(torn, row[1:][same & (role[1:] != role[:-1])])
            self.users += int(np.sum(users[1:] != users[:-1]))
            before, alike, torn = (int(row[-1]), int(position[-1]), int(role[-1])), bool(again[-1]), int(users[-1])
