"""Rows of a parquet file, as text."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from userrep.datasets.faults import Faults, refuse_absent
from userrep.errors import DataError

PARQUET = b"PAR1"
AGAIN = "it may be half a download: get it again"


def is_parquet(path: Path) -> bool:
    """Say whether a file is a parquet file, by its first bytes; raise DataError where it cannot be read."""
    if not path.is_file():
        if path.exists() and not path.is_dir():
            raise DataError(f"{path} is a pipe or a device", "write it to a file first: a table is read twice")
        raise DataError(f"there is no file {path}", "check the path: it is taken from the current folder")
    try:
        with open(path, "rb") as file:
            return file.read(len(PARQUET)) == PARQUET
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}", "check the path and its permissions") from error


def parquet_columns(path: Path) -> dict[str, pl.DataType]:
    """Return the columns of a parquet file and their types."""
    try:
        return dict(pl.read_parquet_schema(path))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"cannot read {path}: {_first_line(error)}", AGAIN) from error


def read_parquet(path: Path, names: Sequence[str], most: int | None = None) -> tuple[pl.DataFrame, Faults]:
    """Read the columns `names` as text, of the first `most` rows, and `line`, the number of the row from 1."""
    schema = parquet_columns(path)
    refuse_absent(path, names, list(schema))
    nested = [name for name in names if schema[name].is_nested()]
    if nested:
        raise DataError(f"{path}: the column {nested[0]!r} holds lists", "write one event a row")
    try:
        frame = pl.read_parquet(path, columns=list(names), n_rows=most)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"cannot read {path}: {_first_line(error)}", AGAIN) from error
    if frame.is_empty():
        raise DataError(f"{path} has no rows", "give a file with one event a row")
    texts = [_as_text(frame[name]).replace("", None) for name in names]
    return pl.DataFrame(texts).with_columns(line=1 + pl.int_range(pl.len())), Faults(path, "row")


def _as_text(values: pl.Series) -> pl.Series:
    """Write values as text: whole floats, as integers with gaps become, without a point, and moments as ISO 8601."""
    if values.dtype.is_temporal():
        return values.cast(pl.Datetime("ms")).dt.strftime("%Y-%m-%dT%H:%M:%S%.3f")
    known = values.drop_nulls()
    if values.dtype.is_float() and bool((known.is_finite() & (known == known.floor())).all()):
        return values.cast(pl.Int64, strict=False).cast(pl.String)
    return values.cast(pl.String)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
