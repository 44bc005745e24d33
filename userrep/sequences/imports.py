"""Splits that come from a file, checked row by row against the data set they are to divide."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl

from userrep.errors import DataError
from userrep.sequences.runs import Runs, from_runs
from userrep.sequences.split import ROLES, Split
from userrep.sequences.splits import SCHEMA, Timeline, hashed

REQUIRED = ("split", "fold", "user", "position", "role")
FORMAT_HINT = "see the splits.parquet of a prepared data set, and docs/data.md"


def import_splits(path: Path, user_ids: pl.Series, domains: Mapping[str, Timeline]) -> list[Split]:
    """Read the splits in a .parquet or .csv file of SCHEMA.

    Where the column `domain` is missing, a split in which every user has one row divides the users, and any
    other the events of the first domain.

    Raises:
        DataError: the file cannot be read, or a row names an unknown user, role or domain, or leaves a gap.
    """
    table = _read(path)
    _check_values(table, path, user_ids, domains)
    rows = user_ids.to_frame("user").with_row_index("row")
    coded = table.join(rows, on="user", how="left", maintain_order="left").with_columns(
        code=pl.col("role").cast(pl.Enum(ROLES)).to_physical().cast(pl.Int64),
        row=pl.col("row").cast(pl.Int64),
    )
    if "domain" not in table.columns:
        coded = _with_domain(coded, next(iter(domains)))
    splits = []
    main = next(iter(domains))
    for key, part in coded.group_by("split", "fold", "domain", maintain_order=True):
        counts = np.diff(domains[key[2] or main][0])
        splits.append(_one(key, part, path, user_ids, counts))
    _check_folds(splits, path)
    return hashed(splits, user_ids)


def join_splits(built: list[Split], imported: list[Split], path: Path) -> list[Split]:
    """Add imported splits to the built ones; one that has the name of a built one must be equal to it."""
    hashes = {split.name: split.hash for split in built}
    for split in imported:
        if hashes.get(split.name, split.hash) != split.hash:
            raise DataError(
                f"{path}: split {split.name!r} differs from the one userrep makes",
                "give it a name of its own",
            )
    return built + [split for split in imported if split.name not in hashes]


def _read(path: Path) -> pl.DataFrame:
    try:
        if path.suffix == ".csv":
            table = pl.read_csv(path, infer_schema=False)
        else:
            table = pl.read_parquet(path)
    except FileNotFoundError as error:
        raise DataError(f"there is no split file {path}", "check the path") from error
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"cannot read the split file {path}: {str(error).splitlines()[0]}", FORMAT_HINT) from error
    for column in REQUIRED:
        if column not in table.columns:
            raise DataError(f"{path} has no column {column!r}; it has {', '.join(table.columns)}", FORMAT_HINT)
    return _typed(table.select(column for column in SCHEMA if column in table.columns), path)


def _typed(table: pl.DataFrame, path: Path) -> pl.DataFrame:
    for column in table.columns:
        typed = table[column].cast(SCHEMA[column], strict=False)
        empty = typed.is_null() & (table[column].is_not_null() if column == "domain" else True)
        if empty.any():
            row = empty.arg_true()[0]
            raise DataError(f"{path}, row {row + 1}: {column} is {table[column][row]!r}", FORMAT_HINT)
        table = table.with_columns(typed)
    if table.is_empty():
        raise DataError(f"{path} has no rows", FORMAT_HINT)
    return table


def _check_values(table: pl.DataFrame, path: Path, user_ids: pl.Series, domains: Mapping[str, Timeline]) -> None:
    _refuse(table, ~pl.col("role").is_in(ROLES), path, "role", f"roles are {', '.join(ROLES)}")
    _refuse(
        table,
        ~pl.col("user").is_in(user_ids.implode()),
        path,
        "user",
        "remove users that the prepared data set does not have",
    )
    _refuse(table, pl.col("position") < 0, path, "position", "positions count a user's events from 0")
    if "domain" in table.columns:
        known = ", ".join(domains)
        _refuse(
            table,
            ~pl.col("domain").is_in(list(domains)),
            path,
            "domain",
            f"domains are {known}, or empty for users",
        )


def _refuse(table: pl.DataFrame, wrong: pl.Expr, path: Path, column: str, hint: str) -> None:
    row = table.select(wrong.fill_null(False).arg_true()).to_series()
    if len(row):
        value = table[column][row[0]]
        raise DataError(f"{path}, row {row[0] + 1}: unknown {column} {value!r}", hint)


def _with_domain(coded: pl.DataFrame, main: str) -> pl.DataFrame:
    single = (pl.len().over("split", "fold", "user") == 1).all().over("split") & (pl.col("position") == 0).all().over(
        "split"
    )
    return coded.with_columns(domain=pl.when(single).then(None).otherwise(pl.lit(main)))


def _one(
    key: tuple[str, int, str | None], table: pl.DataFrame, path: Path, user_ids: pl.Series, counts: np.ndarray
) -> Split:
    """Check that the runs of one fold cover every user from the first event, in the order of the roles."""
    name, fold, domain = key
    table = table.sort("row", "position", maintain_order=True)
    row, position, role = (table[column].to_numpy() for column in ("row", "position", "code"))
    again = np.append(False, row[1:] == row[:-1])  # a further run of the same user
    due = np.ones(len(user_ids), dtype=bool) if domain is None else counts > 0
    faults = {
        "does not begin at position 0": row[~again & (position != 0)],
        "is divided, in a split of users": row[again & (domain is None)],
        "has two roles at one position": row[again & (np.diff(position, prepend=-1) <= 0)],
        "must train, then validate, then test": row[again & (np.diff(role, prepend=-1) <= 0)],
        "has a position past its last event": row[again & (position >= counts[row])],
        "has no row": np.flatnonzero(due & ~np.isin(np.arange(len(user_ids)), row)),
    }
    for fault, users in faults.items():
        if len(users):
            user = user_ids[int(users[0])]
            raise DataError(f"{path}: split {name!r}, fold {fold}: user {user!r} {fault}", FORMAT_HINT)
    return from_runs(name, fold, domain, [Runs(row, position, role)], counts)


def _check_folds(splits: list[Split], path: Path) -> None:
    for name in {split.name for split in splits}:
        same = [split for split in splits if split.name == name]
        numbers = sorted({split.fold for split in same})
        if numbers != list(range(len(numbers))):
            raise DataError(
                f"{path}: split {name!r} has the folds {numbers}",
                "number the folds 0, 1, 2 ... without a gap",
            )
        if len(numbers) > 1 and any(split.domain for split in same):
            raise DataError(
                f"{path}: split {name!r} cuts events and has {len(numbers)} folds",
                "only splits of users have folds: give each cut a name of its own",
            )
        if len({split.domain is None for split in same}) > 1:
            raise DataError(
                f"{path}: split {name!r} divides users in one fold and events in another",
                "give each a name of its own",
            )
