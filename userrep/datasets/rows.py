"""Rows of a table as text, whatever file they come in: csv, tsv, parquet or one JSON object a line.

Nothing is guessed from the first rows: every value is text, and every row knows its line. A row that cannot be read is
noted, and the others are read all the same.
"""

import csv
import gzip
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from userrep.datasets.faults import Faults, refuse_absent
from userrep.datasets.lines import GZIP
from userrep.datasets.object_rows import object_columns, read_objects
from userrep.datasets.parquet_rows import is_parquet, parquet_columns, read_parquet
from userrep.datasets.quoting import dialect, quoted_rows, without_needless
from userrep.errors import DataError

SEPARATORS = (",", "\t", ";", "|")
BEGINNING, BEGINNING_ROWS = 1 << 20, 10_000  # bytes or rows that are looked at to guess columns
EMPTY = "give a file with a header and one row a line"


@dataclass(frozen=True)
class Glance:
    """How a table begins: its columns, what parts them (None: nothing does), and its first rows, as text."""

    columns: list[str]
    separator: str | None
    rows: pl.DataFrame


def glance(
    path: Path, separator: str | None = None, quote: str | None = '"', header: Sequence[str] = ()
) -> Glance:
    """Look at the beginning of a table; broken rows in it are passed over.

    Raises:
        DataError: the file is missing, damaged or empty.
    """
    if is_parquet(path):
        columns = list(parquet_columns(path))
        return Glance(columns, None, read_parquet(path, columns, most=BEGINNING_ROWS)[0])
    faults = Faults(path)
    lines = _lines(path, faults, BEGINNING)
    if is_jsonl(path):
        columns = object_columns(path, lines)
        return Glance(columns, None, _present(read_objects(path, lines, columns, faults), columns))
    separator = separator or guess_separator(path, lines["text"][0])
    columns = list(header) or _header(path, lines["text"][0], separator, quote)
    rows = _read_fields(path, lines, columns, faults, separator, quote, header)
    return Glance(columns, separator, _present(rows, columns))


def guess_separator(path: Path, header: str) -> str:
    """Return a tab for .tsv files, else what parts the header into most fields."""
    if ".tsv" in path.suffixes:
        return "\t"
    return max(SEPARATORS, key=lambda separator: (header.count(separator), separator == ","))


def read_rows(
    path: Path,
    names: Sequence[str],
    *,
    separator: str | None = None,
    quote: str | None = '"',
    header: Sequence[str] = (),
) -> tuple[pl.DataFrame, Faults]:
    """Read the columns `names` as text, empty values as null, and `line`; also return the rows that are broken.

    A line is that of the file on which a row begins, from 1, or the number of the row in a parquet file. Empty lines
    are left out. `header` names the columns of a file whose first line is a row.

    Raises:
        DataError: the file is missing, damaged, empty, has no rows, or lacks a column.
    """
    if is_parquet(path):
        return read_parquet(path, names)
    faults = Faults(path)
    lines = _lines(path, faults)
    if is_jsonl(path):
        frame = read_objects(path, lines, names, faults)
    else:
        frame = _read_fields(path, lines, names, faults, separator, quote, header)
    if frame.is_empty() and not faults.found:
        raise DataError(f"{path} has a header and no rows", EMPTY)
    return _present(frame, names), faults


