"""Rows of a table as text, whatever file they come in: csv, tsv, parquet or one JSON object a line.

Nothing is guessed from the first rows: every value is text, and every row knows its line. A row that cannot be read is
noted, and the others are read all the same.
"""

import csv
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from userrep.datasets.blocks import MARK, Block, Blocks, Place, opened_text
from userrep.datasets.faults import Faults, refuse_absent
from userrep.datasets.object_rows import object_columns, read_objects
from userrep.datasets.parquet_rows import is_parquet, parquet_chunks, parquet_columns, read_parquet
from userrep.datasets.plain_rows import read_plain
from userrep.datasets.quoting import UNDECIDED, dialect, quoted_rows, without_needless
from userrep.errors import DataError

SEPARATORS = (",", "\t", ";", "|")
BEGINNING, BEGINNING_ROWS = 1 << 20, 10_000  # bytes or rows that are looked at to guess columns
ZIP = b"PK\x03\x04"
EMPTY = "give a file with a header and one row a line"
BLOCK = 1 << 26  # bytes of text that are parsed at a time
BYTES_A_ROW = 32  # of a parquet file, to give its chunks a size in rows


@dataclass(frozen=True)
class Glance:
    """How a table begins: its columns, what parts them (None: nothing does), and its first rows, as text."""

    columns: list[str]
    separator: str | None
    rows: pl.DataFrame


def glance(path: Path, separator: str | None = None, quote: str | None = '"', header: Sequence[str] = ()) -> Glance:
    """Look at the beginning of a table; broken rows in it are passed over.

    Raises:
        DataError: the file is missing, damaged or empty.
    """
    if is_parquet(path):
        columns = [name for name, kind in parquet_columns(path).items() if name != "line" and not kind.is_nested()]
        return Glance(columns, None, read_parquet(path, columns, most=BEGINNING_ROWS)[0])
    faults = Faults(path)
    lines = _beginning(path, faults)
    layout = _layout(path, separator, quote, header)
    names = [name for name in layout.columns if name != "line"]  # which is what the number of a line is called
    if layout.separator is None:
        rows = read_objects(path, lines, names, faults)
    else:
        rows, _ = layout.fields(lines.slice(int(layout.titled)), names, faults, last=True)
    return Glance(layout.columns, layout.separator, _present(rows, names))


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
    chunks = list(row_chunks(path, names, BLOCK, separator=separator, quote=quote, header=header))
    faults = Faults(path, found=[found for chunk in chunks for found in chunk.faults.found])
    return pl.concat([chunk.rows for chunk in chunks]), faults


@dataclass(frozen=True)
class Chunk:
    """Some rows of a table, what is broken among them, where the next begin, and whether these are the last."""

    rows: pl.DataFrame
    faults: Faults
    end: Place
    last: bool


