"""Text files of fields read as text, each row with the number of its line, so that nothing is guessed."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from userrep.datasets.raw import fetch_again
from userrep.errors import DataError

AGAIN = "get the file again, or correct this line"


def read_fields(
    path: Path,
    separator: str,
    columns: Sequence[str],
    *,
    encoding: str = "utf-8",
    more: bool = False,
    skip: int = 0,
) -> pl.DataFrame:
    """Read `columns` as text, and `line` (from 1), of a file whose fields are parted by `separator`.

    Quotes are text. Lines may end in CRLF; empty ones and the first `skip` are left out. `more` allows
    further fields, which are dropped.

    Raises:
        DataError: the file is missing, empty or in another encoding, or a line has another number of fields.
    """
    lines = _lines(path, encoding).filter((pl.col("line") > skip) & (pl.col("text") != ""))
    text = pl.col("text")
    parts = text.str.splitn(separator, len(columns) + 1) if more else text.str.split_exact(separator, len(columns) - 1)
    fields = parts.struct.rename_fields([*columns, "_rest"] if more else list(columns)).struct.unnest()
    found = text.str.count_matches(separator, literal=True) + 1
    frame = lines.select("line", fields, found=found).collect()
    _check(frame, path, separator, len(columns), more)
    return frame.select("line", *columns)


def read_header(path: Path, separator: str) -> list[str]:
    """Return the fields of the first line."""
    if not path.is_file():
        raise DataError(f"there is no file {path}", fetch_again(path.parent))
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        first = file.readline().rstrip("\r\n")
    if not first:
        raise DataError(f"{path} is empty", fetch_again(path.parent))
    return first.split(separator)


def _lines(path: Path, encoding: str) -> pl.LazyFrame:
    if not path.is_file():
        raise DataError(f"there is no file {path}", fetch_again(path.parent))
    try:
        source = path if encoding == "utf-8" else path.read_bytes().decode(encoding).encode()
        lines = pl.scan_lines(source, name="text", row_index_name="line", row_index_offset=1).collect()
    except (pl.exceptions.ComputeError, OSError) as error:
        raise DataError(
            f"cannot read {path}: {str(error).splitlines()[0]}", f"it must be {encoding} text: {AGAIN}"
        ) from error
    return lines.lazy().select(pl.col("line").cast(pl.Int64), pl.col("text").str.strip_suffix("\r"))


def _check(frame: pl.DataFrame, path: Path, separator: str, expected: int, more: bool) -> None:
    if frame.is_empty():
        raise DataError(f"{path} has no rows", fetch_again(path.parent))
    bad = frame.filter(pl.col("found") < expected if more else pl.col("found") != expected)
    if not bad.is_empty():
        line, found = bad["line"][0], bad["found"][0]
        wanted = f"{expected} or more" if more else expected
        raise DataError(f"{path}, line {line}: {found} field(s) parted by {separator!r}, not {wanted}", AGAIN)


def parsed(frame: pl.DataFrame, column: str, kind: type[pl.Int64] | type[pl.Float32], path: Path) -> pl.DataFrame:
    """Turn a text column into whole numbers (which may be written as `12.0`) or floats.

    Raises:
        DataError: a value is no number; the line is named.
    """
    values = frame[column].cast(pl.Int64 if kind is pl.Int64 else pl.Float64, strict=False)
    if kind is pl.Int64 and values.null_count():
        wide = frame[column].cast(pl.Float64, strict=False)
        values = wide.set((wide != wide.floor()) | (wide.abs() >= 2**53), None).cast(pl.Int64, strict=False)
    if values.null_count():
        row, what = values.is_null().arg_true()[0], "whole number" if kind is pl.Int64 else "number"
        raise DataError(f"{path}, line {frame['line'][row]}: {column} is {frame[column][row]!r}, not a {what}", AGAIN)
    return frame.with_columns(values.cast(kind).alias(column))