def _present(frame: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """Turn empty texts into null, and leave out rows that have nothing else."""
    values = frame.select("line", *(pl.col(name).replace("", None) for name in names))
    return values.filter(~pl.all_horizontal(pl.col(names).is_null()))


def is_jsonl(path: Path) -> bool:
    """Say whether a file holds one JSON object a line, by its name."""
    return bool({".jsonl", ".ndjson", ".json"} & set(path.suffixes))


def _lines(path: Path, faults: Faults, most: int = -1) -> pl.DataFrame:
    """Read the lines of a text, packed with gzip or not: columns line, text; those that are no UTF-8 are faults.

    With `most`, only the whole lines within so many bytes.
    """
    try:
        with open(path, "rb") as file:
            packed = file.read(len(GZIP)) == GZIP
        with (gzip.open if packed else open)(path, "rb") as file:
            content = file.read(most)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot read {path}: {error}", "get the file again: it may be half a download") from error
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{path} is UTF-16 text", "convert the file: iconv -f utf-16 -t utf-8")
    if len(content) == most:
        content = content[: content.rfind(b"\n") + 1] or content
    content = content.removeprefix(b"\xef\xbb\xbf")
    if not content.strip():
        raise DataError(f"{path} is empty", EMPTY)
    try:
        return _split(content)
    except pl.exceptions.ComputeError:
        lines = _split(content.decode(errors="replace").encode())
        bad = pl.col("text").str.contains("\ufffd", literal=True)
        faults.add(lines, bad, pl.lit("not UTF-8 text (convert the file: iconv -f latin1 -t utf-8)"))
        return lines.filter(~bad)


def _split(content: bytes) -> pl.DataFrame:
    lines = pl.scan_lines(content, name="text", row_index_name="line", row_index_offset=1)
    return lines.select(pl.col("line").cast(pl.Int64), pl.col("text").str.strip_suffix("\r")).collect()


def _header(path: Path, first: str, separator: str, quote: str | None) -> list[str]:
    names = [name.strip() for name in next(csv.reader([first], **dialect(separator, quote)))]
    twice = [name for name in names if name and names.count(name) > 1]
    if twice:
        raise DataError(f"{path} has two columns {twice[0]!r}", "give each column its own name")
    return names


def _read_fields(
    path: Path,
    lines: pl.DataFrame,
    names: Sequence[str],
    faults: Faults,
    separator: str | None,
    quote: str | None,
    header: Sequence[str],
) -> pl.DataFrame:
    separator = separator or guess_separator(path, lines["text"][0])
    columns = list(header) or _header(path, lines["text"][0], separator, quote)
    refuse_absent(path, names, columns)
    body = lines if header else lines.slice(1)
    text = pl.col("text")
    plain, rows = _without_quoted(body, names, columns, separator, quote, faults) if quote else (body, None)
    plain = plain.filter(text != "")
    found = text.str.count_matches(separator, literal=True) + 1
    faults.add(plain, found != len(columns), pl.format(f"{{}} fields, the header has {len(columns)}", found))
    parts = text.str.split_exact(separator, len(columns) - 1).alias("parts")
    split = plain.filter(found == len(columns)).select("line", parts)
    fields = [pl.col("parts").struct.field(f"field_{columns.index(name)}").alias(name) for name in names]
    frame = split.select("line", *fields)
    return frame if rows is None else pl.concat([frame, rows]).sort("line")


def _without_quoted(
    body: pl.DataFrame, names: Sequence[str], columns: Sequence[str], separator: str, quote: str, faults: Faults
) -> tuple[pl.DataFrame, pl.DataFrame | None]:
    """Return the lines that belong to no row with a quote, and those rows (None where there is not one)."""
    if not body["text"].str.contains(quote, literal=True).any():
        return body, None
    body = without_needless(body, separator, quote)
    taken = np.zeros(len(body), dtype=bool)
    lines, keep = body["line"].to_numpy(), [columns.index(name) for name in names]
    rows: list[tuple[Any, ...]] = []
    wrong: list[tuple[int, str]] = []
    for begin, end, fields, fault in quoted_rows(body, separator, quote, len(columns)):
        taken[begin:end] = True
        if fields is None:
            wrong.append((int(lines[begin]), fault))
        else:
            rows.append((int(lines[begin]), *(fields[index] for index in keep)))
    told = pl.DataFrame(wrong, {"line": pl.Int64, "fault": pl.String}, orient="row")
    faults.add(told, pl.lit(True), pl.col("fault"))
    schema = {"line": pl.Int64} | {name: pl.String for name in names}
    return body.filter(~taken), pl.DataFrame(rows, schema, orient="row")