def row_chunks(
    path: Path,
    names: Sequence[str],
    size: int,
    *,
    separator: str | None = None,
    quote: str | None = '"',
    header: Sequence[str] = (),
    begin: Place | None = None,
    numbers: Collection[str] = (),
) -> Iterator[Chunk]:
    """Read what `read_rows` does in chunks of about `size` bytes, from `begin` on, the end of an earlier chunk.

    The columns `numbers` may come as whole numbers, Int64, where these are written as the file has them.

    Raises:
        DataError: as read_rows, as soon as it shows.
    """
    if is_parquet(path):
        most = max(1, size // BYTES_A_ROW)
        for frame, at, last in parquet_chunks(path, names, most, begin.at if begin else 0, numbers):
            yield Chunk(frame, Faults(path, "row"), Place(at, at + 1), last)
        return
    layout = _layout(path, separator, quote, header)
    refuse_absent(path, names, layout.columns)
    empty = begin is None
    with opened_text(path) as file:
        blocks = Blocks(file, size, begin or Place())
        while block := blocks.read():
            faults = Faults(path)
            rows, held = layout.parse(block, names, faults, numbers)
            used = block.content if held is None else block.until(held)
            blocks.take(used, block.end(used))
            last = block.last and held is None
            empty = empty and rows.is_empty() and not faults.found
            if last and empty:
                raise DataError(f"{path} has a header and no rows", EMPTY)
            yield Chunk(_present(rows, names), faults, blocks.place, last)


@dataclass(frozen=True)
class _Layout:
    """How the lines of a text are parted into `columns`; no separator: each is a JSON object."""

    path: Path
    columns: list[str]
    separator: str | None
    quote: str | None
    titled: bool  # the first line is a header

    def parse(
        self, block: Block, names: Sequence[str], faults: Faults, numbers: Collection[str]
    ) -> tuple[pl.DataFrame, int | None]:
        """Read the rows of a block; also return the line of a row that may go on in the next block, None without."""
        first = block.begin.at == 0
        content = block.content.removeprefix(MARK) if first else block.content
        if self.separator is None:
            lines = _lines_of(content, block.begin.line, faults)
            return read_objects(self.path, lines, names, faults), None
        if self.quote is None or self.quote.encode() not in content:
            skipped = int(first and self.titled)
            where = (block.begin.line, skipped)
            plain = read_plain(content, self.columns, names, self.separator, *where, numbers)
            if plain is not None:
                return plain, None
        lines = _lines_of(content, block.begin.line, faults)
        body = lines.slice(1) if first and self.titled else lines
        return self.fields(body, names, faults, last=block.last)

    def fields(
        self, body: pl.DataFrame, names: Sequence[str], faults: Faults, *, last: bool
    ) -> tuple[pl.DataFrame, int | None]:
        assert self.separator is not None
        rows, held, text = None, None, pl.col("text")
        if self.quote:
            body, rows, held = _without_quoted(body, names, self.columns, self.separator, self.quote, faults, last)
        plain = body.filter(text.str.strip_chars(self.separator) != "")
        width = len(self.columns)
        found = text.str.count_matches(self.separator, literal=True) + 1
        faults.add(plain, found != width, pl.format(f"{{}} fields, the header has {width}", found))
        parts = text.str.split_exact(self.separator, width - 1).alias("parts")
        split = plain.filter(found == width).select("line", parts)
        fields = [pl.col("parts").struct.field(f"field_{self.columns.index(name)}").alias(name) for name in names]
        frame = split.select("line", *fields)
        return (frame if rows is None else pl.concat([frame, rows]).sort("line")), held


def _layout(path: Path, separator: str | None, quote: str | None, header: Sequence[str]) -> _Layout:
    """Tell from its beginning how a text is laid out.

    Raises:
        DataError: it is empty, no UTF-8 text, or has two columns of one name.
    """
    lines = _beginning(path, Faults(path))
    if is_jsonl(path):
        return _Layout(path, object_columns(path, lines), None, None, False)
    separator = separator or guess_separator(path, lines["text"][0])
    quote = quote if len(separator) == 1 else None  # longer ones are not known to readers of quotes
    columns = list(header) or _header(path, lines["text"][0], separator, quote)
    return _Layout(path, columns, separator, quote, not header)


def _present(frame: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """Turn empty texts into null."""
    texts = [pl.col(name).replace("", None) for name in names if frame.schema[name] == pl.String]
    return frame.select("line", *names).with_columns(texts)


def is_jsonl(path: Path) -> bool:
    """Say whether a file holds one JSON object a line, by its name."""
    return bool({".jsonl", ".ndjson", ".json"} & set(path.suffixes))


def _beginning(path: Path, faults: Faults) -> pl.DataFrame:
    """Read the first whole lines of a text, packed with gzip or not: columns line, text."""
    with opened_text(path) as file:
        content = file.read(BEGINNING)
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{path} is UTF-16 text", "convert the file: iconv -f utf-16 -t utf-8")
    if content.startswith(ZIP):
        raise DataError(f"{path} is a zip archive or a spreadsheet, no table in text", "unpack it, or save it as csv")
    if len(content) == BEGINNING:
        content = content[: content.rfind(b"\n") + 1] or content
    content = content.removeprefix(MARK)
    if not content.strip():
        raise DataError(f"{path} is empty", EMPTY)
    lines = _lines_of(content, 1, faults)
    if lines.is_empty():
        raise DataError(f"{path} is no UTF-8 text", "convert the file: iconv -f latin1 -t utf-8")
    return lines


def _lines_of(content: bytes, first: int, faults: Faults) -> pl.DataFrame:
    """Part a text into lines, numbered from `first`: columns line, text; those that are no UTF-8 are faults."""
    try:
        return _split(content, first)
    except pl.exceptions.ComputeError:
        lines = _split(content.decode(errors="replace").encode(), first)
        bad = pl.col("text").str.contains("\ufffd", literal=True)
        faults.add(lines, bad, pl.lit("not UTF-8 text (convert the file: iconv -f latin1 -t utf-8)"))
        return lines.filter(~bad)


def _split(content: bytes, first: int) -> pl.DataFrame:
    lines = pl.scan_lines(content, name="text", row_index_name="line", row_index_offset=first)
    return lines.select(pl.col("line").cast(pl.Int64), pl.col("text").str.strip_suffix("\r")).collect()


def _header(path: Path, first: str, separator: str, quote: str | None) -> list[str]:
    try:
        fields = (
            next(csv.reader([first], **dialect(separator, quote))) if len(separator) == 1 else first.split(separator)
        )
        names = [name.strip() for name in fields]
    except csv.Error as error:
        hint = "end lines with a line feed: tr '\\r' '\\n' < FILE > NEW"
        raise DataError(f"the first line of {path} cannot be read: {error}", hint) from error
    twice = [name for name in names if name and names.count(name) > 1]
    if twice:
        raise DataError(f"{path} has two columns {twice[0]!r}", "give each column its own name")
    return names


def _without_quoted(
    body: pl.DataFrame,
    names: Sequence[str],
    columns: Sequence[str],
    separator: str,
    quote: str,
    faults: Faults,
    last: bool,
) -> tuple[pl.DataFrame, pl.DataFrame | None, int | None]:
    """Return the lines that belong to no row with a quote, those rows (None where there is not one), and what is open.

    Where `last` is off, the line of a row that may end after `body` is returned, and nothing from there on.
    """
    if not body["text"].str.contains(quote, literal=True).any():
        return body, None, None
    body = without_needless(body, separator, quote)
    taken = np.zeros(len(body), dtype=bool)
    lines, keep = body["line"].to_numpy(), [columns.index(name) for name in names]
    rows: list[tuple[Any, ...]] = []
    wrong: list[tuple[int, str]] = []
    held = None
    for begin, end, fields, fault in quoted_rows(body, separator, quote, len(columns), last=last):
        taken[begin:end] = True
        if fault == UNDECIDED:
            held = int(lines[begin])
        elif fields is None:
            wrong.append((int(lines[begin]), fault))
        elif any(fields):
            rows.append((int(lines[begin]), *(fields[index] for index in keep)))
    told = pl.DataFrame(wrong, {"line": pl.Int64, "fault": pl.String}, orient="row")
    faults.add(told, pl.lit(True), pl.col("fault"))
    schema = {"line": pl.Int64} | {name: pl.String for name in names}
    return body.filter(~taken), pl.DataFrame(rows, schema, orient="row"), held
