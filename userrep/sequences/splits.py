"""The splits of a data set as one table of runs: made, hashed, written and read."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from userrep.sequences.split import (
    ROLES,
    TEST,
    VALID,
    Split,
    by_time,
    chain,
    folds,
    leave_one_out,
    of_events,
    of_users,
    paper,
)

SCHEMA = {
    "split": pl.String,
    "fold": pl.Int32,
    "domain": pl.String,  # null: the split divides users
    "user": pl.String,
    "position": pl.Int64,  # from here on the user's events have this role
    "role": pl.String,
}
Timeline = tuple[np.ndarray, np.ndarray | None]  # offsets (U+1,), times (E,) of one domain


def make_splits(user_ids: list[str], domains: Mapping[str, Timeline], seed: int) -> list[Split]:
    """Make all splits of the protocol: of each domain's events, of the users into folds and 80/5/15."""
    made = []
    for domain, (offsets, times) in domains.items():
        counts = np.diff(offsets)
        ends = {"leave_one_out": leave_one_out(counts), "chain": chain(offsets, times)}
        timed = None if times is None else by_time(offsets, times)
        if timed is not None:
            ends["time"] = timed
        made += [of_events(name, 0, domain, *pair) for name, pair in ends.items()]
    made += [of_users("folds", fold, roles) for fold, roles in enumerate(folds(user_ids, seed))]
    made += [of_users("paper", fold, roles) for fold, roles in enumerate(paper(user_ids, seed))]
    return hashed(made, user_ids)


def hashed(splits: list[Split], user_ids: list[str]) -> list[Split]:
    """Give each split the hash of all folds and domains of its name, and of whom they divide."""
    states = {split.name: hashlib.sha256("\n".join(user_ids).encode()) for split in splits}
    for split in sorted(splits, key=_key):
        states[split.name].update(f"|{split.fold}|{split.domain}|".encode())
        for values in (split.train_end, split.valid_end, split.user_role) if split.domain else (split.user_role,):
            states[split.name].update(values.astype("<i8").tobytes())
    return [replace(split, hash=states[split.name].hexdigest()) for split in splits]


def _key(split: Split) -> tuple[str, int, str]:
    return split.name, split.fold, split.domain or ""


def to_runs(splits: list[Split], user_ids: list[str], domains: Mapping[str, Timeline]) -> pl.DataFrame:
    """Write the splits as rows of SCHEMA, users in row order; who has no events in a domain has no row."""
    users = pl.Series("user", user_ids)
    parts = []
    for split in sorted(splits, key=_key):
        if split.domain is None:
            rows, position, role = (
                np.arange(len(user_ids)),
                np.zeros(len(user_ids), dtype=np.int64),
                split.user_role,
            )
        else:
            rows, position, role = _runs(split, np.diff(domains[split.domain][0]))
        what = {"split": split.name, "fold": split.fold, "domain": split.domain}
        runs = pl.DataFrame({"user": users[rows], "position": position, "role": np.array(ROLES)[role]})
        parts.append(runs.select(*(pl.lit(value, SCHEMA[key]).alias(key) for key, value in what.items()), pl.all()))
    return pl.concat(parts).cast(dict(SCHEMA))  # type: ignore[arg-type]


def _runs(split: Split, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rows, first positions and roles of the runs that are not empty."""
    begins = np.stack([np.zeros_like(counts), split.train_end, split.valid_end], axis=1)
    ends = np.stack([split.train_end, split.valid_end, counts], axis=1)
    rows, role = np.nonzero(ends > begins)
    return rows, begins[rows, role], role


@dataclass(frozen=True)
class Runs:
    """The runs of one fold: user rows, first positions and role codes, each (R,) int64."""

    rows: np.ndarray
    positions: np.ndarray
    roles: np.ndarray


def from_runs(name: str, fold: int, domain: str | None, runs: Runs, counts: np.ndarray) -> Split:
    """Read one fold back from its runs; `counts` (U,) are events a user. No domain: users are divided."""
    if domain is None:
        user_role = np.zeros(len(counts), dtype=np.int8)
        user_role[runs.rows] = runs.roles
        return of_users(name, fold, user_role)
    ends = []
    for first in (VALID, TEST):
        later = runs.roles >= first
        end = counts.copy()
        np.minimum.at(end, runs.rows[later], runs.positions[later])
        ends.append(end)
    return of_events(name, fold, domain, *ends)
