"""The splits of a data set as one table of runs: made, hashed, written and read."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from polars.io.plugins import register_io_source

from userrep.sequences.pieces import PIECE, pieces, texts_of
from userrep.sequences.split import ROLES, Split, by_time, chain, folds, leave_one_out, of_events, of_users, paper

ROW_GROUP = 1 << 18  # rows of splits.parquet that are skipped together

SCHEMA = {
    "split": pl.String,
    "fold": pl.Int32,
    "domain": pl.String,  # null: the split divides users
    "user": pl.String,
    "position": pl.Int64,  # from here on the user's events have this role
    "role": pl.String,
}
Timeline = tuple[np.ndarray, np.ndarray | None]  # offsets (U+1,), times (E,) of one domain


Users = Sequence[str] | pl.Series  # raw ids in row order


def make_splits(user_ids: Users, domains: Mapping[str, Timeline], seed: int) -> list[Split]:
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


def hashed(splits: list[Split], user_ids: Users) -> list[Split]:
    """Give each split the hash of all folds and domains of its name, and of whom they divide."""
    users = hashlib.sha256()
    for number, texts in enumerate(texts_of(user_ids)):
        users.update(("\n" * bool(number) + "\n".join(texts)).encode())
    states = {split.name: users.copy() for split in splits}
    for split in sorted(splits, key=_key):
        states[split.name].update(f"|{split.fold}|{split.domain}|".encode())
        for values in (split.train_end, split.valid_end, split.user_role) if split.domain else (split.user_role,):
            for some in pieces(values):
                states[split.name].update(some.astype("<i8").tobytes())
    return [replace(split, hash=states[split.name].hexdigest()) for split in splits]


def _key(split: Split) -> tuple[str, int, str]:
    return split.name, split.fold, split.domain or ""


def write_runs(path: Path, splits: list[Split], user_ids: pl.Series, offsets: Mapping[str, np.ndarray]) -> None:
    """Write the splits as rows of SCHEMA, users in row order; who has no events in a domain has no row.

    `offsets` (U+1,) are those of each domain. Rows are made some users at a time: there are a dozen a user.
    """

    def batches(*_: object) -> Iterator[pl.DataFrame]:
        for split in sorted(splits, key=_key):
            for begin in range(0, len(user_ids), PIECE // 4):
                yield _runs(split, user_ids, offsets, slice(begin, begin + PIECE // 4))

    table = register_io_source(batches, schema=dict(SCHEMA))
    table.sink_parquet(path, row_group_size=ROW_GROUP, maintain_order=True)


def _runs(split: Split, user_ids: pl.Series, offsets: Mapping[str, np.ndarray], some: slice) -> pl.DataFrame:
    """Return the runs of some users that are not empty."""
    users, trained, role = user_ids[some], split.train_end[some], split.user_role[some]
    if split.domain is None:
        rows, position = np.arange(len(users)), np.zeros(len(users), dtype=np.int64)
    else:
        counts = np.diff(offsets[split.domain][some.start : some.stop + 1])
        begins = np.stack([np.zeros_like(counts), trained, split.valid_end[some]], axis=1)
        ends = np.stack([trained, split.valid_end[some], counts], axis=1)
        rows, role = np.nonzero(ends > begins)
        position = begins[rows, role]
    roles = pl.Series(ROLES)[role.astype(np.uint32)]
    what = {"split": split.name, "fold": split.fold, "domain": split.domain}
    runs = pl.DataFrame({"user": users[rows], "position": position, "role": roles})
    return runs.select(*(pl.lit(value, SCHEMA[key]).alias(key) for key, value in what.items()), pl.all()).cast(
        dict(SCHEMA)  # type: ignore[arg-type]
    )
