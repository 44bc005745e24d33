"""Splits that come from a file, checked row by row against the data set they are to divide."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl

from userrep.errors import DataError
from userrep.sequences.split import ROLES, Split
from userrep.sequences.splits import SCHEMA, Timeline, from_runs, hashed

REQUIRED = ("split", "fold", "user", "position", "role")
FORMAT_HINT = "give the columns split, fold, user, position, role (docs/formats.md); splits.parquet of a prepared data set is an example"


def import_splits(path: Path, user_ids: list[str], domains: Mapping[str, Timeline]) -> list[Split]:
    """Read the splits in a .parquet or .csv file of SCHEMA.

    Where the column `domain` is missing, a split in which every user has one row divides the users, and any other the
    events of the first domain.

    Raises:
        DataError: the file cannot be read, or a row names an unknown user, role or domain, or leaves a gap.
    """
    table = _read(path)
    _check_values(table, path, user_ids, domains)
    rows = pl.DataFrame({"user": user_ids}).with_row_index("row")
    coded = table.join(rows, on="user", how="left", maintain_order="left").with_columns(
        code=pl.col("role").cast(pl.Enum(ROLES)).to_physical().cast(pl.Int64), row=pl.col("row").cast(pl.Int64)
    )
    if "domain" not in table.columns:
        coded = _with_domain(coded, next(iter(domains)))
    splits = []
    for (name, fold, domain), part in coded.group_by("split", "fold", "domain", maintain_order=True):
        splits.append(_one(str(name), int(fold), domain, part, path, user_ids, domains))  # type: ignore[call-overload, arg-type]
    _check_folds(splits, path)
    return hashed(splits, user_ids)


def join_splits(built: list[Split], imported: list[Split], path: Path) -> list[Split]:
    """Add imported splits to the built ones; one that has the name of a built one must be equal to it."""
    hashes = {split.name: split.hash for split in built}
    for split in imported:
        if hashes.get(split.name, split.hash) != split.hash:
            raise DataError(f"{path}: split {split.name!r} differs from the one userrep makes", "give it a name of its own")
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


def _check_values(table: pl.DataFrame, path: Path, user_ids: list[str], domains: Mapping[str, Timeline]) -> None:
    _refuse(table, ~pl.col("role").is_in(ROLES), path, "role", f"roles are {', '.join(ROLES)}")
    _refuse(table, ~pl.col("user").is_in(user_ids), path, "user", "remove users that the prepared data set does not have")
    _refuse(table, pl.col("position") < 0, path, "position", "positions count a user's events from 0")
    if "domain" in table.columns:
        known = ", ".join(domains)
        _refuse(table, ~pl.col("domain").is_in(list(domains)), path, "domain", f"domains are {known}, or empty for users")


def _refuse(table: pl.DataFrame, wrong: pl.Expr, path: Path, column: str, hint: str) -> None:
    row = table.select(wrong.fill_null(False).arg_true()).to_series()
    if len(row):
        value = table[column][row[0]]
        raise DataError(f"{path}, row {row[0] + 1}: unknown {column} {value!r}", hint)


def _with_domain(coded: pl.DataFrame, main: str) -> pl.DataFrame:
    single = (pl.len().over("split", "fold", "user") == 1).all().over("split") & (pl.col("position") == 0).all().over("split")
    return coded.with_columns(domain=pl.when(single).then(None).otherwise(pl.lit(main)))


def _one(
    name: str, fold: int, domain: str | None, runs: pl.DataFrame, path: Path, user_ids: list[str], domains: Mapping[str, Timeline]
) -> Split:
    """Check that the runs of one fold cover every user from the first event, in the order of the roles."""
    counts = np.diff(domains[domain or next(iter(domains))][0])
    runs = runs.sort("row", "position", maintain_order=True)
    row, position, role = (runs[key].to_numpy() for key in ("row", "position", "code"))
    where = f"{path}: split {name!r}, fold {fold}"
    begins = np.append(True, row[1:] != row[:-1])
    due = np.ones(len(user_ids), dtype=bool) if domain is None else counts > 0
    _forbid(np.flatnonzero(begins & (position != 0)), row, user_ids, where, "does not begin at position 0")
    _forbid(np.flatnonzero(~begins & (np.diff(position, prepend=-1) <= 0)), row, user_ids, where, "has two roles at one position")
    _forbid(np.flatnonzero(~begins & (np.diff(role, prepend=-1) <= 0)), row, user_ids, where, "must train, then validate, then test")
    _forbid(np.flatnonzero(~begins & (position >= counts[row])), row, user_ids, where, "has a position past its last event")
    absent = np.flatnonzero(due & ~np.isin(np.arange(len(user_ids)), row))
    _forbid(np.arange(len(absent)), absent, user_ids, where, "has no row")
    if domain is None:
        _forbid(np.flatnonzero(~begins), row, user_ids, where, "is divided, in a split of users")
    return from_runs(name, fold, domain, row, position, role, counts)


def _forbid(bad: np.ndarray, row: np.ndarray, user_ids: list[str], where: str, fault: str) -> None:
    if len(bad):
        raise DataError(f"{where}: user {user_ids[row[bad[0]]]!r} {fault}", FORMAT_HINT)


def _check_folds(splits: list[Split], path: Path) -> None:
    for name in {split.name for split in splits}:
        same = [split for split in splits if split.name == name]
        numbers = sorted({split.fold for split in same})
        if numbers != list(range(len(numbers))):
            raise DataError(f"{path}: split {name!r} has the folds {numbers}", "number the folds 0, 1, 2 ... without a gap")
        if len({split.domain is None for split in same}) > 1:
            raise DataError(f"{path}: split {name!r} divides users in one fold and events in another", "give each a name of its own")
