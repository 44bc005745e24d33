"""Text files of fields read as text, each row with the number of its line, so that nothing is guessed."""

import gzip
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import polars as pl

from userrep.datasets.raw import fetch_again
from userrep.errors import DataError

GZIP = b"\x1f\x8b"  # how a file packed with gzip begins
LONGEST = 1 << 20  # characters of a header
NOBODY = pl.DataFrame(schema={"user": pl.String})  # no labels of users
NO_TEXT = pl.DataFrame(schema={"item": pl.String, "text": pl.String})
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


def find_file(raw_dir: Path, name: str) -> Path:
    """Return the file `name` of `raw_dir`, packed as `name`.gz or not.

    Raises:
        DataError: it is not there, or `name` is a path that leaves the folder.
    """
    if Path(name).name != name:
        raise DataError(f"{name!r} is no name of a file", f"name a file of {raw_dir}, without its folder")
    for path in (raw_dir / name, raw_dir / f"{name}.gz"):
        if path.is_file():
            return path
    raise DataError(f"there is no file {raw_dir / name}", fetch_again(raw_dir))


def read_lines(path: Path) -> pl.LazyFrame:
    """Read the lines of a text, packed with gzip or not, that are not empty: columns `line` (from 1) and `text`.

    Lines may end in CRLF, and the last one without an end.

    Raises:
        DataError: the file is missing, cut short, empty or no UTF-8 text.
    """
    lines = _lines(path, "utf-8").filter(pl.col("text") != "")
    if lines.head(1).collect().is_empty():
        raise DataError(f"{path} is empty", fetch_again(path.parent))
    return lines


def refuse_lines(path: Path, bad: pl.LazyFrame, hint: str = AGAIN) -> None:
    """Raise DataError for the first row of `bad`, whose columns are `line` and `fault`."""
    first = bad.select(pl.col("line").first(), pl.col("fault").first(), count=pl.len()).collect().row(0)
    if first[2]:
        more = f" (and {first[2] - 1:,} more lines)" if first[2] > 1 else ""
        raise DataError(f"{path}, line {first[0]}: {first[1]}{more}", hint)


def read_header(path: Path, separator: str) -> list[str]:
    """Return the fields of the first line."""
    with open_text(path) as file:
        first = file.readline(LONGEST).rstrip("\r\n")
    if not first:
        raise DataError(f"{path} is empty", fetch_again(path.parent))
    return first.split(separator)


@contextmanager
def open_text(path: Path) -> Iterator[IO[str]]:
    """Open a text, packed with gzip or not; bytes that are no UTF-8 become U+FFFD.

    Raises:
        DataError: it is missing, or damaged where it is read.
    """
    if not path.is_file():
        raise DataError(f"there is no file {path}", fetch_again(path.parent))
    try:
        with open(path, "rb") as raw:
            packed = raw.read(len(GZIP)) == GZIP
        with (gzip.open if packed else open)(path, "rt", encoding="utf-8-sig", errors="replace") as file:
            yield file
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot read {path}: {error}", fetch_again(path.parent)) from error


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
    text = pl.col("text").str.strip_suffix("\r")
    marked = pl.when(pl.col("line") == 1).then(text.str.strip_prefix("\ufeff")).otherwise(text)  # by some programs
    return lines.lazy().select(pl.col("line").cast(pl.Int64), marked.alias("text"))


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
