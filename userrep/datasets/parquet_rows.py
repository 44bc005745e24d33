"""Rows of a parquet file, as text, or as whole numbers where these are asked for."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import polars as pl

from userrep.datasets.faults import Faults, refuse_absent
from userrep.errors import DataError

PARQUET = b"PAR1"
NARROW = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32)  # that Int64 holds
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
    _check(path, names)
    try:
        frame = pl.read_parquet(path, columns=list(names), n_rows=most)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"cannot read {path}: {_first_line(error)}", AGAIN) from error
    whole = frame.select(_are_whole(frame.schema)).row(0, named=True)
    return _texts(frame, names, whole, 0), Faults(path, "row")


def parquet_chunks(
    path: Path, names: Sequence[str], rows: int, begin: int, numbers: Collection[str] = ()
) -> Iterator[tuple[pl.DataFrame, int, bool]]:
    """Read what `read_parquet` does, so many rows at a time, from row `begin` on; also the end, and if it is all.

    Those of `numbers` that hold whole numbers stay what they are, as Int64.
    """
    schema = _check(path, names)
    try:
        table = pl.scan_parquet(path).select(names)
        total = table.select(pl.len()).collect().item()
        whole = table.select(_are_whole({name: schema[name] for name in names})).collect().row(0, named=True)
        for start in range(begin, total, rows):
            frame = table.slice(start, rows).collect()
            yield _texts(frame, names, whole, start, numbers), start + len(frame), start + len(frame) == total
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"cannot read {path}: {_first_line(error)}", AGAIN) from error


def parquet_rows(path: Path) -> int:
    """Count the rows of a parquet file."""
    try:
        return int(pl.scan_parquet(path).select(pl.len()).collect().item())
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"cannot read {path}: {_first_line(error)}", AGAIN) from error


def _check(path: Path, names: Sequence[str]) -> dict[str, pl.DataType]:
    """Return the types of the columns; raise DataError where one is missing or holds lists, or there are no rows."""
    schema = parquet_columns(path)
    refuse_absent(path, names, list(schema))
    nested = [name for name in names if schema[name].is_nested()]
    if nested:
        raise DataError(f"{path}: the column {nested[0]!r} holds lists", "write one event a row")
    if parquet_rows(path) == 0:
        raise DataError(f"{path} has no rows", "give a file with one event a row")
    return schema


def _texts(
    frame: pl.DataFrame, names: Sequence[str], whole: Mapping[str, bool], start: int, numbers: Collection[str] = ()
) -> pl.DataFrame:
    kept = [name for name in names if name in numbers and frame.schema[name] in NARROW]
    columns = [
        frame[name].cast(pl.Int64) if name in kept else _as_text(frame[name], whole.get(name, False)).replace("", None)
        for name in names
    ]
    return pl.DataFrame(columns).with_columns(line=start + 1 + pl.int_range(pl.len()))


def _are_whole(schema: Mapping[str, pl.DataType]) -> list[pl.Expr]:
    """Ask of each column of floats whether all are whole, as integers with gaps become."""
    floats = [pl.col(name) for name, kind in schema.items() if kind.is_float()]
    whole = [(column.is_finite() & (column == column.floor())).fill_null(True).all() for column in floats]
    return whole or [pl.lit(True).alias("nothing")]


def _as_text(values: pl.Series, whole: bool) -> pl.Series:
    """Write values as text: floats of a `whole` column without a point, and moments as ISO 8601."""
    kind = values.dtype
    if isinstance(kind, (pl.Date, pl.Datetime)):
        finer = isinstance(kind, pl.Datetime) and kind.time_unit != "ms"
        return values.cast(pl.Datetime("us")).dt.strftime("%Y-%m-%dT%H:%M:%S" + ("%.6f" if finer else "%.3f"))
    if kind == pl.Duration:
        return values.to_physical().cast(pl.String)
    if kind.is_float() and whole:
        return values.cast(pl.Int64, strict=False).cast(pl.String)
    return values.cast(pl.String)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
