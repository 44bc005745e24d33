"""The per-user table of a result on disk: a raw user id and the columns its metrics are made from."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from userrep.errors import DataError
from userrep.evaluation.results import Result, read_result
from userrep.files import replacing

USER = "user"


def write_per_user(path: Path, result: Result, user_ids: Sequence[str]) -> None:
    """Write a result as parquet, its users by their raw ids; `user_ids` are those of all rows of the data set."""
    import polars as pl

    users = pl.Series(USER, [user_ids[row] for row in result.users], dtype=pl.String)
    with replacing(path) as temporary:
        pl.DataFrame({USER: users, **result.table()}).write_parquet(temporary)


def read_per_user(paths: Sequence[Path]) -> list[Result]:
    """Read results whose users are numbered alike in all of them.

    Raises:
        DataError: a file is missing, damaged or no such table.
    """
    tables = [_read(path) for path in paths]
    known = np.unique(np.concatenate([users for users, _ in tables]))
    return [read_result(np.searchsorted(known, users), table) for users, table in tables]


def _read(path: Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    import polars as pl

    try:
        frame = pl.read_parquet(path)
        users = frame[USER].to_numpy().astype(str)
        return users, {name: frame[name].to_numpy() for name in frame.columns if name != USER}
    except (OSError, pl.exceptions.PolarsError) as error:
        cause = str(error).splitlines()[0]
        raise DataError(f"cannot read {path}: {cause}", "evaluate the run again with --fresh") from error
