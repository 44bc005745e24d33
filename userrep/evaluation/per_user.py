"""The per-user table of a result on disk: a raw user id and the columns its metrics are made from."""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from userrep.errors import DataError
from userrep.evaluation.results import Result, read_result
from userrep.files import replacing

USER = "user"
ARRAYS = ".npz"  # what stands for a table that was written where polars is not installed


def write_per_user(path: Path, result: Result, user_ids: Sequence[str]) -> None:
    """Write a result as parquet, its users by their raw ids; `user_ids` are those of all rows of the data set.

    Without polars the same columns become arrays beside `path`; `stored` tells which of the two there is.
    """
    users, columns = [user_ids[row] for row in result.users], result.table()
    try:
        import polars as pl
    except ModuleNotFoundError:
        _write_arrays(path.with_suffix(ARRAYS), users, columns)
        path.unlink(missing_ok=True)
        return
    with replacing(path) as temporary:
        pl.DataFrame({USER: pl.Series(USER, users, dtype=pl.String), **columns}).write_parquet(temporary)
    path.with_suffix(ARRAYS).unlink(missing_ok=True)


def stored(path: Path) -> Path:
    """Return where the table of `path` is: there, or in the arrays that stand for it."""
    arrays = path.with_suffix(ARRAYS)
    return arrays if arrays.is_file() and not path.is_file() else path


def read_per_user(paths: Sequence[Path]) -> list[Result]:
    """Read results whose users are numbered alike in all of them.

    Raises:
        DataError: a file is missing, damaged or no such table.
    """
    tables = [_read(stored(path)) for path in paths]
    known = np.unique(np.concatenate([users for users, _ in tables]))
    return [read_result(np.searchsorted(known, users), table) for users, table in tables]


def _read(path: Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    if path.suffix == ARRAYS:
        return _read_arrays(path)
    import polars as pl

    try:
        frame = pl.read_parquet(path)
        users = frame[USER].to_numpy().astype(str)
        return users, {name: frame[name].to_numpy() for name in frame.columns if name != USER}
    except (OSError, pl.exceptions.PolarsError) as error:
        raise _unreadable(path, error) from error


def _write_arrays(path: Path, users: Sequence[str], columns: Mapping[str, np.ndarray]) -> None:
    numbered: dict[str, Any] = {str(number): values for number, values in enumerate(columns.values())}  # any names do
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, users=np.array(users, str), names=np.array(list(columns), str), **numbered)


def _read_arrays(path: Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    try:
        with np.load(path, allow_pickle=False) as kept:
            names = kept["names"].tolist()
            return kept["users"], {name: kept[str(number)] for number, name in enumerate(names)}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> DataError:
    cause = (str(error).strip() or type(error).__name__).splitlines()[0]
    return DataError(f"cannot read {path}: {cause}", "evaluate the run again with --fresh")
